/* Requests with one answer. */
#include "router/forward.h"

#include "base/cq_mem.h"
#include "router/router_methods.h"

#include <stdlib.h>

#define PAUSE_MIN_US UINT64_C(10000)  /* when all replicas have been asked in vain: first pause, */
#define PAUSE_MAX_US UINT64_C(320000) /* and the longest */
/* With less time left nobody is asked again: the answer could only come too late, and leave open what is known. */
#define ATTEMPT_MIN_US UINT64_C(20000)
/* We give up so long before the caller does, or a tenth of its time: so that it hears whether something may have
 * happened. */
#define MARGIN_MAX_US UINT64_C(100000)

/* What came of one attempt: the order of attempt_names in router_methods.c. */
enum attempt {
    ATTEMPT_ANSWERED,
    ATTEMPT_NOT_LEADER,
    ATTEMPT_WRONG_OWNER,
    ATTEMPT_REFUSED,
    ATTEMPT_NOT_SENT,
    ATTEMPT_LOST
};

struct forward {
    struct router_worker *worker;
    struct rpc_request *front;
    struct rpc_pending *pending; /* the attempt under way */
    struct io_timer pause;
    uint64_t started_us, deadline_us;
    uint64_t attempt_us; /* how long the next attempt may take */
    uint64_t pause_us;   /* the next pause */
    uint64_t replica;    /* that is being asked */
    uint32_t group;
    uint32_t tried; /* replicas, by place */
    bool command;
    bool maybe_done; /* a replica has got it, and its answer was lost */
};

static void forward_attempt(struct forward *f);

static uint64_t now_us(const struct forward *f)
{
    return io_loop_now_us(f->worker->loop);
}

/* ---- Ends ---- */

static void forward_free(struct forward *f, enum router_result result)
{
    router_count(rpc_request_frame(f->front)->method, result, now_us(f) - f->started_us);
    io_timer_stop(&f->pause);
    free(f);
}

static void forward_end(struct forward *f, enum router_result result, const struct rpc_answer *answer)
{
    struct rpc_request *front = f->front;
    forward_free(f, result);
    rpc_reply(front, answer);
}

/* No answer that could be passed on. */
static void forward_give_up(struct forward *f)
{
    if (f->maybe_done && f->command)
        forward_end(f, ROUTER_UNKNOWN_OUTCOME, &(struct rpc_answer){.rc = CQ_E_UNKNOWN_OUTCOME});
    else
        forward_end(f, ROUTER_UNAVAILABLE,
                    &(struct rpc_answer){.rc = CQ_E_UNAVAILABLE, .flags = f->maybe_done ? 0 : RPC_FLAG_NOT_RUN});
}

static void forward_pass(struct forward *f, const struct rpc_reply_in *reply)
{
    forward_end(f, ROUTER_ANSWERED,
                &(struct rpc_answer){.rc = reply->rc,
                                     .flags = reply->flags,
                                     .epoch = reply->epoch,
                                     .aux = reply->aux,
                                     .payload = reply->payload,
                                     .message_len = reply->message_len});
}

/* The caller has gone, or its deadline has passed. */
static void on_gone(void *ctx, enum cq_rc why)
{
    struct forward *f = ctx;
    f->maybe_done |= rpc_call_cancel(&f->pending);
    if (why == CQ_E_TIMEOUT)
        forward_give_up(f);
    else
        forward_end(f, ROUTER_GONE, &(struct rpc_answer){.rc = why});
}

/* ---- Again ---- */

static void on_pause_over(struct io_timer *timer)
{
    struct forward *f = cq_containerof(timer, struct forward, pause);
    f->tried = 0;
    forward_attempt(f);
}

/* Everybody has been asked: an election, a new map or a restart needs a moment. */
static void forward_pause(struct forward *f)
{
    uint64_t pause = f->pause_us - cq_prng_below(&f->worker->jitter, (uint32_t)(f->pause_us / 2));
    f->pause_us = f->pause_us * 2 < PAUSE_MAX_US ? f->pause_us * 2 : PAUSE_MAX_US;
    if (now_us(f) + pause + ATTEMPT_MIN_US >= f->deadline_us)
        forward_give_up(f);
    else
        io_timer_start_at(&f->pause, now_us(f) + pause);
}

/* ---- What came of an attempt ---- */

/* Its answer was lost, or it is an answer about this attempt only while an earlier one may have acted. */
static bool outcome_is_open(const struct forward *f, const struct rpc_reply_in *reply)
{
    return f->command && f->maybe_done && (reply->rc == CQ_E_STALE || reply->flags & RPC_FLAG_NOT_RUN);
}

/* May another replica, or this one a moment later, do better? */
static enum attempt judge_answer(const struct forward *f, const struct rpc_reply_in *reply)
{
    switch (reply->rc) {
    case CQ_E_NOT_LEADER:
        return ATTEMPT_NOT_LEADER;
    case CQ_E_WRONG_OWNER:
        return ATTEMPT_WRONG_OWNER;
    case CQ_E_UNAVAILABLE:
    case CQ_E_OVERLOADED:
    case CQ_E_CANCELLED: /* by the node's own end: we did not cancel it */
        return reply->flags & RPC_FLAG_NOT_RUN || !f->command ? ATTEMPT_REFUSED : ATTEMPT_LOST;
    case CQ_E_UNKNOWN_OUTCOME: /* the request id makes asking again safe, and the answer true */
        return ATTEMPT_LOST;
    case CQ_E_TIMEOUT:
        return reply->flags & RPC_FLAG_NOT_RUN ? ATTEMPT_REFUSED : ATTEMPT_LOST;
    default:
        return ATTEMPT_ANSWERED;
    }
}

static enum attempt judge(const struct forward *f, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    static const enum attempt lost[] = {[RPC_NOT_SENT] = ATTEMPT_NOT_SENT, [RPC_SENT] = ATTEMPT_LOST};
    return fate == RPC_ANSWERED ? judge_answer(f, reply) : lost[fate];
}

/* What is learnt about the way. */
static void learn(struct forward *f, enum attempt attempt, const struct rpc_reply_in *reply)
{
    struct router_worker *worker = f->worker;
    cq_metric_add(&router_metrics, ROUTER_M_ATTEMPTS, 1, (unsigned)attempt);
    if (attempt == ATTEMPT_NOT_LEADER)
        routes_not_leader(worker->routes, f->group, f->replica, reply->aux);
    else if (attempt == ATTEMPT_NOT_SENT || attempt == ATTEMPT_LOST)
        routes_not_leader(worker->routes, f->group, f->replica, 0);
    if (attempt != ATTEMPT_WRONG_OWNER)
        return;
    cq_metric_add(&router_metrics, ROUTER_M_MISROUTES, 1);
    if (reply->epoch > routes_epoch(worker->routes))
        topology_watch_hurry(worker->watch);
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct forward *f = ctx;
    enum attempt attempt = judge(f, fate, reply);
    f->pending = NULL;
    learn(f, attempt, reply);
    f->maybe_done |= attempt == ATTEMPT_LOST;
    if (attempt == ATTEMPT_ANSWERED && outcome_is_open(f, reply))
        forward_give_up(f);
    else if (attempt == ATTEMPT_ANSWERED)
        forward_pass(f, reply);
    else
        forward_attempt(f);
}

/* ---- An attempt ---- */

static void forward_send(struct forward *f, const struct topology_replica *replica, struct rpc_client *client)
{
    const struct rpc_frame *frame = rpc_request_frame(f->front);
    uint64_t attempt_end = now_us(f) + f->attempt_us;
    const struct rpc_call call = {
        .method = frame->method,
        .flags = (uint16_t)(frame->flags | (f->maybe_done ? RPC_FLAG_RESENT : 0)),
        .group = f->group,
        .account = frame->account,
        .epoch = routes_epoch(f->worker->routes),
        .deadline_us = attempt_end < f->deadline_us ? attempt_end : f->deadline_us,
        .payload = rpc_request_payload_peek(f->front),
        .message_len = frame->message_len,
    };
    f->attempt_us *= 2;
    f->replica = replica->id;
    f->pending = rpc_call_start(client, &call, on_done, f);
}

/* The next replica whose node is not silent; then it, or a pause, goes on. */
static void forward_attempt(struct forward *f)
{
    struct router_worker *worker = f->worker;
    const struct rpc_frame *frame = rpc_request_frame(f->front);
    const struct topology *t = routes_topology(worker->routes);
    enum routes_want want = router_method_is_local(frame->method) ? ROUTES_NEAREST : ROUTES_LEADER;
    const struct topology_replica *replica;
    struct rpc_client *client = NULL;
    if (f->replica && now_us(f) + ATTEMPT_MIN_US >= f->deadline_us) {
        forward_give_up(f);
        return;
    }
    uint32_t group = t ? topology_group_of(t, frame->account) : 0;
    f->tried = group == f->group ? f->tried : 0;
    f->group = group;
    while (f->group && !client && (replica = routes_pick(worker->routes, f->group, want, &f->tried)))
        client = backends_find(worker->backends, t->nodes[replica->node].uuid);
    if (client)
        forward_send(f, replica, client);
    else
        forward_pause(f);
}

static uint64_t forward_deadline(uint64_t asked_us, uint64_t now, uint64_t default_us)
{
    if (asked_us == IO_NO_DEADLINE)
        return now + default_us;
    uint64_t margin = (asked_us - now) / 10;
    return asked_us - (margin < MARGIN_MAX_US ? margin : MARGIN_MAX_US);
}

void forward_start(struct router_worker *worker, struct rpc_request *request)
{
    const struct router_settings *settings = &worker->shared->config->router;
    struct forward *f = cq_new(struct forward);
    f->worker = worker;
    f->front = request;
    f->started_us = io_loop_now_us(worker->loop);
    f->deadline_us = forward_deadline(rpc_request_deadline_us(request), f->started_us, settings->deadline_us);
    f->attempt_us = settings->attempt_us;
    f->pause_us = PAUSE_MIN_US;
    f->command = (rpc_request_frame(request)->flags & RPC_FLAG_COMMAND) != 0;
    io_timer_init(&f->pause, worker->loop, on_pause_over);
    rpc_request_on_gone(request, on_gone, f);
    forward_attempt(f);
}
