/* The topics of the event stream at the brokers: which there should be, which there are, making those that are missing.
 * Blocks for up to the timeout: on a thread of a pool. */
#ifndef EVENT_TOPICS_H
#define EVENT_TOPICS_H

#include "events/event_catalogue.h"
#include "events/event_kafka.h"

#define EVENT_TOPICS_MAX (EVENT_STREAM_COUNT + 1) /* one a stream, and the dead letters */
#define EVENT_TOPIC_NAME_MAX 249                  /* Kafka's own limit */

struct event_topic_plan {
    unsigned partitions;
    unsigned replication; /* 0: the brokers' default */
    unsigned min_insync;  /* replicas that must have a record; 0: the brokers' default */
};

struct event_topic {
    char name[EVENT_TOPIC_NAME_MAX + 1];
    unsigned retention_days;
    unsigned partitions;  /* at the brokers; 0: there is no such topic */
    unsigned replication; /* of its first partition */
    bool created;         /* by this call */
};

/* Fills topics_r with all of them, in the order of the streams. With a plan, those that are missing are created; NULL:
 * only looked at. CQ_E_UNAVAILABLE: no broker answered; CQ_E_DENIED: it refused, the text says what. */
enum cq_rc event_topics(const struct event_kafka_config *config, const struct event_topic_plan *plan,
                        struct event_topic topics_r[static EVENT_TOPICS_MAX], struct cq_err *err);

#endif
