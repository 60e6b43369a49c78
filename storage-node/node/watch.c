#include "node/watch.h"

#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_hash.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "node/node.h"

#define BUCKETS 4096

enum { M_WATCHES, M_NOTICES, M_GAPS, M_ROWS };
static const struct cq_metric rows[M_ROWS] = {
    [M_WATCHES] = CQ_GAUGE("chasqui_watches", "Streams that wait for changes of an account"),
    [M_NOTICES] = CQ_COUNTER("chasqui_watch_notices_total", "Notices given to streams"),
    [M_GAPS] = CQ_COUNTER("chasqui_watch_gaps_total", "Times that a stream's receiver was too slow: it asks for all"),
};
struct cq_metrics watch_metrics = CQ_METRICS_OF(rows);

struct watch_table {
    struct cq_list buckets[BUCKETS];
    size_t count;
};

/* One stream. The apply thread owns the three about the registration, the worker the rest. */
struct watch {
    struct raft_request base; /* the read that precedes it; later the call that ends it */
    struct worker *worker;
    struct rpc_request *rpc;
    uint64_t account;
    struct cq_list entry; /* in its bucket */
    bool registered, cancelled;
    /* The worker's. */
    struct apply_call unregister;
    bool unregister_sent;
    unsigned expected; /* last messages that are still to come from the apply thread */
    bool gap;          /* an item was lost: an empty one follows as soon as there is room */
    enum cq_rc end;    /* answered when the stream ends */
};

/* A message to the worker. */
struct watch_message {
    struct watch *watch;
    struct rpc_payload *notice; /* NULL: the empty item */
};

static struct cq_list *bucket(struct watch_table *table, uint64_t account)
{
    return &table->buckets[cq_xxh3_64(cq_slice_of(&account, sizeof account)) % BUCKETS];
}

/* ---- The worker's side ---- */

static void send_item(struct watch *w, struct rpc_payload *notice)
{
    if (w->gap)
        return; /* the empty item that is due says it all */
    enum cq_rc rc =
        notice ? rpc_stream_try_payload(w->rpc, notice, notice->len) : rpc_stream_try(w->rpc, CQ_SLICE_NONE, NULL, 0);
    if (rc != CQ_E_AGAIN)
        return;
    w->gap = true;
    cq_metric_add(&watch_metrics, M_GAPS, 1);
}

static void on_writable(void *ctx)
{
    struct watch *w = ctx;
    if (!w->gap)
        return;
    w->gap = false;
    send_item(w, NULL);
}

static void on_message(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct watch_message *m = arg;
    send_item(m->watch, m->notice);
    rpc_payload_unref(&m->notice);
    free(m);
}

static void finish_if_last(struct watch *w)
{
    if (--w->expected > 0)
        return;
    rpc_reply_rc(w->rpc, w->end);
    free(w);
}

/* The apply thread (or, when the read failed, the Raft thread) has let go. */
static void on_removed(struct io_loop *loop, void *arg)
{
    (void)loop;
    finish_if_last(arg);
}

static void on_unregistered(struct io_loop *loop, void *arg)
{
    (void)loop;
    finish_if_last(arg);
}

/* ---- The apply thread's side ---- */

static void post(struct watch *w, struct rpc_payload *notice)
{
    struct watch_message *m = cq_new(struct watch_message);
    m->watch = w;
    m->notice = rpc_payload_ref(notice);
    io_loop_post(worker_loop(w->worker), on_message, m);
}

/* The last message about the registration. */
static void removed(struct watch *w, enum cq_rc rc)
{
    w->end = rc;
    io_loop_post(worker_loop(w->worker), on_removed, w);
}

static void take_out(struct watch_table *table, struct watch *w, enum cq_rc rc)
{
    cq_list_remove(&w->entry);
    w->registered = false;
    table->count--;
    cq_gauge_add(&watch_metrics, M_WATCHES, -1);
    removed(w, rc);
}

static void read_failed(struct raft_request *base, enum cq_rc rc, bool not_run, const struct machine_outcome *outcome)
{
    (void)not_run, (void)outcome;
    removed(cq_containerof(base, struct watch, base), rc);
}

static void register_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)machine;
    struct watch *w = cq_containerof(call, struct watch, base.call);
    struct watch_table *table = ((struct group *)apply_group_ctx(group))->watches;
    if (rc == CQ_OK && table->count >= WATCH_GROUP_MAX)
        rc = CQ_E_OVERLOADED;
    if (rc == CQ_OK && w->cancelled)
        rc = CQ_E_CANCELLED;
    if (rc == CQ_OK && !group_leads(apply_group_ctx(group)))
        rc = CQ_E_NOT_LEADER;
    if (rc != CQ_OK) {
        removed(w, rc);
        return;
    }
    cq_list_push_back(bucket(table, w->account), &w->entry);
    w->registered = true;
    table->count++;
    cq_gauge_add(&watch_metrics, M_WATCHES, 1);
    post(w, NULL);
}

static void unregister_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)machine, (void)rc;
    struct watch *w = cq_containerof(call, struct watch, unregister);
    w->cancelled = true; /* when the read that precedes the registration is still under way */
    if (w->registered)
        take_out(((struct group *)apply_group_ctx(group))->watches, w, CQ_E_CANCELLED);
    io_loop_post(worker_loop(w->worker), on_unregistered, w);
}

void watch_notify(struct group *group, uint64_t account, struct cq_slice notice)
{
    struct rpc_payload *payload = NULL;
    cq_list_each (bucket(group->watches, account), node) {
        struct watch *w = cq_list_entry(node, struct watch, entry);
        if (w->account != account)
            continue;
        if (!payload) {
            payload = rpc_payload_new(notice.len);
            memcpy(payload->data, notice.data, notice.len);
        }
        post(w, payload);
        cq_metric_add(&watch_metrics, M_NOTICES, 1);
    }
    rpc_payload_unref(&payload);
}

struct end_call {
    struct apply_call base;
    enum cq_rc rc;
};

static void end_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)machine, (void)rc;
    struct end_call *end = cq_containerof(call, struct end_call, base);
    struct watch_table *table = ((struct group *)apply_group_ctx(group))->watches;
    for (size_t b = 0; b < BUCKETS && table->count; b++)
        cq_list_each_safe (&table->buckets[b], node)
            take_out(table, cq_list_entry(node, struct watch, entry), end->rc);
    free(end);
}

void watch_end_all(struct group *group, enum cq_rc rc)
{
    struct end_call *end = cq_new(struct end_call);
    end->base.run = end_run;
    end->rc = rc;
    apply_call(group->apply, &end->base);
}

/* ---- Beginning and end ---- */

/* The caller has gone: the apply thread lets go, then the request ends. */
static void on_gone(void *ctx, enum cq_rc why)
{
    (void)why;
    struct watch *w = ctx;
    if (w->unregister_sent)
        return;
    w->unregister_sent = true;
    w->expected++;
    w->unregister.run = unregister_run;
    apply_call(w->base.group->apply, &w->unregister);
}

void watch_begin(struct worker *worker, struct rpc_request *request, struct group *group)
{
    struct watch *w = cq_new(struct watch);
    w->worker = worker;
    w->rpc = request;
    w->account = rpc_request_frame(request)->account;
    w->expected = 1;
    cq_list_init(&w->entry);
    w->base.group = group;
    w->base.done = read_failed;
    w->base.call.run = register_run;
    rpc_request_on_gone(request, on_gone, w);
    rpc_request_on_writable(request, on_writable, w);
    raft_thread_read(worker_node(worker)->raft, &w->base);
}

struct watch_table *watch_table_new(void)
{
    struct watch_table *table = cq_new(struct watch_table);
    for (size_t b = 0; b < BUCKETS; b++)
        cq_list_init(&table->buckets[b]);
    return table;
}

void watch_table_free(struct watch_table **table)
{
    if (*table)
        CQ_ASSERT((*table)->count == 0);
    free(*table);
    *table = NULL;
}
