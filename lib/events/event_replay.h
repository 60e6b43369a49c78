/* Events that were published once, sent to Kafka again, under the same ids and with the same values: for consumers that
 * lost some (docs/events.md, "Sending again"). In pieces: each call does a bounded part, tells what it did and where
 * the next one goes on. Blocks for up to events.kafka.timeout: on a thread of a pool.
 *
 * They come from files of events (event_file.h), whose lines the caller brings, or from the dead letters at the
 * brokers. What no broker takes now is refused and told; it does not become a dead letter again. */
#ifndef EVENT_REPLAY_H
#define EVENT_REPLAY_H

#include "base/cq_pool.h"
#include "events/event_kafka.h"
#include "events/event_line.h"

#define EVENT_REPLAY_EVENTS_MAX 2000       /* of one piece */
#define EVENT_REPLAY_BYTES_MAX (16u << 20) /* of their values */
#define EVENT_REPLAY_PARTITIONS_MAX 10000  /* of the dead letters' topic */
#define EVENT_REPLAY_TEXT_MAX 256          /* bytes of a filter */
#define EVENT_REPLAY_ROWS_MAX 1000         /* different (topic, type, result) of a piece */

/* An empty one lets everything through. */
struct event_replay_filter {
    struct cq_slice since, until; /* by the event's time, as event_time_ok wants it; until is not included */
    struct cq_slice type;         /* "delivery.local", or a whole type */
    struct cq_slice topic;        /* a whole topic, or a stream: "mail.delivery" */
    struct cq_slice account;      /* its id (16 hexadecimal digits), or its address */
};

/* X(result, what is shown) */
#define EVENT_REPLAY_RESULTS(X)                                                                                        \
    X(EVENT_REPLAY_FOUND, "found")       /* a dry run: it would be sent */                                             \
    X(EVENT_REPLAY_SENT, "sent")         /* the brokers have confirmed it */                                           \
    X(EVENT_REPLAY_REFUSED, "refused")   /* no broker takes it: what refused it before is not mended */                \
    X(EVENT_REPLAY_NO_VALUE, "no-value") /* a dead letter of which only the headers are left */                        \
    X(EVENT_REPLAY_FOREIGN, "foreign")   /* a dead letter from no topic of ours */                                     \
    X(EVENT_REPLAY_BROKEN, "malformed")  /* a line that is no event: the beginning of one that a crash cut short */

enum event_replay_result {
#define EVENT_REPLAY_ENUM(result, text) result,
    EVENT_REPLAY_RESULTS(EVENT_REPLAY_ENUM)
#undef EVENT_REPLAY_ENUM
        EVENT_REPLAY_RESULT_COUNT
};
extern const char *const event_replay_result_names[EVENT_REPLAY_RESULT_COUNT];

/* What became of the events of one topic and type. */
struct event_replay_row {
    struct cq_slice topic, type; /* "" where it is not known */
    enum event_replay_result result;
    uint64_t events;
    struct cq_slice first_time, last_time;
};

/* Where in the dead letters. */
struct event_replay_position {
    int32_t partition;
    int64_t next;
    int64_t end; /* not included: what was there when the first piece began */
};

struct event_replay {
    const struct event_kafka_config *config;
    struct event_replay_filter filter;
    bool dry_run;
    size_t events_max;    /* of dead letters in this piece; 0: EVENT_REPLAY_EVENTS_MAX */
    struct cq_pool *pool; /* everything below lives there */
    struct event_replay_row *rows;
    size_t row_count;
    struct event_replay_position *positions; /* in: where the piece before ended, none: the beginning; out: this one */
    size_t position_count;
    bool done;               /* out: nothing is left of the dead letters */
    const char *refused_why; /* out: what a broker said of the last one that it refused; NULL: none was */
};

/* "" or a complaint that names the field. */
const char *event_replay_filter_wrong(const struct event_replay_filter *filter);

/* `lines`: whole lines. The rows say what was done, also after an error. CQ_E_CONFIG: there is no Kafka; CQ_E_IO: the
 * brokers did not confirm all of it in time, the text says why, and sending it again is harmless. CQ_E_LIMIT: more than
 * EVENT_REPLAY_EVENTS_MAX lines. */
enum cq_rc event_replay_lines(struct event_replay *replay, struct cq_slice lines, struct cq_err *err);

/* The same, of the dead letters. CQ_E_UNAVAILABLE: no broker answers. */
enum cq_rc event_replay_dead_letters(struct event_replay *replay, struct cq_err *err);

#endif
