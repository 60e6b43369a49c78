#include "node/background.h"

#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/disk_watch.h"
#include "node/group_hand_over.h"
#include "node/group_proposal.h"
#include "node/node.h"
#include "node/topology_keeper.h"
#include "node/version_raise.h"
#include "proto/mail.pb-c.h"
#include "state/mail_machine.h"

enum { M_RECLAIMS, M_CHUNKS, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_RECLAIMS] = CQ_COUNTER("chasqui_storage_reclaims_total", "Entries that removed what nobody can see any more"),
    [M_CHUNKS] =
        CQ_COUNTER("chasqui_storage_chunks_removed_total", "Chunks of dead bodies removed from this replica's store"),
};
struct cq_metrics background_metrics = CQ_METRICS_OF(rows);

/* What is done for one group; the control loop's. */
struct work {
    struct background *background;
    struct group *group;
    bool owning, reclaiming, sweeping, handing; /* under way */
    uint64_t owned_term, owned_epoch;           /* the leader has told its group the slots of this map */
    struct io_fiber_ref hander;                 /* while handing */
    struct cq_hash128 owned;                    /* which slots */
    uint64_t led_term, led_at_us;               /* since when this replica leads */
    uint64_t handed_at_us;                      /* leadership was offered to the preferred replica */
    uint64_t swept_index;
    uint64_t swept_at_us;
    struct version_raise raise;
    struct apply_call due; /* asks the machine whether there is anything to reclaim */
    bool is_due;
};

struct background {
    struct node *node;
    struct io_timer timer;
    bool stopped;
    unsigned handed; /* leaderships given away in this look */
    struct work *works[GROUPS_MAX];
};

static struct node *node_of(const struct work *w)
{
    return w->background->node;
}

/* ---- The slots that a group owns, told by its leader ---- */

static void own_after(void *arg, enum cq_rc rc, struct cq_slice reply)
{
    (void)reply;
    struct work *w = arg;
    w->owning = false;
    if (rc != CQ_OK && rc != CQ_E_CONFLICT) /* conflict: it knows a later map */
        w->owned_epoch = 0;
}

/* Other maps of the same slots need not be told: most changes of the topology are about nodes and replicas. */
static struct cq_hash128 slots_hash(const struct topology *t, uint32_t group)
{
    struct cq_buf ranges;
    cq_buf_init(&ranges, TOPOLOGY_SLOTS * 8);
    for (size_t i = 0; i < t->range_count; i++)
        if (t->ranges[i].group == group) {
            const uint32_t range[2] = {t->ranges[i].first, t->ranges[i].last};
            cq_buf_add(&ranges, range, sizeof range);
        }
    struct cq_hash128 hash = cq_xxh3_128(cq_buf_slice(&ranges));
    cq_buf_fini(&ranges);
    return hash;
}

static void own_slots(struct work *w, const struct topology *t)
{
    uint64_t term = atomic_load(&w->group->term);
    if (w->owning || (w->owned_term == term && w->owned_epoch == t->epoch))
        return;
    struct cq_hash128 slots = slots_hash(t, w->group->record.group);
    if (w->owned_term == term && w->owned_epoch && cq_hash128_eq(slots, w->owned)) {
        w->owned_epoch = t->epoch;
        return;
    }
    w->owned = slots;
    struct cq_pool *pool = cq_pool_new(4096);
    Chasqui__Mail__OwnSlots message = CHASQUI__MAIL__OWN_SLOTS__INIT;
    Chasqui__Mail__OwnSlots__Range **ranges = cq_pool_calloc(pool, t->range_count + 1, sizeof *ranges);
    for (size_t i = 0; i < t->range_count; i++) {
        if (t->ranges[i].group != w->group->record.group)
            continue;
        Chasqui__Mail__OwnSlots__Range *range = cq_pool_alloc(pool, sizeof *range);
        chasqui__mail__own_slots__range__init(range);
        range->first = t->ranges[i].first;
        range->last = t->ranges[i].last;
        ranges[message.n_ranges++] = range;
    }
    message.ranges = ranges;
    message.map_epoch = t->epoch;
    w->owning = true;
    w->owned_term = term;
    w->owned_epoch = t->epoch;
    group_propose(node_of(w), w->group, CHASQUI__MAIL__METHOD__OWN_SLOTS, &message.base, own_after, w);
    cq_pool_free(&pool);
}

/* ---- Leadership where the map wants it ---- */

/* To the preferred replica, when its node has been connected for a while. While the hand-over lasts proposals wait. */
static void prefer_leader(struct work *w, const struct topology *t)
{
    const struct topology_shard *shard = topology_shard(t, w->group->record.group);
    if (!shard || !shard->preferred || shard->preferred == w->group->record.replica)
        return;
    const struct topology_replica *wanted = topology_replica(shard, shard->preferred);
    uint64_t now = cq_time_mono_us(), term = atomic_load(&w->group->term);
    if (w->led_term != term) {
        w->led_term = term;
        w->led_at_us = now;
    }
    if (now - w->led_at_us < PREFER_SETTLE_S * CQ_US_PER_S) /* the map that made it leader may not be here yet */
        return;
    if (!wanted || !wanted->voter || t->nodes[wanted->node].state != TOPOLOGY_NODE_UP ||
        now - w->handed_at_us < PREFER_EVERY_S * CQ_US_PER_S ||
        !disk_watch_fit(node_of(w), t->nodes[wanted->node].uuid))
        return;
    uint64_t since = node_peer_since(node_of(w), t->nodes[wanted->node].uuid);
    if (since == 0 || now - since < PREFER_AFTER_S * CQ_US_PER_S || w->background->handed >= PREFER_AT_ONCE)
        return;
    struct raft_node to;
    memcpy(to.uuid, t->nodes[wanted->node].uuid, sizeof to.uuid);
    w->handed_at_us = now;
    w->background->handed++;
    raft_thread_transfer(node_of(w)->raft, w->group, &to);
}

/* ---- A node that is drained leads nothing ---- */

static void on_hand_over_end(struct io_loop *loop, void *arg)
{
    (void)loop;
    ((struct work *)arg)->handing = false;
}

static void hand_over(void *arg)
{
    struct work *w = arg;
    struct cq_err err = {0};
    struct node *node = node_of(w);
    if (group_hand_over(node, w->group, NULL, io_loop_deadline(node->control, DRAIN_TRY_MS), &err) != CQ_OK)
        cq_log_limited(1, CQ_WARN, "group.not_handed_over", CQ_F_U64("group", w->group->record.group), CQ_F_ERR(&err));
    io_loop_post(node->control, on_hand_over_end, w);
}

static void drain(struct work *w)
{
    if (!w->handing && io_fiber_spawn(node_of(w)->control, hand_over, w, &w->hander) == CQ_OK)
        w->handing = true;
}

static bool is_drained(const struct node *node, const struct topology *t)
{
    uint32_t me = t ? topology_node_index(t, node->dir.node) : TOPOLOGY_NONE;
    return me != TOPOLOGY_NONE && t->nodes[me].state >= TOPOLOGY_NODE_DRAINING;
}

/* ---- Reclaiming ---- */

static void reclaim(struct work *w);

/* Is there more? Then at once. */
static void reclaim_after(void *arg, enum cq_rc rc, struct cq_slice reply)
{
    struct work *w = arg;
    struct cq_pool *pool = cq_pool_new(512);
    struct cq_slice body;
    bool more = false;
    w->reclaiming = false;
    if (rc == CQ_OK && answer_body(reply, pool, &body, NULL, NULL) == CQ_OK) {
        Chasqui__Mail__ReclaimReply *r = chasqui__mail__reclaim_reply__unpack(NULL, body.len, body.data);
        more = r && r->more;
        if (r)
            chasqui__mail__reclaim_reply__free_unpacked(r, NULL);
    }
    cq_pool_free(&pool);
    cq_metric_add(&background_metrics, M_RECLAIMS, rc == CQ_OK);
    if (more && !w->background->stopped && group_leads(w->group))
        reclaim(w);
}

static void reclaim(struct work *w)
{
    Chasqui__Mail__Reclaim message = CHASQUI__MAIL__RECLAIM__INIT;
    message.max_effects = RECLAIM_EFFECTS;
    w->reclaiming = true;
    group_propose(node_of(w), w->group, CHASQUI__MAIL__METHOD__RECLAIM, &message.base, reclaim_after, w);
}

static void on_due(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct work *w = arg;
    w->reclaiming = false;
    if (w->is_due && !w->background->stopped && group_leads(w->group))
        reclaim(w);
}

static void due_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct work *w = cq_containerof(call, struct work, due);
    w->is_due = rc == CQ_OK && mail_machine_reclaim_due(machine, cq_time_wall_us());
    io_loop_post(node_of(w)->control, on_due, w);
}

static void ask_due(struct work *w)
{
    if (w->reclaiming)
        return;
    w->reclaiming = true;
    w->due = (struct apply_call){.run = due_run};
    apply_call(w->group->apply, &w->due);
}

/* ---- Dead bodies: chunk and mark go together, when the log has nothing that needs them ---- */

struct sweep {
    struct writer_item base;
    struct work *work;
    uint64_t first_index;
    size_t count;
    bool more;
    uint8_t keys[SWEEP_CHUNKS][DEAD_CHUNK_KEY_SIZE];
};

static void on_swept(struct io_loop *loop, void *arg);

/* Not while it is copied: a copy at an earlier index may name what is dead now. */
static bool may_sweep(const struct group *group)
{
    return !atomic_load(&group->failed) && !atomic_load(&group->reseed_wish);
}

/* On a thread of the read pool: which chunks? */
static void sweep_find(void *arg)
{
    struct sweep *s = arg;
    struct store *store = node_of(s->work)->dir.store;
    uint8_t from[DEAD_CHUNK_KEY_SIZE], to[DEAD_CHUNK_KEY_SIZE];
    dead_chunk_range(s->work->group->record.group, s->first_index, from, to);
    struct store_iter *iter =
        store_iter_new(store, NULL, STORE_LOCAL, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
    s->count = 0;
    enum cq_rc rc = CQ_OK;
    while (s->count < SWEEP_CHUNKS && (rc = store_iter_next(iter)) == CQ_OK) {
        struct cq_slice key = store_iter_key(iter);
        if (key.len == DEAD_CHUNK_KEY_SIZE)
            memcpy(s->keys[s->count++], key.data, key.len);
    }
    store_iter_free(&iter);
    s->more = rc == CQ_OK;
    if (s->count)
        writer_add(node_of(s->work)->writer, &s->base);
    else
        io_loop_post(node_of(s->work)->control, on_swept, s);
}

static void sweep_encode(struct writer_item *item, struct store_batch *batch)
{
    struct sweep *s = cq_containerof(item, struct sweep, base);
    for (size_t i = 0; i < s->count; i++) {
        struct chunk_id id;
        uint32_t group;
        uint8_t key[CHUNK_KEY_SIZE];
        struct cq_slice mark = cq_slice_of(s->keys[i], DEAD_CHUNK_KEY_SIZE);
        if (!dead_chunk_parse(mark, &group, &id))
            continue;
        chunk_key(&id, key);
        store_batch_delete(batch, STORE_CHUNK, cq_slice_of(key, sizeof key));
        store_batch_delete(batch, STORE_LOCAL, mark);
    }
}

static void sweep_durable(struct writer_item *item)
{
    struct sweep *s = cq_containerof(item, struct sweep, base);
    cq_metric_add(&background_metrics, M_CHUNKS, s->count);
    disk_watch_removed(node_of(s->work)->disk_watch, s->count);
    io_loop_post(node_of(s->work)->control, on_swept, s);
}

static const struct writer_item_ops sweep_ops = {.encode = sweep_encode, .durable = sweep_durable};

static void sweep_start(struct work *w)
{
    struct sweep *s = cq_new(struct sweep);
    s->base.ops = &sweep_ops;
    s->work = w;
    s->first_index = atomic_load(&w->group->first_index);
    w->swept_index = s->first_index;
    w->swept_at_us = cq_time_mono_us();
    w->sweeping = true;
    if (io_pool_submit(node_of(w)->read_pool, sweep_find, s) == CQ_OK)
        return;
    w->sweeping = false; /* the pool is full: later */
    free(s);
}

static void on_swept(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct sweep *s = arg;
    struct work *w = s->work;
    bool more = s->more;
    free(s);
    w->sweeping = false;
    if (more && !w->background->stopped && may_sweep(w->group))
        sweep_start(w);
}

static void sweep(struct work *w)
{
    uint64_t first = atomic_load(&w->group->first_index);
    uint64_t age = cq_time_mono_us() - w->swept_at_us;
    if (!w->sweeping && first > 0 && (first > w->swept_index || age > SWEEP_EVERY_S * CQ_US_PER_S))
        sweep_start(w);
}

/* ---- The look at all groups ---- */

static struct work *work_of(struct background *b, struct group *group)
{
    uint32_t id = group->record.group;
    if (!b->works[id]) {
        b->works[id] = cq_new(struct work);
        b->works[id]->background = b;
        b->works[id]->group = group;
        b->works[id]->raise = (struct version_raise){.node = b->node, .group = group};
        b->works[id]->swept_at_us = cq_time_mono_us();
    }
    return b->works[id];
}

static void look(struct background *b)
{
    if (b->stopped)
        return;
    const struct topology *t = topology_keeper_get(b->node->keeper);
    bool drained = is_drained(b->node, t);
    b->handed = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&b->node->groups, id);
        if (!group || atomic_load(&group->failed))
            continue;
        struct work *w = work_of(b, group);
        if (group_leads(group) && drained)
            drain(w);
        if (id == GROUP_SYSTEM) /* it has nothing of what follows */
            continue;
        if (group_leads(group) && t) {
            own_slots(w, t);
            version_raise_look(&w->raise, t);
            if (!drained)
                prefer_leader(w, t);
        }
        if (group_leads(group))
            ask_due(w);
        if (may_sweep(group))
            sweep(w);
    }
    topology_unref(&t);
}

static void on_timer(struct io_timer *timer)
{
    look(cq_containerof(timer, struct background, timer));
    io_timer_start(timer, BACKGROUND_TICK_MS);
}

static void on_wake(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct background *b = arg;
    if (!b->stopped)
        io_timer_start(&b->timer, 10); /* what comes together is seen to together */
}

void background_wake(struct background *b)
{
    io_loop_post(b->node->control, on_wake, b);
}

void background_trimmed(struct background *b, struct group *group)
{
    (void)group; /* the next look sees it */
    background_wake(b);
}

struct background *background_new(struct node *node)
{
    struct background *b = cq_new(struct background);
    b->node = node;
    io_timer_init(&b->timer, node->control, on_timer);
    return b;
}

void background_start(struct background *b)
{
    io_timer_start(&b->timer, BACKGROUND_TICK_MS);
}

void background_stop(struct background *b)
{
    b->stopped = true;
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        if (b->works[id] && b->works[id]->handing)
            io_fiber_cancel(b->works[id]->hander);
        if (b->works[id])
            version_raise_stop(&b->works[id]->raise);
    }
    io_timer_stop(&b->timer);
}

void background_free(struct background **background)
{
    struct background *b = *background;
    if (!b)
        return;
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        free(b->works[id]);
    free(b);
    *background = NULL;
}
