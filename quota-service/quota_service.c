#include "quota-service/quota_service.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "proto/quota.pb-c.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX (512u << 10) /* 1,000 counts with keys of QUOTA_KEY_MAX bytes */

static struct cq_slice slice_of(const ProtobufCBinaryData *data)
{
    return cq_slice_of(data->data, data->len);
}

#define ANSWER_MAX 64 /* bytes of a packed Verdict or Renewed: a few numbers */

static void reply_message(struct rpc_request *request, const ProtobufCMessage *message)
{
    uint8_t out[ANSWER_MAX];
    CQ_ASSERT(protobuf_c_message_get_packed_size(message) <= sizeof out);
    rpc_reply(request,
              &(struct rpc_answer){.rc = CQ_OK, .message = cq_slice_of(out, protobuf_c_message_pack(message, out))});
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

#define CALL_BYTES 1024     /* a message of some items is unpacked in here; a longer one in memory of its own */
#define IDLE_CALLS_MAX 4096 /* kept for later */

struct quota_call {
    struct quota_question question;
    struct quota_service *service;
    struct rpc_request *request;
    Chasqui__Quota__Rates *message; /* the items' keys are in it */
    ProtobufCAllocator allocator;
    struct quota_call *next; /* while it is idle */
    size_t used;
    _Alignas(max_align_t) uint8_t bytes[CALL_BYTES];
};

static void *call_alloc(void *data, size_t size)
{
    struct quota_call *call = data;
    size_t rounded = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (size > CALL_BYTES || rounded > CALL_BYTES - call->used)
        return cq_malloc(size);
    call->used += rounded;
    return call->bytes + call->used - rounded;
}

static void call_dealloc(void *data, void *bytes)
{
    struct quota_call *call = data;
    uintptr_t at = (uintptr_t)bytes, from = (uintptr_t)call->bytes;
    if (at < from || at >= from + CALL_BYTES)
        free(bytes);
}

static struct quota_call *call_new(struct quota_service *service, struct rpc_request *request)
{
    struct quota_call *call = service->idle;
    if (call) {
        service->idle = call->next;
        service->idle_count--;
    } else {
        call = cq_malloc(sizeof *call);
    }
    call->service = service;
    call->request = request;
    call->message = NULL;
    call->allocator = (ProtobufCAllocator){.alloc = call_alloc, .free = call_dealloc, .allocator_data = call};
    call->used = 0;
    return call;
}

static void call_free(struct quota_call *call)
{
    struct quota_service *service = call->service;
    chasqui__quota__rates__free_unpacked(call->message, &call->allocator);
    if (service->idle_count == IDLE_CALLS_MAX) {
        free(call);
        return;
    }
    call->next = service->idle;
    service->idle = call;
    service->idle_count++;
}

void quota_service_fini(struct quota_service *service)
{
    for (struct quota_call *next; service->idle; service->idle = next) {
        next = service->idle->next;
        free(service->idle);
    }
    service->idle_count = 0;
}

static void on_rates_done(struct quota_question *question, const struct quota_answer *answer)
{
    struct quota_call *call = cq_containerof(question, struct quota_call, question);
    if (question->op == QUOTA_RATE_CHARGE)
        rpc_reply_rc(call->request, CQ_OK);
    else
        reply_verdict(call->request, answer);
    call_free(call);
}

static void ask_rates(struct quota_call *call, enum quota_rate_op op)
{
    const Chasqui__Quota__Rates *message = call->message;
    call->question.op = op;
    call->question.count = message->n_items;
    call->question.done = on_rates_done;
    for (size_t i = 0; i < message->n_items; i++)
        call->question.items[i] = (struct quota_rate_item){message->items[i]->kind, slice_of(&message->items[i]->key),
                                                           message->items[i]->cost};
    quota_rates_ask(call->service->rates, &call->question);
}

/* NULL, and the request is answered: malformed, empty, or too many. */
static struct quota_call *read_rates(struct quota_service *service, struct rpc_request *request)
{
    struct cq_slice bytes = rpc_request_message(request);
    struct quota_call *call = call_new(service, request);
    call->message = chasqui__quota__rates__unpack(&call->allocator, bytes.len, bytes.data);
    if (call->message && call->message->n_items > 0 && call->message->n_items <= QUOTA_RATES_MAX)
        return call;
    call_free(call);
    rpc_reply_rc(request, CQ_E_PROTO);
    return NULL;
}

static void on_rate_check(struct rpc_request *request, void *ctx)
{
    struct quota_call *call = read_rates(ctx, request);
    if (call)
        ask_rates(call, call->message->peek ? QUOTA_RATE_PEEK : QUOTA_RATE_TAKE);
}

static void on_rate_charge(struct rpc_request *request, void *ctx)
{
    struct quota_call *call = read_rates(ctx, request);
    if (call)
        ask_rates(call, QUOTA_RATE_CHARGE);
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
