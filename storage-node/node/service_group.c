#include "node/service_group.h"

#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/call_entry.h"
#include "node/disk_watch.h"
#include "node/node.h"
#include "node/reseeder.h"
#include "node/scrubber.h"
#include "node/space.h"
#include "node/topology_keeper.h"
#include "node/watch.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "state/mail_machine.h"

#define MESSAGE_MAX (1u << 20)        /* bytes of an encoded Call */
#define RAW_MAX ENTRY_CHUNK_BYTES_MAX /* bytes that follow a command */
#define ANSWER_MAX (4u << 20)         /* bytes of an encoded Answer */
/* Bytes that follow it: a batch of CHANGES and one COPY of STATE_COPY_MAX messages more, whose modseq is one. */
#define ANSWER_RAW_MAX (10u << 20)
#define SCRATCH_POOL (16u << 10)

/* One request on its way through the threads. */
struct shard_request {
    struct raft_request base;
    struct worker *worker;
    struct rpc_request *rpc; /* the worker's loop alone */
    uint32_t method;
    uint64_t account;
    uint64_t deadline_us;
    struct rpc_payload *payload; /* what came, for a read */
    struct cq_slice message;     /* in it */
    bool local;                  /* a body, from this replica's state as it is: nobody was asked whether we lead */
    _Atomic bool gone;           /* nobody waits any more */

    /* The answer, on its way back. */
    enum cq_rc rc;
    bool not_run;
    struct rpc_payload *answer;
    uint32_t answer_len;

    /* A body's chunks, between the apply thread and the read pool. */
    struct cq_pool *pool;
    struct cq_buf head; /* encoded Answer */
    struct body_piece *pieces;
    size_t piece_count;
    struct reseeder_fetch fetch; /* what does not read, from another replica; once */
    bool fetched;
};

/* ---- Back to the worker ---- */

static void request_free(struct shard_request *r)
{
    raft_request_fini(&r->base);
    rpc_payload_unref(&r->payload);
    rpc_payload_unref(&r->answer);
    cq_pool_free(&r->pool);
    cq_buf_fini(&r->head);
    free(r);
}

static void on_answer(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct shard_request *r = arg;
    struct rpc_answer answer = {
        .rc = r->rc, .flags = r->not_run ? RPC_FLAG_NOT_RUN : 0, .payload = r->answer, .message_len = r->answer_len};
    if (r->rc == CQ_E_NOT_LEADER)
        answer.aux = atomic_load(&r->base.group->leader);
    if (r->rc == CQ_E_WRONG_OWNER)
        answer.epoch = topology_keeper_epoch(worker_node(r->worker)->keeper);
    rpc_reply(r->rpc, &answer);
    request_free(r);
}

/* Any thread; the request is the worker's again. */
static void answer(struct shard_request *r, enum cq_rc rc, bool not_run, struct cq_slice message, struct cq_slice raw)
{
    struct rpc_frame frame = {0};
    r->rc = rc;
    r->not_run = not_run;
    if (message.len || raw.len) {
        r->answer = rpc_payload_join(&frame, message, &raw, 1);
        r->answer_len = frame.message_len;
        if (!r->answer)
            r->rc = CQ_E_TOO_BIG;
    }
    io_loop_post(worker_loop(r->worker), on_answer, r);
}

/* The same with a payload that was begun in `payload`: its first message_len octets are the message. */
static void answer_in(struct shard_request *r, struct cq_buf *payload, size_t message_len)
{
    r->answer = rpc_payload_end(payload);
    r->answer_len = (uint32_t)message_len;
    r->rc = r->answer ? CQ_OK : CQ_E_TOO_BIG;
    io_loop_post(worker_loop(r->worker), on_answer, r);
}

static void answer_rc(struct shard_request *r, enum cq_rc rc, bool not_run)
{
    answer(r, rc, not_run, CQ_SLICE_NONE, CQ_SLICE_NONE);
}

/* ---- Commands ---- */

static void command_done(struct raft_request *base, enum cq_rc rc, bool not_run, const struct machine_outcome *outcome)
{
    struct shard_request *r = cq_containerof(base, struct shard_request, base);
    if (outcome)
        group_saw_time(base->group, outcome->entry_time);
    answer(r, rc, not_run, outcome ? outcome->answer : CQ_SLICE_NONE, CQ_SLICE_NONE);
}

/* ---- Reads ---- */

/* What the store gave is not what was written: this replica is copied again from another one, alone. */
static void note_damage(const struct shard_request *r, enum cq_rc rc)
{
    if (rc != CQ_E_CORRUPT)
        return;
    corruption_detected(CORRUPT_READ);
    reseeder_distrust(worker_node(r->worker)->reseeder, r->base.group, SUSPECT_PARTS);
}

static void read_failed(struct raft_request *base, enum cq_rc rc, bool not_run, const struct machine_outcome *outcome)
{
    (void)outcome;
    answer_rc(cq_containerof(base, struct shard_request, base), rc, not_run);
}

static bool nobody_waits(const struct shard_request *r)
{
    return atomic_load_explicit(&r->gone, memory_order_relaxed) || cq_time_mono_us() >= r->deadline_us;
}

static void read_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct shard_request *r = cq_containerof(call, struct shard_request, base.call);
    if (rc == CQ_OK && nobody_waits(r))
        rc = CQ_E_TIMEOUT;
    if (rc != CQ_OK) {
        answer_rc(r, rc, false);
        return;
    }
    const struct machine_read read = {.method = r->method, .account = r->account, .message = r->message};
    struct cq_err err = {0};
    struct cq_buf head, raw;
    struct cq_pool *pool = cq_pool_new(SCRATCH_POOL);
    cq_buf_init(&head, ANSWER_MAX);
    cq_buf_init(&raw, ANSWER_RAW_MAX);
    rc = machine->ops->read(machine, &read, pool, &head, &raw, &err);
    if (rc == CQ_E_CORRUPT || rc == CQ_E_IO)
        cq_log(CQ_ERROR, "read.failed", CQ_F_U64("group", apply_group_id(group)), CQ_F_ACCOUNT(r->account),
               CQ_F_U64("method", r->method), CQ_F_ERR(&err));
    note_damage(r, rc);
    answer(r, rc, false, cq_buf_slice(&head), rc == CQ_OK ? cq_buf_slice(&raw) : CQ_SLICE_NONE);
    cq_buf_fini(&head);
    cq_buf_fini(&raw);
    cq_pool_free(&pool);
}

/* ---- Bodies ---- */

static void log_body_failed(const struct shard_request *r, const struct cq_err *err)
{
    note_damage(r, err->rc);
    cq_log(CQ_ERROR, "body.read_failed", CQ_F_U64("group", r->base.group->record.group), CQ_F_ACCOUNT(r->account),
           CQ_F_ERR(err));
}

static void body_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc);

/* On the worker's loop: once more, after the other replicas have confirmed that this one leads and what is committed.
 */
static void on_body_confirm(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct shard_request *r = arg;
    r->local = false;
    r->base.call.run = body_run;
    r->pieces = NULL;
    r->piece_count = 0;
    cq_pool_free(&r->pool);
    cq_buf_reset(&r->head, SIZE_MAX);
    raft_thread_read(worker_node(r->worker)->raft, &r->base);
}

/* On the re-seeding loop. */
static void on_fetched(struct reseeder_fetch *fetch, enum cq_rc rc);

static void fetch_body(struct shard_request *r)
{
    r->fetched = true;
    r->fetch = (struct reseeder_fetch){
        .group = r->base.group, .pieces = r->pieces, .count = r->piece_count, .done = on_fetched};
    reseeder_fetch(worker_node(r->worker)->reseeder, &r->fetch);
}

/* Any thread. What this replica's own state refuses, or cannot give, the leader may know better; a leader with too much
 * to do is not given more. */
static void body_refused(struct shard_request *r, enum cq_rc rc)
{
    bool leads = group_leads(r->base.group);
    if (r->local && leads && rc != CQ_E_OVERLOADED)
        io_loop_post(worker_loop(r->worker), on_body_confirm, r);
    else if (rc == CQ_E_CORRUPT && !r->local && !r->fetched && r->piece_count)
        fetch_body(r);
    else
        answer(r, r->local && !leads ? CQ_E_NOT_LEADER : rc, false, cq_buf_slice(&r->head), CQ_SLICE_NONE);
}

/* On the apply thread again: was the message expunged and swept meanwhile, or has the store lost a chunk? */
static void body_missing_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct shard_request *r = cq_containerof(call, struct shard_request, base.call);
    struct cq_err err = {0};
    if (rc == CQ_OK) {
        const struct machine_read read = {.method = r->method, .account = r->account, .message = r->message};
        rc = mail_machine_body_missing(machine, &read, &err);
    }
    if (rc == CQ_E_CORRUPT || rc == CQ_E_IO)
        log_body_failed(r, &err);
    body_refused(r, rc);
}

/* On the worker's loop, like every first step of a request: while it runs, the groups are open. */
static void on_body_missing(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct shard_request *r = arg;
    r->base.call.run = body_missing_run;
    apply_call(r->base.group->apply, &r->base.call);
}

static size_t pieces_length(const struct shard_request *r)
{
    size_t length = 0;
    for (size_t i = 0; i < r->piece_count; i++)
        length += r->pieces[i].take;
    return length;
}

/* On a thread of the read pool. */
static void body_read(void *arg)
{
    struct shard_request *r = arg;
    struct node *node = worker_node(r->worker);
    struct cq_err err = {0};
    struct cq_buf payload;
    if (nobody_waits(r)) {
        answer_rc(r, CQ_E_TIMEOUT, false);
        return;
    }
    cq_buf_init(&payload, RPC_PAYLOAD_BUF_EXTRA + r->head.len + pieces_length(r));
    rpc_payload_begin(&payload);
    cq_buf_slice_add(&payload, cq_buf_slice(&r->head));
    enum cq_rc rc = body_pieces_read(node->dir.store, r->pieces, r->piece_count, &payload, &err);
    if (rc == CQ_OK) {
        answer_in(r, &payload, r->head.len);
    } else if (rc == CQ_E_NOT_FOUND) {
        io_loop_post(worker_loop(r->worker), on_body_missing, r);
    } else {
        log_body_failed(r, &err);
        body_refused(r, rc);
    }
    cq_buf_fini(&payload);
}

static void on_fetched(struct reseeder_fetch *fetch, enum cq_rc rc)
{
    struct shard_request *r = cq_containerof(fetch, struct shard_request, fetch);
    if (rc == CQ_OK)
        rc = io_pool_submit(worker_node(r->worker)->read_pool, body_read, r);
    else
        rc = CQ_E_CORRUPT;
    if (rc != CQ_OK)
        body_refused(r, rc);
}

static void body_run(struct apply_call *call, struct apply_group *group, struct machine *machine, enum cq_rc rc)
{
    (void)group;
    struct shard_request *r = cq_containerof(call, struct shard_request, base.call);
    if (rc != CQ_OK) {
        answer_rc(r, rc, false);
        return;
    }
    const struct machine_read read = {.method = r->method, .account = r->account, .message = r->message};
    struct cq_err err = {0};
    r->pool = cq_pool_new(SCRATCH_POOL);
    rc = mail_machine_body(machine, &read, r->pool, &r->head, &r->pieces, &r->piece_count, &err);
    if (rc == CQ_OK && r->piece_count)
        rc = io_pool_submit(worker_node(r->worker)->read_pool, body_read, r);
    else if (rc == CQ_OK) {
        answer(r, rc, false, cq_buf_slice(&r->head), CQ_SLICE_NONE);
        return;
    }
    if (rc != CQ_OK)
        body_refused(r, rc);
}

/* ---- Arriving ---- */

static void on_gone(void *ctx, enum cq_rc why)
{
    (void)why;
    struct shard_request *r = ctx;
    atomic_store_explicit(&r->gone, true, memory_order_relaxed);
}

/* Refused before anything was done. */
static void refuse(struct rpc_request *rpc, struct worker *worker, const struct group *group, enum cq_rc rc)
{
    struct rpc_answer answer = {.rc = rc, .flags = RPC_FLAG_NOT_RUN};
    if (rc == CQ_E_NOT_LEADER && group)
        answer.aux = atomic_load(&group->leader);
    if (rc == CQ_E_WRONG_OWNER)
        answer.epoch = topology_keeper_epoch(worker_node(worker)->keeper);
    rpc_reply(rpc, &answer);
}

/* The group that is meant, or NULL after a refusal. A mail request to group 0 or the other way round has lost its way.
 */
static struct group *find_group(struct rpc_request *rpc, struct worker *worker, bool system, bool must_lead)
{
    uint32_t id = rpc_request_frame(rpc)->group;
    struct group *group = (id == GROUP_SYSTEM) == system ? groups_find(&worker_node(worker)->groups, id) : NULL;
    enum cq_rc rc = !group                             ? (system ? CQ_E_NOT_LEADER : CQ_E_WRONG_OWNER)
                    : atomic_load(&group->failed)      ? CQ_E_UNAVAILABLE
                    : must_lead && !group_leads(group) ? CQ_E_NOT_LEADER
                                                       : CQ_OK;
    if (rc == CQ_OK)
        return group;
    refuse(rpc, worker, group, rc);
    return NULL;
}

static struct shard_request *request_new(struct rpc_request *rpc, struct worker *worker, struct group *group)
{
    const struct rpc_frame *frame = rpc_request_frame(rpc);
    struct shard_request *r = cq_new(struct shard_request);
    r->base.group = group;
    r->worker = worker;
    r->rpc = rpc;
    r->method = frame->method;
    r->account = frame->account;
    r->deadline_us = rpc_request_deadline_us(rpc);
    cq_buf_init(&r->head, ANSWER_MAX);
    rpc_request_on_gone(rpc, on_gone, r);
    return r;
}

/* The body of a Call, for those few methods where it says whether space is needed. */
static bool space_allows_call(enum space_level level, struct rpc_request *rpc)
{
    if (level == SPACE_FREE)
        return true;
    struct cq_pool *pool = cq_pool_new(SCRATCH_POOL);
    struct cq_slice body = CQ_SLICE_NONE;
    struct cq_err err = {0};
    bool allowed = call_body(rpc_request_message(rpc), pool, &body, &err) != CQ_OK ||
                   space_allows(level, rpc_request_frame(rpc)->method, body);
    cq_pool_free(&pool);
    return allowed;
}

/* CQ_E_UNAVAILABLE: this node has no space, one that has takes the leadership now; the request is worth another try. */
static enum cq_rc judge_space(const struct group *group, struct rpc_request *rpc)
{
    enum space_level level = (enum space_level)atomic_load_explicit(&group->space, memory_order_relaxed);
    enum space_level passing = (enum space_level)atomic_load_explicit(&group->space_passing, memory_order_relaxed);
    if (!space_allows_call(level, rpc)) {
        disk_watch_refused(level);
        return CQ_E_NO_SPACE;
    }
    return space_allows_call(passing, rpc) ? CQ_OK : CQ_E_UNAVAILABLE;
}

static void command(struct rpc_request *rpc, struct worker *worker, bool system)
{
    struct group *group = find_group(rpc, worker, system, true);
    if (!group)
        return;
    enum cq_rc space = system ? CQ_OK : judge_space(group, rpc);
    if (space != CQ_OK) {
        refuse(rpc, worker, group, space);
        return;
    }
    struct shard_request *r = request_new(rpc, worker, group);
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(SCRATCH_POOL);
    const struct call_entry call = {.method = r->method,
                                    .account = r->account,
                                    .time = group_entry_time(group, cq_time_wall_us()),
                                    .version = group_command_version(group),
                                    .message = rpc_request_message(rpc),
                                    .raw = rpc_request_raw(rpc)};
    enum cq_rc rc = call_entry_build(&call, system, pool, &r->base, &err);
    cq_pool_free(&pool);
    if (rc != CQ_OK) {
        cq_log_limited(1, CQ_WARN, "command.refused", CQ_F_U64("method", r->method), CQ_F_ACCOUNT(r->account),
                       CQ_F_ERR(&err));
        answer_rc(r, rc, true);
        return;
    }
    r->base.done = command_done;
    raft_thread_propose(worker_node(worker)->raft, &r->base);
}

static void on_command(struct rpc_request *rpc, void *ctx)
{
    command(rpc, ctx, false);
}

static void on_system_command(struct rpc_request *rpc, void *ctx)
{
    command(rpc, ctx, true);
}

static struct shard_request *read_new(struct rpc_request *rpc, struct worker *worker, struct group *group)
{
    struct shard_request *r = request_new(rpc, worker, group);
    r->payload = rpc_payload_ref(rpc_request_payload_peek(rpc));
    r->message = rpc_request_message(rpc);
    r->base.done = read_failed;
    return r;
}

static void read(struct rpc_request *rpc, struct worker *worker, bool system)
{
    struct group *group = find_group(rpc, worker, system, true);
    if (!group)
        return;
    struct shard_request *r = read_new(rpc, worker, group);
    r->base.call.run = read_run;
    raft_thread_read(worker_node(worker)->raft, &r->base);
}

static void on_read(struct rpc_request *rpc, void *ctx)
{
    read(rpc, ctx, false);
}

static void on_system_read(struct rpc_request *rpc, void *ctx)
{
    read(rpc, ctx, true);
}

/* Bodies never change: any replica that has seen what the session has seen may serve them, and a leader need not ask
 * whether it still leads. */
static void on_read_body(struct rpc_request *rpc, void *ctx)
{
    struct worker *worker = ctx;
    struct group *group = find_group(rpc, worker, false, false);
    if (!group)
        return;
    bool distrusted = atomic_load(&group->distrust);
    if (distrusted && !group_leads(group)) {
        refuse(rpc, worker, group, CQ_E_NOT_LEADER);
        return;
    }
    struct shard_request *r = read_new(rpc, worker, group);
    r->base.call.run = body_run;
    r->local = !distrusted;
    if (r->local)
        apply_call(group->apply, &r->base.call);
    else
        raft_thread_read(worker_node(worker)->raft, &r->base);
}

static void on_watch(struct rpc_request *rpc, void *ctx)
{
    struct group *group = find_group(rpc, ctx, false, true);
    if (group)
        watch_begin(ctx, rpc, group);
}

/* ---- The table ---- */

#define MAIL_ROLES (RPC_ROLE_ROUTER | RPC_ROLE_ADMIN)
#define SYSTEM_ROLES (RPC_ROLE_ADMIN | RPC_ROLE_STORAGE)
#define SYSTEM_READ_ROLES (RPC_ROLE_ADMIN | RPC_ROLE_STORAGE | RPC_ROLE_ROUTER | RPC_ROLE_OPERATOR)

#define MAIL(name, kind, raw, handler)                                                                                 \
    {                                                                                                                  \
        CHASQUI__MAIL__METHOD__##name, #name, MAIL_ROLES, (kind) | RPC_METHOD_INLINE, MESSAGE_MAX, (raw), handler      \
    }
#define COMMAND(name, raw) MAIL(name, RPC_METHOD_COMMAND, raw, on_command)
#define READ(name) MAIL(name, RPC_METHOD_READ, 0, on_read)
#define SYSTEM(name, kind, roles, handler)                                                                             \
    {                                                                                                                  \
        CHASQUI__SYSTEM__METHOD__##name, #name, roles, (kind) | RPC_METHOD_INLINE, MESSAGE_MAX, 0, handler             \
    }

static const struct rpc_method methods[] = {
    COMMAND(CREATE_ACCOUNT, 0),
    COMMAND(DELETE_ACCOUNT, 0),
    COMMAND(SET_LIMITS, 0),
    COMMAND(CREATE_MAILBOX, 0),
    COMMAND(DELETE_MAILBOX, 0),
    COMMAND(RENAME_MAILBOX, 0),
    COMMAND(SET_SUBSCRIBED, 0),
    COMMAND(APPEND, RAW_MAX),
    COMMAND(DELIVER, RAW_MAX),
    COMMAND(STAGE, RAW_MAX),
    COMMAND(STORE, 0),
    COMMAND(COPY, 0),
    COMMAND(MOVE, 0),
    COMMAND(EXPUNGE, 0),
    COMMAND(CLAIM_RECENT, 0),
    COMMAND(CHARGE_SENDING, 0),
    COMMAND(KEEP_DELIVERY_KEY, 0),
    READ(GET_ACCOUNT),
    READ(LIST_MAILBOXES),
    READ(OPEN_MAILBOX),
    READ(FETCH),
    READ(CHANGES),
    MAIL(READ_BODY, RPC_METHOD_READ, 0, on_read_body),
    MAIL(WATCH, RPC_METHOD_READ | RPC_METHOD_STREAM, 0, on_watch),
    SYSTEM(INIT_CLUSTER, RPC_METHOD_COMMAND, RPC_ROLE_STORAGE, on_system_command),
    SYSTEM(REGISTER_NODE, RPC_METHOD_COMMAND, RPC_ROLE_STORAGE, on_system_command),
    SYSTEM(SET_LABELS, RPC_METHOD_COMMAND, SYSTEM_ROLES, on_system_command),
    SYSTEM(SET_NODE_STATE, RPC_METHOD_COMMAND, SYSTEM_ROLES, on_system_command),
    SYSTEM(SET_SHARD_MAP, RPC_METHOD_COMMAND, SYSTEM_ROLES, on_system_command),
    SYSTEM(SET_SHARD, RPC_METHOD_COMMAND, SYSTEM_ROLES, on_system_command),
    SYSTEM(ALLOCATE_REPLICAS, RPC_METHOD_COMMAND, SYSTEM_ROLES, on_system_command),
    SYSTEM(PREFER_LEADER, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(JOIN_NODE, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(DRAIN_NODE, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(DECOMMISSION_NODE, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(MOVE_SHARD, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(CANCEL_MOVES, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(STEP_MOVE, RPC_METHOD_COMMAND, RPC_ROLE_STORAGE, on_system_command),
    SYSTEM(FINALIZE_VERSION, RPC_METHOD_COMMAND, SYSTEM_ROLES | RPC_ROLE_OPERATOR, on_system_command),
    SYSTEM(GET_TOPOLOGY, RPC_METHOD_READ, SYSTEM_READ_ROLES, on_system_read),
};

struct rpc_service service_group(struct worker *worker)
{
    return (struct rpc_service){methods, sizeof methods / sizeof *methods, worker};
}
