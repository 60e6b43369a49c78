/* Watches: one stream each, through one router, opened again elsewhere when it ends. */
#include "base/cq_mem.h"
#include "mailstore/mailstore_rpc_private.h"
#include "proto/mail.pb-c.h"

#include <stdlib.h>

#define WATCH_WINDOW 4096 /* bytes of credit: a notice is small, and a slow receiver is told of a gap instead */
#define REOPEN_MIN_US UINT64_C(20000)
#define REOPEN_MAX_US UINT64_C(5000000)

struct mailstore_watch {
    struct cq_list link; /* first */
    struct mailstore_rpc *rpc;
    uint64_t account;
    void (*changed)(void *arg, struct cq_slice notice);
    void *arg;
    struct rpc_pending *stream;
    struct io_timer reopen;
    uint64_t pause_us;
};

static void watch_open(struct mailstore_watch *watch);

static void on_item(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct mailstore_watch *watch = ctx;
    watch->pause_us = REOPEN_MIN_US;
    watch->changed(watch->arg, rpc_frame_message(frame, payload)); /* may end the watch */
}

static void watch_pause(struct mailstore_watch *watch)
{
    uint64_t pause = watch->pause_us - cq_prng_below(&watch->rpc->jitter, (uint32_t)(watch->pause_us / 2));
    watch->pause_us = watch->pause_us * 2 < REOPEN_MAX_US ? watch->pause_us * 2 : REOPEN_MAX_US;
    io_timer_start_at(&watch->reopen, io_loop_now_us(watch->rpc->loop) + pause);
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct mailstore_watch *watch = ctx;
    (void)fate;
    (void)reply;
    watch->stream = NULL;
    watch_pause(watch);
}

static void on_reopen(struct io_timer *timer)
{
    watch_open(cq_containerof(timer, struct mailstore_watch, reopen));
}

/* An empty message is a Call with nothing in it, which is all that WATCH needs. */
static void watch_open(struct mailstore_watch *watch)
{
    uint64_t tried = 0;
    struct rpc_client *client = mailstore_rpc_pick(watch->rpc, &tried);
    const struct rpc_call call = {
        .method = CHASQUI__MAIL__METHOD__WATCH, .account = watch->account, .deadline_us = IO_NO_DEADLINE};
    const struct rpc_stream_config config = {
        .window = WATCH_WINDOW, .auto_credit = true, .data = on_item, .done = on_done, .ctx = watch};
    watch->stream = rpc_stream_start(client, &call, &config);
}

struct mailstore_watch *mailstore_rpc_watch(struct mailstore_transport *transport, uint64_t account,
                                            void (*changed)(void *arg, struct cq_slice notice), void *arg)
{
    struct mailstore_watch *watch = cq_new(struct mailstore_watch);
    watch->rpc = mailstore_rpc_of(transport);
    watch->account = account;
    watch->changed = changed;
    watch->arg = arg;
    watch->pause_us = REOPEN_MIN_US;
    io_timer_init(&watch->reopen, watch->rpc->loop, on_reopen);
    cq_list_init(&watch->link);
    cq_list_push_back(&watch->rpc->watches, &watch->link);
    watch_open(watch);
    return watch;
}

void mailstore_rpc_unwatch(struct mailstore_transport *transport, struct mailstore_watch *watch)
{
    (void)transport;
    rpc_call_cancel(&watch->stream);
    io_timer_stop(&watch->reopen);
    cq_list_remove(&watch->link);
    free(watch);
}
