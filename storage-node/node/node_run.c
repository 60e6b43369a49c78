/* Running until somebody says stop, and stopping in good order: nothing new, leadership handed over, requests drained.
 */
#include <signal.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/admin_http.h"
#include "io/io_watch.h"
#include "node/background.h"
#include "node/mover.h"
#include "node/node_private.h"
#include "node/outbox_relay.h"
#include "node/reseeder.h"
#include "node/topology_keeper.h"

#define TLS_WATCH_MS 10000
#define STOP_STEP_MS 50
#define HAND_OVER_MS 2000 /* then the rest waits for an election: in a stop of all nodes nobody takes it */

struct stop {
    struct node *node;
    struct io_timer timer;
    uint64_t hand_over_until_us, deadline_us;
    bool draining;
};

static bool all_drained(const struct node *node)
{
    for (unsigned i = 0; i < node->worker_count; i++)
        if (!worker_drained(node->workers[i]))
            return false;
    return true;
}

static bool leads_any(struct node *node)
{
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        const struct group *group = groups_find(&node->groups, id);
        if (group && group_leads(group))
            return true;
    }
    return false;
}

/* First the leadership goes, so that nobody waits for an election; then the requests that are left may end. */
static void on_stop_step(struct io_timer *timer)
{
    struct stop *stop = cq_containerof(timer, struct stop, timer);
    struct node *node = stop->node;
    uint64_t now = io_loop_now_us(node->control);
    bool late = now >= stop->deadline_us;
    if (!stop->draining && (late || now >= stop->hand_over_until_us || !leads_any(node))) {
        stop->draining = true;
        for (unsigned i = 0; i < node->worker_count; i++)
            worker_drain(node->workers[i]);
    }
    if (stop->draining && (late || all_drained(node))) {
        io_loop_stop(node->control);
        return;
    }
    if (!stop->draining)
        raft_thread_hand_over(node->raft);
    io_timer_start(timer, STOP_STEP_MS);
}

static void begin_stop(struct stop *stop, const char *why)
{
    struct node *node = stop->node;
    if (atomic_exchange(&node->stopping, true))
        return;
    cq_log(CQ_INFO, "node.stopping", CQ_F_STR("why", why));
    background_stop(node->background);
    outbox_relay_stop(node->relay);
    topology_keeper_stop(node->keeper);
    mover_stop(node->mover);
    stop->hand_over_until_us = io_loop_deadline(node->control, HAND_OVER_MS);
    stop->deadline_us = io_loop_now_us(node->control) + node->config->node.stop_timeout_us;
    on_stop_step(&stop->timer);
}

static void on_signal(struct io_loop *loop, int signum, void *arg)
{
    (void)loop;
    begin_stop(arg, signum == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_drain_posted(struct io_loop *loop, void *arg)
{
    (void)loop;
    begin_stop(arg, "drain");
}

static void on_drain(void *ctx)
{
    struct stop *stop = ctx;
    io_loop_post(stop->node->control, on_drain_posted, stop);
}

static void on_reload(struct io_loop *loop, int signum, void *arg)
{
    (void)loop, (void)signum;
    struct node *node = arg;
    io_tls_reload(node->server_tls, true, NULL, NULL);
    io_tls_reload(node->client_tls, true, NULL, NULL);
    outbox_relay_reopen(node->relay);
}

void node_run(struct node *node)
{
    struct stop stop = {.node = node};
    io_timer_init(&stop.timer, node->control, on_stop_step);
    struct io_signal *term = io_signal_new(node->control, SIGTERM, on_signal, &stop);
    struct io_signal *interrupt = io_signal_new(node->control, SIGINT, on_signal, &stop);
    struct io_signal *hup = io_signal_new(node->control, SIGHUP, on_reload, node);
    admin_http_on_drain(node->admin, on_drain, &stop);
    io_tls_watch(node->server_tls, node->control, TLS_WATCH_MS);
    io_tls_watch(node->client_tls, node->control, TLS_WATCH_MS);
    io_loop_run(node->control);
    io_tls_unwatch(node->server_tls);
    io_tls_unwatch(node->client_tls);
    io_signal_free(&term);
    io_signal_free(&interrupt);
    io_signal_free(&hup);
    io_timer_stop(&stop.timer);
}
