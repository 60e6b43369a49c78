/* A body that this replica cannot read and that somebody waits for: its chunks come from any other replica, are held
 * against the hashes that the state names, and are written in place. So a leader that nobody can relieve still answers,
 * and what one reader has met is repaired for the next. The replica is suspect all the same. */
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "node/reseeder_private.h"
#include "node/topology_keeper.h"

static bool is_here(struct node *node, const struct body_piece *piece)
{
    uint8_t key[CHUNK_KEY_SIZE];
    struct cq_buf octets;
    chunk_key(&piece->id, key);
    cq_buf_init(&octets, ENTRY_CHUNK_MAX);
    bool here = store_get(node->dir.store, NULL, STORE_CHUNK, cq_slice_of(key, sizeof key), &octets, NULL) == CQ_OK &&
                octets.len == piece->length && cq_hash128_eq(cq_xxh3_128(cq_buf_slice(&octets)), piece->hash);
    cq_buf_fini(&octets);
    return here;
}

/* What a peer says is a chunk of this body: is it? */
static bool fits(const struct body_piece *piece, struct cq_slice key, struct cq_slice page, struct reseed_row *row_r)
{
    return reseed_row_next(&page, row_r, NULL) == CQ_OK && row_r->kind == RESEED_CHUNK &&
           cq_slice_eq(row_r->key, key) && row_r->value.len == piece->length &&
           cq_hash128_eq(cq_xxh3_128(row_r->value), piece->hash);
}

static enum cq_rc fetch_from(struct attempt *a, const char *address, const struct body_piece *piece, struct cq_err *err)
{
    uint8_t key_bytes_of[CHUNK_KEY_SIZE];
    struct cq_slice key = cq_slice_of(key_bytes_of, sizeof key_bytes_of);
    struct reseed_row row;
    struct cq_buf name, page;
    chunk_key(&piece->id, key_bytes_of);
    cq_buf_init(&name, RESEED_PAGE_MAX);
    cq_buf_init(&page, RESEED_PAGE_MAX);
    reseed_row_put(&name, &(struct reseed_row){RESEED_NAME_CHUNK, key, CQ_SLICE_NONE});
    enum cq_rc rc = reseeder_pick(a, address, cq_buf_slice(&name), &page, err);
    if (rc == CQ_OK && !fits(piece, key, cq_buf_slice(&page), &row))
        rc = CQ_FAIL(err, CQ_E_NOT_FOUND, "%s: it does not have the chunk", address);
    if (rc == CQ_OK) {
        struct store_batch *batch = store_batch_recorder_new();
        store_batch_put(batch, STORE_CHUNK, row.key, row.value);
        rc = reseeder_write(a, batch, false, err);
        store_batch_free(&batch);
    }
    cq_buf_fini(&name);
    cq_buf_fini(&page);
    return rc;
}

static enum cq_rc fetch_piece(struct attempt *a, const struct topology *t, const struct body_piece *piece,
                              struct cq_err *err)
{
    const struct topology_shard *shard = t ? topology_shard(t, a->group->record.group) : NULL;
    enum cq_rc rc = CQ_FAIL(err, CQ_E_UNAVAILABLE, "nobody is known to have it");
    for (size_t i = 0; shard && i < shard->replica_count && rc != CQ_OK && rc != CQ_E_CANCELLED; i++) {
        const struct topology_node *n = &t->nodes[shard->replicas[i].node];
        if (memcmp(n->uuid, a->node->dir.node, sizeof n->uuid) != 0)
            rc = fetch_from(a, n->address, piece, err);
    }
    return rc;
}

static enum cq_rc fetch_all(struct attempt *a, const struct reseeder_fetch *fetch, struct cq_err *err)
{
    const struct topology *t = topology_keeper_get(a->node->keeper);
    enum cq_rc rc = CQ_OK;
    size_t fetched = 0;
    for (size_t i = 0; i < fetch->count && rc == CQ_OK; i++) {
        if (is_here(a->node, &fetch->pieces[i]))
            continue;
        rc = fetch_piece(a, t, &fetch->pieces[i], err);
        fetched++;
    }
    topology_unref(&t);
    if (rc == CQ_OK)
        cq_log(CQ_WARN, "body.repaired", CQ_F_U64("group", a->group->record.group), CQ_F_U64("chunks", fetched));
    return rc;
}

static void fetch_fiber(void *arg)
{
    struct reseeder_fetch *fetch = arg;
    struct reseeder *r = fetch->reseeder;
    struct attempt *a = cq_new(struct attempt);
    struct cq_err err = {0};
    a->reseeder = r;
    a->node = r->config.node;
    a->group = fetch->group;
    enum cq_rc rc = fetch_all(a, fetch, &err);
    if (rc != CQ_OK)
        cq_log_limited(1, CQ_WARN, "body.not_repaired", CQ_F_U64("group", fetch->group->record.group), CQ_F_ERR(&err));
    rpc_client_free(&a->client);
    free(a);
    r->fetching--;
    fetch->done(fetch, rc);
}

static void on_fetch(struct io_loop *loop, void *arg)
{
    struct reseeder_fetch *fetch = arg;
    struct reseeder *r = fetch->reseeder;
    struct io_fiber_ref ref;
    r->fetching++;
    if (!r->stopped && r->fetching <= FETCHES_MAX && io_fiber_spawn(loop, fetch_fiber, fetch, &ref) == CQ_OK)
        return;
    r->fetching--;
    fetch->done(fetch, CQ_E_UNAVAILABLE);
}

void reseeder_fetch(struct reseeder *r, struct reseeder_fetch *fetch)
{
    fetch->reseeder = r;
    io_loop_post(r->loop, on_fetch, fetch);
}
