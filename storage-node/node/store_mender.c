#include "node/store_mender.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/node.h"
#include "node/reseeder.h"
#include "node/scrubber.h"
#include "reseed/chunk_sweep.h"

#define STEP_BYTES (1u << 20)

struct store_mender {
    struct store_mender_config config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the end, and a deletion that is durable */
    bool stopping;
    size_t deleted;
};

/* ---- Waiting ---- */

/* False: the process stops. */
static bool sleep_until(struct store_mender *m, uint64_t until_us)
{
    struct timespec at = {.tv_sec = (time_t)(until_us / CQ_US_PER_S), .tv_nsec = (long)(until_us % CQ_US_PER_S) * 1000};
    pthread_mutex_lock(&m->lock);
    while (!m->stopping && pthread_cond_timedwait(&m->wake, &m->lock, &at) == 0)
        ;
    bool goes_on = !m->stopping;
    pthread_mutex_unlock(&m->lock);
    return goes_on;
}

/* ---- Deleting ---- */

struct deletion {
    struct writer_item base;
    struct store_mender *mender;
    uint8_t key[CHUNK_KEY_SIZE];
    bool done; /* under the mender's lock */
};

static void deletion_encode(struct writer_item *item, struct store_batch *batch)
{
    const struct deletion *d = cq_containerof(item, struct deletion, base);
    store_batch_delete(batch, STORE_CHUNK, cq_slice_of(d->key, sizeof d->key));
}

static void deletion_durable(struct writer_item *item)
{
    struct deletion *d = cq_containerof(item, struct deletion, base);
    struct store_mender *m = d->mender;
    pthread_mutex_lock(&m->lock);
    d->done = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

static const struct writer_item_ops deletion_ops = {.encode = deletion_encode, .durable = deletion_durable};

static void delete_chunk(struct store_mender *m, const struct chunk_id *id)
{
    struct deletion d = {.base = {.ops = &deletion_ops, .sync = true}, .mender = m};
    chunk_key(id, d.key);
    writer_add(m->config.node->writer, &d.base);
    pthread_mutex_lock(&m->lock);
    while (!d.done)
        pthread_cond_wait(&m->wake, &m->lock);
    pthread_mutex_unlock(&m->lock);
    m->deleted++;
}

/* The upper half of an incarnation is its group (node/replica_record.h). */
static void give_up_chunk(struct store_mender *m, const struct chunk_id *id)
{
    struct node *node = m->config.node;
    struct group *group = groups_find(&node->groups, (uint32_t)(id->incarnation >> 32));
    cq_log(CQ_ERROR, "store.chunk_damaged", CQ_F_U64("group", id->incarnation >> 32), CQ_F_U64("term", id->term),
           CQ_F_U64("index", id->index), CQ_F_U64("ordinal", id->ordinal));
    corruption_detected(CORRUPT_READ);
    if (group)
        reseeder_distrust(node->reseeder, group, SUSPECT_PARTS);
    delete_chunk(m, id);
}

/* ---- The other tables: what does not read there cannot be deleted ---- */

static enum cq_rc check_family(struct store_mender *m, enum store_family family, struct cq_err *err)
{
    struct node *node = m->config.node;
    struct store_iter *iter = store_iter_new(node->dir.store, NULL, family, CQ_SLICE_NONE, CQ_SLICE_NONE);
    uint64_t began = cq_time_mono_us(), bytes = 0;
    uint32_t near = 0; /* the group of the last key that was read */
    enum cq_rc rc;
    while ((rc = store_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter);
        bytes += key.len + store_iter_value(iter).len;
        near = key.len >= 4 ? cq_get_be32(key.data) : near;
        if (bytes < STEP_BYTES)
            continue;
        if (!sleep_until(m, began + bytes * CQ_US_PER_S / m->config.rate)) {
            rc = CQ_FAIL(err, CQ_E_CANCELLED, "the node stops");
            break;
        }
        began = cq_time_mono_us();
        bytes = 0;
    }
    store_iter_free(&iter);
    if (rc == CQ_E_EOF || rc == CQ_E_CANCELLED)
        return rc == CQ_E_EOF ? CQ_OK : rc;
    struct group *group = family == STORE_STATE ? groups_find(&node->groups, near) : NULL;
    if (group)
        reseeder_distrust(node->reseeder, group, SUSPECT_PARTS);
    return CQ_FAIL(err, rc, "a table does not read (family %d, near group %u)", (int)family, near);
}

static enum cq_rc check_tables(struct store_mender *m, struct cq_err *err)
{
    static const enum store_family families[] = {STORE_LOCAL, STORE_LOG, STORE_STATE};
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; rc == CQ_OK && i < sizeof families / sizeof *families; i++)
        rc = check_family(m, families[i], err);
    return rc;
}

/* ---- The whole ---- */

static enum cq_rc sweep(struct store_mender *m, struct cq_err *err)
{
    struct chunk_sweep sweep;
    chunk_sweep_begin(&sweep, m->config.node->dir.store);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && !sweep.done) {
        struct chunk_id damaged;
        uint64_t began = cq_time_mono_us(), before = sweep.bytes;
        rc = chunk_sweep_step(&sweep, STEP_BYTES, &damaged, err);
        if (rc == CQ_E_CORRUPT) {
            give_up_chunk(m, &damaged);
            rc = CQ_OK;
        }
        if (!sleep_until(m, began + (sweep.bytes - before) * CQ_US_PER_S / m->config.rate))
            rc = CQ_FAIL(err, CQ_E_CANCELLED, "the node stops");
    }
    if (rc == CQ_OK)
        cq_log(CQ_INFO, "store.mended", CQ_F_U64("chunks", sweep.chunks), CQ_F_U64("bytes", sweep.bytes),
               CQ_F_U64("deleted", m->deleted));
    return rc;
}

static void *mender_main(void *arg)
{
    struct store_mender *m = arg;
    struct data_dir *dir = &m->config.node->dir;
    struct cq_err err = {0};
    cq_log(CQ_WARN, "store.quiet",
           CQ_F_STR("why", "the last process ended because the store met something that does not read"));
    enum cq_rc rc = sweep(m, &err);
    if (rc == CQ_OK)
        rc = check_tables(m, &err);
    if (rc == CQ_OK)
        rc = data_dir_damage_gone(dir, &err); /* first: whatever is met now is noted again */
    if (rc == CQ_OK)
        rc = store_rocksdb_unquiet(dir->store, &err);
    if (rc != CQ_OK && rc != CQ_E_CANCELLED)
        cq_log(CQ_ERROR, "store.not_mended", CQ_F_STR("action", "the store stays without compaction"), CQ_F_ERR(&err));
    return NULL;
}

struct store_mender *store_mender_start(const struct store_mender_config *config)
{
    if (!config->node->dir.damaged)
        return NULL;
    struct store_mender *m = cq_new(struct store_mender);
    pthread_condattr_t monotonic;
    m->config = *config;
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    CQ_ASSERT(pthread_create(&m->thread, NULL, mender_main, m) == 0);
    pthread_setname_np(m->thread, "mender");
    return m;
}

void store_mender_stop(struct store_mender **mender)
{
    struct store_mender *m = *mender;
    *mender = NULL;
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
