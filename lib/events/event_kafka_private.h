/* Shared by the sink and by what else talks to Kafka (topics). */
#ifndef EVENT_KAFKA_PRIVATE_H
#define EVENT_KAFKA_PRIVATE_H

#include <librdkafka/rdkafka.h>

#include "events/event_kafka.h"

#define EVENT_KAFKA_SCRAM_FIXED 0x020601ff /* librdkafka's version from which SCRAM works with Kafka 4 */

/* The headers of a record, in this order (CloudEvents Kafka protocol binding 3.2). */
#define EVENT_KAFKA_HEADER_LIST(X)                                                                                     \
    X(EVENT_KAFKA_SPECVERSION, "ce_specversion")                                                                       \
    X(EVENT_KAFKA_ID, "ce_id")                                                                                         \
    X(EVENT_KAFKA_SOURCE, "ce_source")                                                                                 \
    X(EVENT_KAFKA_TYPE, "ce_type")                                                                                     \
    X(EVENT_KAFKA_TIME, "ce_time")                                                                                     \
    X(EVENT_KAFKA_SUBJECT, "ce_subject")                                                                               \
    X(EVENT_KAFKA_DATASCHEMA, "ce_dataschema")                                                                         \
    X(EVENT_KAFKA_PARTITIONKEY, "ce_partitionkey")                                                                     \
    X(EVENT_KAFKA_SEQUENCE, "ce_sequence")                                                                             \
    X(EVENT_KAFKA_CONTENT_TYPE, "content-type")                                                                        \
    X(EVENT_KAFKA_DLQ_REASON, "dlq_reason")                                                                            \
    X(EVENT_KAFKA_DLQ_TOPIC, "dlq_original_topic")

enum event_kafka_header {
#define EVENT_KAFKA_HEADER_ENUM(header, name) header,
    EVENT_KAFKA_HEADER_LIST(EVENT_KAFKA_HEADER_ENUM)
#undef EVENT_KAFKA_HEADER_ENUM
        EVENT_KAFKA_HEADERS
};
extern const char *const event_kafka_header_names[EVENT_KAFKA_HEADERS];

/* The settings as librdkafka's, for a producer or another client; destroyed by the caller, or taken by rd_kafka_new. */
enum cq_rc event_kafka_conf(const struct event_kafka_config *config, bool producer, rd_kafka_conf_t **conf_r,
                            struct cq_err *err);

#endif
