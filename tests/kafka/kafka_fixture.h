/* A real broker (tests/support/kafka/broker), the sink that is tested, and a consumer that reads back what came. */
#ifndef KAFKA_FIXTURE_H
#define KAFKA_FIXTURE_H

#include "events/event_kafka_private.h"
#include "events/event_topics.h"

#include "base/cq_pool.h"
#include "unit/cq_cmocka.h"

#define FIXTURE_READ_S 60
#define FIXTURE_EVENTS_MAX 4096
#define FIXTURE_KEYS 5
#define FIXTURE_PARTITIONS 3

extern char fixture_dir[64];
extern int fixture_port; /* of the listener without TLS */
extern struct event_kafka_config fixture_config;
extern struct cq_pool *fixture_pool;
extern bool fixture_acknowledged[FIXTURE_EVENTS_MAX]; /* by ticket, since the sink was opened */

/* Starts the one broker of a program; `more`: further lines for its server.properties, "" for none; `users`: as
 * KAFKA_SCRAM. */
void fixture_start(const char *more, const char *users);
int fixture_end(void);
int fixture_free_port(void);
void fixture_run(const char *verb, const char *more); /* tests/support/kafka/broker */
void fixture_run_line(const char *fmt, ...) CQ_PRINTF(1, 2);
void fixture_restart_broker(void);

/* events.kafka.* that follow `servers` and a timeout, unless `more` has one. */
void fixture_configure(const char *server, const char *more);
void fixture_configure_plain(const char *more);

struct event_sink *fixture_sink(void);
/* id-N, key-(N modulo FIXTURE_KEYS), at 2026-11-22T00:00:00 and N microseconds. */
enum cq_rc fixture_publish(struct event_sink *sink, const char *stream, unsigned n, size_t filler);

void fixture_create_topics(void);
void fixture_create_topic_with(const char *name, const char *key, const char *value);
void fixture_alter_topic(const char *name, const char *key, const char *value);
/* User NAME may do OPERATION with topics whose names begin with PREFIX. */
void fixture_allow(const char *user, const char *prefix, rd_kafka_AclOperation_t operation);

struct fixture_seen {
    unsigned times[FIXTURE_EVENTS_MAX];
    unsigned last_of_key[FIXTURE_KEYS]; /* first occurrences alone */
    bool disorder;
    unsigned records;
    char header[EVENT_KAFKA_HEADERS][128]; /* of the last one, as its value */
    char value[64];
};
/* Reads the topic from its beginning until `ids` different events were seen. */
void fixture_read(const char *topic, unsigned ids, struct fixture_seen *seen);

#endif
