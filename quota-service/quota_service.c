#include "quota-service/quota_service.h"

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "proto/quota.pb-c.h"

#include <stdlib.h>

#define MESSAGE_MAX (512u << 10) /* 1,000 counts with keys of QUOTA_KEY_MAX bytes */

static struct cq_slice slice_of(const ProtobufCBinaryData *data)
{
    return cq_slice_of(data->data, data->len);
}

static void reply_message(struct rpc_request *request, const ProtobufCMessage *message)
{
    struct cq_buf out;
    cq_buf_init(&out, 256);
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *at = cq_buf_reserve(&out, len);
    if (at)
        cq_buf_commit(&out, protobuf_c_message_pack(message, at));
    const struct rpc_answer answer = {.rc = at ? CQ_OK : CQ_E_INTERNAL, .message = cq_buf_slice(&out)};
    rpc_reply(request, &answer);
    cq_buf_fini(&out);
}

static void reply_verdict(struct rpc_request *request, const struct quota_answer *answer)
{
    Chasqui__Quota__Verdict verdict = CHASQUI__QUOTA__VERDICT__INIT;
    verdict.allowed = answer->allowed;
    verdict.refused = answer->refused;
    verdict.retry_after_us = answer->retry_after_us;
    reply_message(request, &verdict.base);
}

/* ---- Rates: answered at once or when Redis has answered ---- */

struct rates_call {
    struct quota_question question;
    struct rpc_request *request;
    Chasqui__Quota__Rates *message; /* the items' keys are in it */
};

static void on_rates_done(struct quota_question *question, const struct quota_answer *answer)
{
    struct rates_call *call = cq_containerof(question, struct rates_call, question);
    if (question->op == QUOTA_RATE_CHARGE)
        rpc_reply_rc(call->request, CQ_OK);
    else
        reply_verdict(call->request, answer);
    chasqui__quota__rates__free_unpacked(call->message, NULL);
    free(call);
}

static void ask_rates(struct quota_service *service, struct rpc_request *request, Chasqui__Quota__Rates *message,
                      enum quota_rate_op op)
{
    struct rates_call *call = cq_malloc(sizeof *call);
    call->request = request;
    call->message = message;
    call->question.op = op;
    call->question.count = message->n_items;
    call->question.done = on_rates_done;
    for (size_t i = 0; i < message->n_items; i++)
        call->question.items[i] = (struct quota_rate_item){message->items[i]->kind, slice_of(&message->items[i]->key),
                                                           message->items[i]->cost};
    quota_rates_ask(service->rates, &call->question);
}

/* NULL, and the request is answered: malformed, empty, or too many. */
static Chasqui__Quota__Rates *read_rates(struct rpc_request *request)
{
    struct cq_slice bytes = rpc_request_message(request);
    Chasqui__Quota__Rates *message = chasqui__quota__rates__unpack(NULL, bytes.len, bytes.data);
    if (message && message->n_items > 0 && message->n_items <= QUOTA_RATES_MAX)
        return message;
    chasqui__quota__rates__free_unpacked(message, NULL);
    rpc_reply_rc(request, CQ_E_PROTO);
    return NULL;
}

static void on_rate_check(struct rpc_request *request, void *ctx)
{
    Chasqui__Quota__Rates *message = read_rates(request);
    if (message)
        ask_rates(ctx, request, message, message->peek ? QUOTA_RATE_PEEK : QUOTA_RATE_TAKE);
}

static void on_rate_charge(struct rpc_request *request, void *ctx)
{
    Chasqui__Quota__Rates *message = read_rates(request);
    if (message)
        ask_rates(ctx, request, message, QUOTA_RATE_CHARGE);
}

/* ---- Counts ---- */

static bool read_holder(const ProtobufCBinaryData *data, struct lease_holder_id *holder_r)
{
    if (data->len != sizeof holder_r->bytes)
        return false;
    memcpy(holder_r->bytes, data->data, data->len);
    return true;
}

/* The loop is one thread and handlers are INLINE: one array serves all requests. */
static struct quota_count_item count_items[QUOTA_COUNTS_MAX];

/* False: malformed, or too many items. */
static bool read_counts(struct rpc_request *request, Chasqui__Quota__Counts **message_r, struct quota_sender *sender_r)
{
    struct cq_slice bytes = rpc_request_message(request);
    Chasqui__Quota__Counts *message = chasqui__quota__counts__unpack(NULL, bytes.len, bytes.data);
    *message_r = message;
    if (!message || message->n_items > QUOTA_COUNTS_MAX || !read_holder(&message->holder, &sender_r->holder))
        return false;
    sender_r->number = message->number;
    sender_r->replace = message->replace;
    for (size_t i = 0; i < message->n_items; i++)
        count_items[i] = (struct quota_count_item){message->items[i]->kind, slice_of(&message->items[i]->key),
                                                   message->items[i]->count};
    return true;
}

static void on_count_begin(struct rpc_request *request, void *ctx)
{
    struct quota_service *service = ctx;
    struct quota_sender sender;
    Chasqui__Quota__Counts *message;
    if (read_counts(request, &message, &sender)) {
        struct quota_answer answer =
            quota_state_begin(service->state, &sender, count_items, message->n_items, cq_time_mono_us());
        reply_verdict(request, &answer);
    } else {
        rpc_reply_rc(request, CQ_E_PROTO);
    }
    chasqui__quota__counts__free_unpacked(message, NULL);
}

static void on_count_set(struct rpc_request *request, void *ctx)
{
    struct quota_service *service = ctx;
    struct quota_sender sender;
    Chasqui__Quota__Counts *message;
    bool ok = read_counts(request, &message, &sender);
    if (ok)
        quota_state_set(service->state, &sender, count_items, message->n_items, cq_time_mono_us());
    rpc_reply_rc(request, ok ? CQ_OK : CQ_E_PROTO);
    chasqui__quota__counts__free_unpacked(message, NULL);
}

static void on_renew(struct rpc_request *request, void *ctx)
{
    struct quota_service *service = ctx;
    struct lease_holder_id holder;
    struct cq_slice bytes = rpc_request_message(request);
    Chasqui__Quota__Renew *message = chasqui__quota__renew__unpack(NULL, bytes.len, bytes.data);
    if (message && read_holder(&message->holder, &holder)) {
        Chasqui__Quota__Renewed renewed = CHASQUI__QUOTA__RENEWED__INIT;
        renewed.known = quota_state_renew(service->state, &holder, message->number, cq_time_mono_us());
        renewed.lease_us = service->lease_us;
        reply_message(request, &renewed.base);
    } else {
        rpc_reply_rc(request, CQ_E_PROTO);
    }
    chasqui__quota__renew__free_unpacked(message, NULL);
}

/* All are quick, and none waits on the loop's stack: those that ask Redis keep their request and answer later. */
#define ASKED RPC_METHOD_READ | RPC_METHOD_INLINE
#define TOLD RPC_METHOD_ONEWAY | RPC_METHOD_INLINE

static const struct rpc_method methods[] = {
    {CHASQUI__QUOTA__METHOD__RATE_CHECK, "RATE_CHECK", RPC_ROLE_FRONTEND, ASKED, MESSAGE_MAX, 0, on_rate_check},
    {CHASQUI__QUOTA__METHOD__RATE_CHARGE, "RATE_CHARGE", RPC_ROLE_FRONTEND, TOLD, MESSAGE_MAX, 0, on_rate_charge},
    {CHASQUI__QUOTA__METHOD__COUNT_BEGIN, "COUNT_BEGIN", RPC_ROLE_FRONTEND, ASKED, MESSAGE_MAX, 0, on_count_begin},
    {CHASQUI__QUOTA__METHOD__COUNT_SET, "COUNT_SET", RPC_ROLE_FRONTEND, TOLD, MESSAGE_MAX, 0, on_count_set},
    {CHASQUI__QUOTA__METHOD__RENEW, "RENEW", RPC_ROLE_FRONTEND, ASKED, 256, 0, on_renew},
};

struct rpc_service quota_rpc_service(struct quota_service *service)
{
    return (struct rpc_service){.methods = methods, .count = sizeof methods / sizeof *methods, .ctx = service};
}
