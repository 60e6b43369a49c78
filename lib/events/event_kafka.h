/* The Kafka sink (librdkafka): one record an event, CloudEvents in the binary mode of the Kafka protocol binding: the
 * value is the event's data in events.kafka.format, its attributes are headers (ce_id, ce_type, ...). Topics are PREFIX
 * + stream + ".v1"; the key is the event's, hashed as Java's clients do (murmur2), so events of one key keep their
 * order.
 *
 * poll() waits until the brokers have all that was published (acks=all, idempotent) or events.kafka.timeout has passed:
 * what is in flight is bounded by what the publisher gives at once, and nothing piles up while Kafka is away. A record
 * that no broker will ever take (too big, refused as invalid) goes to PREFIX + "mail.dlq.v1" with the headers
 * dlq_reason and dlq_original_topic, so it cannot stop those behind it. What a person can mend (a login, a certificate,
 * an ACL, a missing topic) is no reason for that: it is published again until it is mended. */
#ifndef EVENT_KAFKA_H
#define EVENT_KAFKA_H

#include "base/cq_config.h"
#include "events/event_sink.h"

#define EVENT_KAFKA_SERVERS_MAX 32
#define EVENT_KAFKA_IN_FLIGHT_MAX 4096 /* records between two polls */
#define EVENT_DLQ_STREAM "mail.dlq"
#define EVENT_KAFKA_NO_VALUE "{}" /* of a dead letter that was too large for the dead letters' topic, too */

struct event_kafka_config {
    struct cq_strings servers;
    const char *topic_prefix;
    const char *client_id;
    uint64_t timeout_us;
    uint64_t linger_us;
    uint64_t record_max;
    int format;      /* enum event_kafka_format */
    int compression; /* enum event_kafka_compression */
    bool tls;
    const char *tls_ca, *tls_cert, *tls_key;
    int sasl; /* enum event_kafka_sasl */
    const char *user, *password_file;
};

enum event_kafka_format { EVENT_KAFKA_JSON, EVENT_KAFKA_PROTOBUF };
enum event_kafka_compression { EVENT_KAFKA_ZSTD, EVENT_KAFKA_LZ4, EVENT_KAFKA_NONE };
enum event_kafka_sasl {
    EVENT_KAFKA_SASL_NONE,
    EVENT_KAFKA_SASL_SCRAM_512,
    EVENT_KAFKA_SASL_SCRAM_256,
    EVENT_KAFKA_SASL_PLAIN
};

/* Settings "events.kafka.*". */
struct cq_config_part event_kafka_config_part(struct event_kafka_config *values);

/* Does not connect yet: brokers may be away. CQ_E_CONFIG: what librdkafka does not accept, a file that cannot be read,
 * or a password that would go in clear. */
enum cq_rc event_kafka_open(const struct event_kafka_config *config, struct event_sink **sink_r, struct cq_err *err);

#endif
