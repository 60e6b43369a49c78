/* Writing through the node's one writer, and the flip: the replica leaves Raft and its machine, one synced batch makes
 * the new generation its own, and it starts again from what the store has, as after a restart. */
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "node/fiber_wait.h"
#include "node/node_private.h"
#include "node/reseeder_private.h"

/* ---- Writing ---- */

/* On the heap: the writer has it until it is durable, which may be long after it is written. What is not synced is
 * encoded, then written, before anybody goes on, so the batch is the caller's all the time. */
struct page_write {
    struct writer_item base;
    const struct store_batch *batch;
    struct fiber_wait *wait;
};

static void page_encode(struct writer_item *item, struct store_batch *batch)
{
    store_batch_replay(cq_containerof(item, struct page_write, base)->batch, batch);
}

static void page_written(struct writer_item *item)
{
    struct page_write *w = cq_containerof(item, struct page_write, base);
    if (!item->sync)
        fiber_wait_signal(w->wait);
}

static void page_durable(struct writer_item *item)
{
    struct page_write *w = cq_containerof(item, struct page_write, base);
    if (item->sync)
        fiber_wait_signal(w->wait);
    free(w);
}

static const struct writer_item_ops page_ops = {
    .encode = page_encode, .written = page_written, .durable = page_durable};

enum cq_rc reseeder_write(struct attempt *a, struct store_batch *batch, bool sync, struct cq_err *err)
{
    (void)err; /* a failed write ends the process */
    struct fiber_wait wait;
    struct page_write *w = cq_new(struct page_write);
    w->base.ops = &page_ops;
    w->base.sync = sync;
    w->batch = batch;
    w->wait = &wait;
    fiber_wait_begin(&wait);
    writer_add(a->node->writer, &w->base);
    fiber_wait(&wait);
    return io_fiber_cancelled() && !sync ? CQ_E_CANCELLED : CQ_OK;
}

enum cq_rc reseeder_write_page(void *attempt, struct store_batch *batch, struct cq_err *err)
{
    return store_batch_bytes(batch) ? reseeder_write(attempt, batch, false, err) : CQ_OK;
}

/* ---- Out of Raft, and out of the machine ---- */

struct errand {
    struct attempt *attempt;
    struct fiber_wait wait;
    bool keep;
};

static void on_transfer(struct raft_host *host, void *arg)
{
    struct errand *e = arg;
    if (host)
        raft_host_transfer(host, e->attempt->group->record.group, NULL);
    fiber_wait_signal(&e->wait);
}

static void on_take_out(struct raft_host *host, void *arg)
{
    struct errand *e = arg;
    if (host)
        raft_thread_take_out(e->attempt->node->raft, host, e->attempt->group);
    fiber_wait_signal(&e->wait);
}

static void on_keep_log(struct raft_host *host, void *arg)
{
    struct errand *e = arg;
    if (host)
        raft_host_keep_log(host, e->attempt->group->record.group, e->keep);
    fiber_wait_signal(&e->wait);
}

void reseeder_keep_log(struct attempt *a, bool keep)
{
    struct errand e = {.attempt = a, .keep = keep};
    fiber_wait_begin(&e.wait);
    raft_thread_run(a->node->raft, on_keep_log, &e);
    fiber_wait(&e.wait);
}

static void on_raft(struct attempt *a, void (*fn)(struct raft_host *host, void *arg))
{
    struct errand e = {.attempt = a};
    fiber_wait_begin(&e.wait);
    raft_thread_run(a->node->raft, fn, &e);
    fiber_wait(&e.wait);
}

static void on_detached(void *arg)
{
    fiber_wait_signal(&((struct errand *)arg)->wait);
}

static void detach(struct attempt *a)
{
    struct errand e = {.attempt = a};
    fiber_wait_begin(&e.wait);
    apply_group_detach(a->group->apply, on_detached, &e);
    fiber_wait(&e.wait);
}

enum cq_rc reseeder_hand_over(struct attempt *a, uint64_t ms, struct cq_err *err)
{
    uint64_t until = io_loop_deadline(a->reseeder->loop, ms);
    while (group_leads(a->group)) {
        if (io_loop_now_us(a->reseeder->loop) > until)
            return CQ_FAIL(err, CQ_E_UNAVAILABLE, "group %u: no sound replica takes the leadership",
                           a->group->record.group);
        on_raft(a, on_transfer);
        if (io_fiber_sleep(50) != CQ_OK)
            return CQ_FAIL(err, CQ_E_CANCELLED, "cancelled");
    }
    return CQ_OK;
}

/* ---- The flip ---- */

static enum cq_rc write_flip(struct attempt *a, struct replica_record *record, struct cq_err *err)
{
    enum raft_install_log log;
    struct store_batch *batch = store_batch_recorder_new();
    record->generation = a->target.record.generation;
    record->replica = a->target.record.replica;
    replica_record_put(batch, record);
    if (record->replica > atomic_load(&a->node->made))
        atomic_store(&a->node->made, record->replica);
    replica_floor_put(batch, atomic_load(&a->node->made));
    if (a->lost && a->group->former)
        raft_boot_erase(batch, record->group, a->group->former);
    replica_withhold_delete(batch, record->group);
    enum cq_rc rc = reseed_flip(&a->target, &a->offer.mark, a->offer.conf_index, a->offer.members,
                                a->offer.member_count, batch, &log, err);
    if (rc == CQ_OK) {
        reseeder_write(a, batch, true, err);
        cq_log(CQ_INFO, "reseed.flipped", CQ_F_U64("group", record->group), CQ_F_U64("generation", record->generation),
               CQ_F_U64("index", a->offer.mark.index), CQ_F_STR("log", log == RAFT_INSTALL_KEPT ? "kept" : "replaced"));
    }
    store_batch_free(&batch);
    return rc;
}

/* What Raft's jobs of the replica have left with the writer is written before the log is looked at. */
static void wait_for_jobs(struct attempt *a)
{
    struct store_batch *batch = store_batch_recorder_new();
    reseeder_write(a, batch, true, NULL);
    store_batch_free(&batch);
}

/* It may have turned out, while the copy was made, that the replica does not know what it has promised. Then this copy,
 * which is for its old id, is not for it: the wish for a new one waits already. */
static enum cq_rc check_remembers(struct attempt *a, bool *forgets_r, struct cq_err *err)
{
    uint32_t group = a->group->record.group;
    enum replica_withheld why = REPLICA_KEPT;
    enum cq_rc rc = a->lost ? CQ_OK : replica_withheld_read(a->node->dir.store, group, &why, err);
    *forgets_r = rc != CQ_OK || why != REPLICA_KEPT;
    if (rc != CQ_OK || why == REPLICA_KEPT)
        return rc;
    return CQ_FAIL(err, CQ_E_CONFLICT,
                   "group %u: the replica does not know what it has promised; a new one replaces it", group);
}

/* The replica under Raft again: as it is now, or as it was. A log that does not read is one that has forgotten. */
static void open_again(struct attempt *a, enum cq_rc flipped, const struct replica_record *record)
{
    struct cq_err err = {0};
    enum cq_rc rc = flipped;
    if (flipped != CQ_E_CORRUPT)
        rc = node_group_reload(a->node, a->group, record, &err);
    if (rc == CQ_OK)
        return;
    if (flipped != CQ_E_CORRUPT)
        cq_log(CQ_ERROR, "reseed.not_opened", CQ_F_U64("group", record->group), CQ_F_ERR(&err));
    if (rc == CQ_E_CORRUPT || rc == CQ_E_NOT_FOUND)
        node_group_withhold(a->node, a->group);
}

enum cq_rc reseeder_flip(struct attempt *a, struct cq_err *err)
{
    struct replica_record old = group_replica_record(a->group), record = old;
    bool forgets;
    if (io_fiber_cancelled())
        return CQ_FAIL(err, CQ_E_CANCELLED, "cancelled");
    io_fiber_shield(true); /* it is not left in the middle */
    on_raft(a, on_take_out);
    detach(a);
    wait_for_jobs(a);
    enum cq_rc rc = check_remembers(a, &forgets, err);
    if (rc == CQ_OK)
        rc = write_flip(a, &record, err);
    if (rc == CQ_OK) {
        atomic_store(&a->group->distrust, SUSPECT_NONE);
        atomic_store(&a->group->recovered, false);
        a->group->former = 0;
    }
    if (rc == CQ_OK || (old.generation && !a->lost && !forgets))
        open_again(a, rc, rc == CQ_OK ? &record : &old);
    io_fiber_shield(false);
    return rc;
}

enum cq_rc reseeder_take_back(struct attempt *a, struct cq_err *err)
{
    struct replica_record record = group_replica_record(a->group);
    record.replica = a->group->former;
    atomic_store(&a->group->recovered, true);
    io_fiber_shield(true);
    enum cq_rc rc = node_group_reload(a->node, a->group, &record, err);
    io_fiber_shield(false);
    if (rc == CQ_OK)
        a->group->former = 0;
    return rc;
}

/* ---- The old generation's space ---- */

void reseeder_compact_begin(struct attempt *a, const struct reseed_record *record)
{
    a->target.record = *record;
}

static void compact(void *arg)
{
    struct attempt *a = arg;
    struct state_keyspace space;
    struct state_key from = {.len = 0}, to;
    state_keyspace_init(&space, a->group->record.group, a->target.record.old_generation);
    key_bytes(&from, space.prefix, sizeof space.prefix);
    key_after_prefix(&from, &to);
    store_rocksdb_compact(a->node->dir.store, STORE_STATE, key_slice(&from), key_slice(&to));
}

void reseeder_compact(struct attempt *a)
{
    if (a->target.record.old_generation)
        io_pool_run(a->node->read_pool, compact, a, UINT64_MAX);
}
