/* watch: a stream of notices, from its first item to its end. */
#include "storage_client.h"

#include "proto/mail.pb-c.h"

#define NOTICE_MS 3000

struct watching {
    unsigned items, empty;
    bool ended;
    enum cq_rc rc;
};

static void on_item(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct watching *w = ctx;
    w->items++;
    w->empty += rpc_frame_message(frame, payload).len == 0;
}

static void on_end(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct watching *w = ctx;
    (void)fate;
    w->ended = true;
    w->rc = reply->rc;
}

static bool wait_items(struct client *c, const struct watching *w, unsigned items)
{
    uint64_t until = io_loop_deadline(c->loop, NOTICE_MS);
    while (w->items < items && !w->ended && io_loop_now_us(c->loop) < until)
        io_fiber_sleep(5);
    return w->items >= items;
}

static void watch_at_leader(struct session *s, uint32_t group)
{
    struct client *c = s->client;
    struct watching w = {0};
    const struct rpc_call call = {
        .method = CHASQUI__MAIL__METHOD__WATCH, .group = group, .account = s->account.id, .deadline_us = UINT64_MAX};
    rpc_stream_start(
        c->nodes[c->leader[group]], &call,
        &(struct rpc_stream_config){.window = 65536, .auto_credit = true, .data = on_item, .done = on_end, .ctx = &w});
    if (!wait_items(c, &w, 1) || w.empty != 1)
        wrong(s, 0, "the watch did not begin with an empty item");
    append_one(s);
    if (!wait_items(c, &w, 2) || w.empty != 1)
        wrong(s, 0, "an append was not noticed");
    printf("watching\n");
    fflush(stdout);
    while (!w.ended)
        io_fiber_sleep(20);
    printf("ended: %s\n", cq_rc_name(w.rc));
}

void watch_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    uint32_t group = topology_group_of(c->topology, s->account.id);
    if (s->account.id == 1) { /* the first account; finding its INBOX has found its leader */
        if (find_inbox(s))
            watch_at_leader(s, group);
    }
    c->running--;
}
