/* From a record (of a shard's outbox, or of a front-end) to a CloudEvents 1.0 event (github.com/cloudevents/spec, JSON
 * format, structured mode). Pure: the same record gives the same bytes on the same node, and an outbox record the same
 * id on every node. */
#ifndef EVENT_ENCODE_H
#define EVENT_ENCODE_H

#include "base/cq_pool.h"
#include "events/event_catalogue.h"
#include "events/event_sink.h"

enum event_pii {
    EVENT_PII_FULL,   /* addresses as they are */
    EVENT_PII_DOMAIN, /* only what follows the last @ */
    EVENT_PII_HMAC    /* that, and a keyed hash: the same address has the same one, nobody can go back */
};

#define EVENT_PII_KEY_MIN 16 /* bytes of the key of EVENT_PII_HMAC */
#define EVENT_PII_KEY_MAX 256

/* What only the publisher knows. Texts are borrowed. */
struct event_source {
    const char *cluster;
    const char *node; /* a UUID, or a front-end's name */
    const char *dc;
    const char *role;    /* "storage", "frontend" */
    const char *version; /* of the software */
    const char *type_prefix;
    enum event_pii pii;
    uint8_t pii_key[EVENT_PII_KEY_MAX]; /* of EVENT_PII_HMAC */
    size_t pii_key_len;
    bool protobuf;       /* records are wanted as protobuf, too */
    uint64_t started_us; /* of the process: part of the source of a front-end's events */
};

struct event_place {
    uint32_t shard;
    uint64_t index;
    uint32_t sub_index;
};

#define EVENT_ID_SIZE 37 /* a UUID and a NUL */

/* RFC 9562 version 8, made from cluster, shard, index and sub-index. */
void event_id(const char *cluster, const struct event_place *place, char id_r[static EVENT_ID_SIZE]);

/* Fills a record (`protobuf` where the source wants it); everything lives in the pool. CQ_E_PROTO: the record does not
 * decode. A type that this build does not know is encoded as "unknown.N": it is never lost silently. */
enum cq_rc event_encode(const struct event_source *source, const struct event_place *place, struct cq_slice outbox,
                        struct cq_pool *pool, struct event_record *record_r, const struct event_row **row_r,
                        struct cq_err *err);

/* ---- Events of a front-end (proto/edge.proto) ---- */

#define EVENT_UUID_SIZE 16

/* What stands beside a packed event while it waits. */
struct event_stamp {
    uint8_t id[EVENT_UUID_SIZE];
    uint64_t number; /* counts the events of the process, those that are dropped too */
};

/* RFC 9562 version 7: milliseconds, then `random` (16 bytes, of which 74 bits are used). */
void event_uuid7(uint64_t ms, const uint8_t random[static EVENT_UUID_SIZE], uint8_t id_r[static EVENT_UUID_SIZE]);

/* As event_encode. */
enum cq_rc event_encode_edge(const struct event_source *source, const struct event_stamp *stamp, struct cq_slice packed,
                             struct cq_pool *pool, struct event_record *record_r, const struct event_row **row_r,
                             struct cq_err *err);

/* ---- Addresses ---- */

#define EVENT_HASH_SIZE 33 /* 32 hexadecimal digits and a NUL */

/* HMAC-SHA-256 of the text in lower case (ASCII), its first half. */
void event_hash(struct cq_slice key, struct cq_slice text, char hash_r[static EVENT_HASH_SIZE]);

#endif
