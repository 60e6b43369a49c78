#include "mailstore/mailstore_rpc.h"

#include "base/cq_mem.h"
#include "io/io_fiber.h"
#include "mailstore/mailstore_rpc_private.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"

#include <stdlib.h>

#define PAUSE_MS 50          /* when all routers have been tried in vain */
#define SPLIT_MIN_US 1000000 /* with less time than this left, one router gets all of it */
#define ATTEMPT_MIN_US 20000 /* with less than this nobody is asked again: the answer could only come too late */
#define TOPOLOGY_TIMEOUT_MS 3000

/* ---- Routers ---- */

struct rpc_client *mailstore_rpc_pick(struct mailstore_rpc *rpc, uint64_t *tried)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t n = 0; n < rpc->router_count; n++) {
            size_t at = rpc->turn = (rpc->turn + 1) % rpc->router_count;
            if (*tried >> at & 1 || (pass == 0 && !rpc_client_up(rpc->routers[at])))
                continue;
            *tried |= UINT64_C(1) << at;
            return rpc->routers[at];
        }
    return NULL;
}

bool mailstore_rpc_up(const struct mailstore_transport *transport)
{
    const struct mailstore_rpc *rpc = (const struct mailstore_rpc *)transport;
    for (size_t i = 0; i < rpc->router_count; i++)
        if (rpc_client_up(rpc->routers[i]))
            return true;
    return false;
}

static void rpc_unref(struct mailstore_rpc *rpc)
{
    if (--rpc->refs == 0)
        free(rpc);
}

/* ---- Calls ---- */

struct call {
    struct mailstore_rpc *rpc;
    struct rpc_call rpc_call;
    struct cq_pool *pool;
    struct cq_err *err;
    bool command;
    bool maybe_done; /* a router has got it, and its answer was lost */
    uint64_t deadline_us;
    uint64_t tried; /* routers */
};

enum verdict { CALL_OVER, CALL_AGAIN };

/* Nothing came that could be passed on. */
static enum cq_rc call_give_up(const struct call *c, enum cq_rc rc)
{
    if (rc == CQ_E_CANCELLED)
        return rc;
    if (c->command && c->maybe_done)
        return CQ_FAIL(c->err, CQ_E_UNKNOWN_OUTCOME, "the answer of a command was lost");
    if (!c->err->text[0])
        return CQ_FAIL(c->err, CQ_E_UNAVAILABLE, "no router answered in time");
    c->err->rc = CQ_E_UNAVAILABLE; /* the text of the last attempt says why */
    return CQ_E_UNAVAILABLE;
}

/* An answer: is it the last word? A refusal that only speaks of this attempt is none while an earlier one may have
 * acted, and neither is STALE. */
static enum verdict judge_answer(struct call *c, const struct rpc_reply_in *reply, enum cq_rc *rc_r)
{
    bool not_run = (reply->flags & RPC_FLAG_NOT_RUN) != 0;
    *rc_r = reply->rc;
    if (reply->rc == CQ_E_UNKNOWN_OUTCOME || (reply->rc == CQ_E_TIMEOUT && !not_run))
        c->maybe_done = true;
    if (reply->rc == CQ_E_UNAVAILABLE || reply->rc == CQ_E_OVERLOADED || reply->rc == CQ_E_TIMEOUT ||
        reply->rc == CQ_E_UNKNOWN_OUTCOME) {
        c->maybe_done |= reply->rc == CQ_E_UNAVAILABLE && !not_run;
        return CALL_AGAIN;
    }
    if (c->command && c->maybe_done && (reply->rc == CQ_E_STALE || not_run))
        *rc_r = CQ_FAIL(c->err, CQ_E_UNKNOWN_OUTCOME, "an earlier attempt may have acted");
    return CALL_OVER;
}

/* One router has half of the time that is left, so that a silent one does not take all of it. */
static uint64_t attempt_deadline(const struct call *c, uint64_t now)
{
    uint64_t left = c->deadline_us - now;
    return c->rpc->router_count > 1 && left > SPLIT_MIN_US ? now + left / 2 : c->deadline_us;
}

static enum verdict call_once(struct call *c, struct rpc_client *client, struct rpc_reply_in *reply, enum cq_rc *rc_r)
{
    c->rpc_call.deadline_us = attempt_deadline(c, io_loop_now_us(c->rpc->loop));
    c->rpc_call.flags =
        (uint16_t)((c->command ? RPC_FLAG_COMMAND : 0) | (c->command && c->maybe_done ? RPC_FLAG_RESENT : 0));
    enum rpc_fate fate = rpc_call(client, &c->rpc_call, c->pool, reply, c->err);
    *rc_r = reply->rc;
    if (fate == RPC_ANSWERED)
        return judge_answer(c, reply, rc_r);
    c->maybe_done |= fate == RPC_SENT;
    return reply->rc == CQ_E_CANCELLED || reply->rc == CQ_E_TOO_BIG ? CALL_OVER : CALL_AGAIN;
}

/* Router after router until there is an answer or no time is left. */
static enum cq_rc call_run(struct call *c, struct rpc_reply_in *reply)
{
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    uint64_t needed = 0; /* by an attempt that is not the first */
    for (; !c->rpc->closed && io_loop_now_us(c->rpc->loop) + needed < c->deadline_us; needed = ATTEMPT_MIN_US) {
        struct rpc_client *client = mailstore_rpc_pick(c->rpc, &c->tried);
        if (client && call_once(c, client, reply, &rc) == CALL_OVER)
            return rc == CQ_E_CANCELLED ? call_give_up(c, rc) : rc;
        if (client)
            continue;
        c->tried = 0;
        if (io_fiber_sleep(PAUSE_MS) != CQ_OK)
            return CQ_FAIL(c->err, CQ_E_CANCELLED, "cancelled between two attempts");
    }
    *reply = (struct rpc_reply_in){0};
    return call_give_up(c, c->rpc->closed ? CQ_E_CANCELLED : rc);
}

static enum cq_rc transport_call(struct mailstore_transport *transport, const struct mailstore_call *call,
                                 struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct mailstore_rpc *rpc = mailstore_rpc_of(transport);
    struct rpc_frame frame = {0};
    struct rpc_reply_in reply = {0};
    struct cq_err own = {0};
    *answer_r = (struct mailstore_answer){0};
    cq_err_clear(err ? err : &own);
    struct rpc_payload *payload = rpc_payload_join(&frame, call->message, call->raw, call->raw_count);
    if (!payload)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "request over the frame limit");
    struct call c = {.rpc = rpc,
                     .rpc_call = {.method = (uint16_t)call->method,
                                  .account = call->account,
                                  .payload = payload,
                                  .message_len = frame.message_len},
                     .pool = pool,
                     .err = err ? err : &own,
                     .command = call->command,
                     .deadline_us = call->deadline_us};
    rpc->refs++;
    enum cq_rc rc = call_run(&c, &reply);
    answer_r->message = reply.message;
    answer_r->raw = reply.raw;
    rpc_payload_unref(&payload);
    rpc_unref(rpc);
    return rc;
}

/* ---- Topology ---- */

static enum cq_rc decode_topology(struct cq_slice message, const struct topology **topology_r, struct cq_err *err)
{
    Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, message.len, message.data);
    if (!answer)
        return CQ_FAIL(err, CQ_E_PROTO, "the router's answer does not decode");
    enum cq_rc rc = topology_decode(cq_slice_of(answer->body.data, answer->body.len), topology_r, err);
    chasqui__mail__answer__free_unpacked(answer, NULL);
    return rc;
}

enum cq_rc mailstore_rpc_topology(void *transport, const struct topology **topology_r, struct cq_err *err)
{
    struct mailstore_rpc *rpc = mailstore_rpc_of(transport);
    const struct mailstore_call call = {.method = CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY,
                                        .deadline_us = io_loop_deadline(rpc->loop, TOPOLOGY_TIMEOUT_MS)};
    struct mailstore_answer answer;
    struct cq_pool *pool = cq_pool_new(4096);
    *topology_r = NULL;
    enum cq_rc rc = transport_call(transport, &call, pool, &answer, err);
    if (rc == CQ_OK)
        rc = decode_topology(answer.message, topology_r, err);
    cq_pool_free(&pool);
    return rc;
}

/* ---- Life ---- */

enum cq_rc mailstore_rpc_new(const struct mailstore_rpc_config *config, struct mailstore_transport **transport_r,
                             struct cq_err *err)
{
    size_t count = config->routers.count;
    *transport_r = NULL;
    if (count == 0 || count > MAILSTORE_RPC_ROUTERS_MAX)
        return CQ_FAIL(err, CQ_E_CONFIG, "%zu routers are named, allowed are 1 to %d", count,
                       MAILSTORE_RPC_ROUTERS_MAX);
    struct mailstore_rpc *rpc = cq_calloc(1, sizeof *rpc + count * sizeof rpc->routers[0]);
    rpc->transport = (struct mailstore_transport){
        .call = transport_call, .watch = mailstore_rpc_watch, .unwatch = mailstore_rpc_unwatch};
    rpc->loop = config->loop;
    rpc->refs = 1;
    rpc->jitter.state = cq_rand_u64();
    rpc->turn = cq_rand_below(count); /* workers and front-ends begin with different ones */
    rpc->router_count = count;
    cq_list_init(&rpc->watches);
    for (size_t i = 0; i < count; i++)
        rpc->routers[i] = rpc_client_new(&(struct rpc_client_config){.loop = config->loop,
                                                                     .resolver = config->resolver,
                                                                     .tls = config->tls,
                                                                     .address = config->routers.items[i],
                                                                     .peer_roles = RPC_ROLE_ROUTER,
                                                                     .hello = config->hello,
                                                                     .limits = config->limits,
                                                                     .eager = true});
    *transport_r = &rpc->transport;
    return CQ_OK;
}

void mailstore_rpc_free(struct mailstore_transport **transport)
{
    if (!*transport)
        return;
    struct mailstore_rpc *rpc = mailstore_rpc_of(*transport);
    struct cq_list *node;
    *transport = NULL;
    rpc->closed = true;
    while ((node = cq_list_first(&rpc->watches)))
        mailstore_rpc_unwatch(&rpc->transport, (struct mailstore_watch *)node); /* its first member */
    for (size_t i = 0; i < rpc->router_count; i++)
        rpc_client_free(&rpc->routers[i]);
    rpc_unref(rpc);
}
