#include "raft_item.h"

#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "raft_conf.h"
#include "state/entry.h"

#include <stdlib.h>

struct raft_item *raft_item_new(enum raft_entry_kind kind, struct raft_bytes *owner, struct cq_slice entry,
                                const struct raft_body *bodies, size_t body_count)
{
    struct raft_item *item = cq_malloc(sizeof *item + body_count * sizeof *bodies);
    *item = (struct raft_item){.refs = 1, .kind = kind, .entry = entry, .body_count = (uint32_t)body_count};
    item->owner = entry.len ? raft_bytes_ref(owner) : NULL;
    for (size_t i = 0; i < body_count; i++) {
        item->bodies[i] = bodies[i];
        raft_bytes_ref(bodies[i].owner);
        item->body_bytes += bodies[i].octets.len;
    }
    return item;
}

struct raft_item *raft_item_ref(struct raft_item *item)
{
    item->refs++;
    return item;
}

void raft_item_unref(struct raft_item **item)
{
    struct raft_item *it = *item;
    *item = NULL;
    if (!it || --it->refs)
        return;
    raft_bytes_unref(&it->owner);
    for (uint32_t i = 0; i < it->body_count; i++)
        raft_bytes_unref(&it->bodies[i].owner);
    free(it);
}

static enum cq_rc check_bodies(const struct raft_item *item, const struct entry *entry, bool with_hashes,
                               struct cq_err *err)
{
    if (entry->chunk_count != item->body_count)
        return CQ_FAIL(err, CQ_E_CORRUPT, "entry with %zu chunks came with %u", entry->chunk_count, item->body_count);
    for (uint32_t i = 0; i < item->body_count; i++) {
        struct cq_slice octets = item->bodies[i].octets;
        if (octets.len != entry->chunks[i].length ||
            (with_hashes && !cq_hash128_eq(cq_xxh3_128(octets), entry->chunks[i].hash)))
            return CQ_FAIL(err, CQ_E_CORRUPT, "chunk %u is not what its entry says", i);
    }
    return CQ_OK;
}

static enum cq_rc check_command(const struct raft_item *item, bool with_hashes, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(512);
    struct entry entry;
    enum cq_rc rc = entry_decode(item->entry, pool, &entry, err);
    if (rc == CQ_OK)
        rc = check_bodies(item, &entry, with_hashes, err);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc raft_item_check(const struct raft_item *item, bool with_hashes, struct cq_err *err)
{
    struct raft_conf conf;
    switch (item->kind) {
    case RAFT_KIND_COMMAND:
        return check_command(item, with_hashes, err);
    case RAFT_KIND_BARRIER:
        return item->entry.len || item->body_count ? CQ_FAIL(err, CQ_E_CORRUPT, "a barrier carries something") : CQ_OK;
    case RAFT_KIND_CHANGE:
        return item->body_count ? CQ_E_CORRUPT : raft_conf_parse(item->entry, &conf, err);
    }
    return CQ_FAIL(err, CQ_E_CORRUPT, "log entry of kind %d", (int)item->kind);
}
