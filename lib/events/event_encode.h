/* From an outbox record to a CloudEvents 1.0 event (github.com/cloudevents/spec, JSON format, structured mode). Pure:
 * the same record gives the same bytes on the same node, and the same id on every node. */
#ifndef EVENT_ENCODE_H
#define EVENT_ENCODE_H

#include "base/cq_pool.h"
#include "events/event_catalogue.h"
#include "events/event_sink.h"

enum event_pii {
    EVENT_PII_FULL,  /* addresses as they are */
    EVENT_PII_DOMAIN /* only what follows the last @ */
};

/* What only the publisher knows. Texts are borrowed. */
struct event_source {
    const char *cluster;
    const char *node; /* UUID */
    const char *dc;
    const char *version; /* of the software */
    const char *type_prefix;
    enum event_pii pii;
};

struct event_place {
    uint32_t shard;
    uint64_t index;
    uint32_t sub_index;
};

#define EVENT_ID_SIZE 37 /* a UUID and a NUL */

/* RFC 9562 version 8, made from cluster, shard, index and sub-index. */
void event_id(const char *cluster, const struct event_place *place, char id_r[static EVENT_ID_SIZE]);

/* Fills a record; everything lives in the pool. CQ_E_PROTO: the record does not decode. A type that this build does not
 * know is encoded as "unknown.N": it is never lost silently. */
enum cq_rc event_encode(const struct event_source *source, const struct event_place *place, struct cq_slice outbox,
                        struct cq_pool *pool, struct event_record *record_r, const struct event_row **row_r,
                        struct cq_err *err);

#endif
