/* Starting, running and stopping the node.
 *
 * Start: data directory, writer, apply threads, Raft thread (not turning yet), the groups of the store, then the loops.
 * Stop: nothing new (readiness, background work), leadership handed over, requests drained, then the threads in the
 * order in which work flows: RPC workers, Raft, apply, writer; last the memory that messages between them may need. */
#include "node/node.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "io/admin_http.h"
#include "io/io_watch.h"
#include "node/background.h"
#include "node/node_private.h"
#include "node/outbox_relay.h"
#include "node/topology_keeper.h"
#include "node/watch.h"

#define EXIT_WRITE_FAILED 74 /* EX_IOERR: what the process ends with when its store fails it */
#define READ_QUEUE_MAX 4096  /* jobs that wait for a thread of the read pool */
#define RESOLVE_QUEUE_MAX 1024
#define TLS_WATCH_MS 10000
#define STOP_STEP_MS 50
#define HAND_OVER_MS 2000 /* then the rest waits for an election: in a stop of all nodes nobody takes it */

/* ---- What the parts tell each other ---- */

/* A failed write: what is on the disk is not known any more, so nothing may be said or done any more. */
static void on_write_failed(void *ctx, const struct cq_err *err)
{
    (void)ctx;
    cq_log(CQ_ERROR, "store.write_failed", CQ_F_STR("action", "the process ends at once"), CQ_F_ERR(err));
    _exit(EXIT_WRITE_FAILED);
}

static struct group *group_of(struct apply_group *apply)
{
    return apply_group_ctx(apply);
}

static void on_outcome(void *ctx, uint32_t group, uint64_t cookie, const struct machine_outcome *outcome)
{
    (void)ctx, (void)group;
    raft_thread_outcome(cookie, outcome);
}

static void on_notice(void *ctx, struct apply_group *apply, uint64_t account, struct cq_slice notice)
{
    (void)ctx;
    watch_notify(group_of(apply), account, notice);
}

static void on_applied(void *ctx, struct apply_group *apply, const struct machine *machine, uint64_t index)
{
    struct node *node = ctx;
    struct group *group = group_of(apply);
    atomic_store(&group->applied, index);
    raft_thread_progress(node->raft, group);
    if (group->record.group == GROUP_SYSTEM)
        topology_keeper_look(node->keeper, machine);
}

static void on_durable(void *ctx, uint32_t id, uint64_t index)
{
    struct node *node = ctx;
    struct group *group = groups_find(&node->groups, id);
    atomic_store(&group->durable, index);
    raft_thread_progress(node->raft, group);
}

static void on_machine_failed(void *ctx, struct apply_group *apply, enum cq_rc rc)
{
    struct node *node = ctx;
    struct group *group = group_of(apply);
    cq_log(CQ_ERROR, "group.machine_failed", CQ_F_U64("group", group->record.group), CQ_F_RC(rc));
    raft_thread_drop(node->raft, group);
    watch_end_all(group, CQ_E_UNAVAILABLE);
}

static void on_send(void *ctx, const struct raft_node *to, enum raft_channel channel, const struct raft_frame *frame)
{
    struct node *node = ctx;
    if (node->peers)
        peers_send(node->peers, to, channel, frame);
}

static void on_role_changed(void *ctx, struct group *group)
{
    struct node *node = ctx;
    if (!group_leads(group))
        watch_end_all(group, CQ_E_NOT_LEADER);
    topology_keeper_leader_changed(node->keeper, group);
    background_wake(node->background);
}

static void on_trimmed(void *ctx, struct group *group)
{
    struct node *node = ctx;
    background_trimmed(node->background, group);
}

static struct node_peer *find_peer(struct node *node, const struct raft_node *peer)
{
    for (size_t i = 0; i < node->peers_up_count; i++)
        if (raft_node_eq(&node->peers_up[i].node, peer))
            return &node->peers_up[i];
    return NULL;
}

uint64_t node_peer_since(struct node *node, const uint8_t uuid[static 16])
{
    struct raft_node peer;
    memcpy(peer.uuid, uuid, sizeof peer.uuid);
    pthread_mutex_lock(&node->lock);
    const struct node_peer *found = find_peer(node, &peer);
    uint64_t since = found ? found->since_us : 0;
    pthread_mutex_unlock(&node->lock);
    return since;
}

static void on_peer_up(void *ctx, const struct raft_node *peer)
{
    struct node *node = ctx;
    pthread_mutex_lock(&node->lock);
    if (!find_peer(node, peer) && node->peers_up_count < NODE_PEERS_MAX)
        node->peers_up[node->peers_up_count++] = (struct node_peer){*peer, cq_time_mono_us()};
    pthread_mutex_unlock(&node->lock);
    raft_thread_peer_up(node->raft, peer);
}

static void on_peer_gone(void *ctx, const struct raft_node *peer, bool planned)
{
    struct node *node = ctx;
    pthread_mutex_lock(&node->lock);
    struct node_peer *found = find_peer(node, peer);
    if (found)
        *found = node->peers_up[--node->peers_up_count];
    pthread_mutex_unlock(&node->lock);
    raft_thread_peer_gone(node->raft, peer, planned);
}

/* ---- Readiness ---- */

static bool check_groups(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    struct node *node = ctx;
    struct raft_summary s;
    raft_thread_summary(node->raft, &s);
    uint32_t all = s.leading + s.following + s.leaderless + s.failed, open = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        open += groups_find(&node->groups, id) != NULL;
    if (all < open) {
        snprintf(text, ADMIN_TEXT_MAX, "opening %u replicas", open);
        return false;
    }
    if (all == 0) {
        bool waits = topology_keeper_epoch(node->keeper) == 0;
        snprintf(text, ADMIN_TEXT_MAX, waits ? "waits for cluster init" : "holds no replicas");
        return true;
    }
    snprintf(text, ADMIN_TEXT_MAX, "%u replicas: %u lead, %u follow, %u without a leader, %u failed, %u catching up",
             all, s.leading, s.following, s.leaderless, s.failed, s.not_caught_up);
    return s.leaderless == 0 && s.not_caught_up == 0;
}

static bool check_stopping(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    bool stopping = atomic_load(&((struct node *)ctx)->stopping);
    snprintf(text, ADMIN_TEXT_MAX, stopping ? "stopping" : "running");
    return !stopping;
}

static bool loop_turns(struct io_loop *loop, char text[static ADMIN_TEXT_MAX])
{
    uint64_t age_ms = io_loop_heartbeat_age_us(loop) / 1000;
    snprintf(text, ADMIN_TEXT_MAX, "last turn %llu ms ago", (unsigned long long)age_ms);
    return age_ms < 30000;
}

static bool check_raft_loop(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    return loop_turns(raft_thread_loop(((struct node *)ctx)->raft), text);
}

static bool check_worker_loop(void *ctx, char text[static ADMIN_TEXT_MAX])
{
    return loop_turns(worker_loop(ctx), text);
}

/* ---- Starting ---- */

const char *node_address(const struct node *node)
{
    const struct node_settings *s = &node->config->node;
    return s->advertise[0] ? s->advertise : s->listen;
}

static void fill_hello(struct node *node)
{
    struct raft_node self;
    memcpy(self.uuid, node->dir.node, sizeof self.uuid);
    raft_node_text(&self, node->text);
    RPC_HELLO_SET(node->hello.cluster, node->dir.cluster);
    RPC_HELLO_SET(node->hello.program, "chasqui-storage-node");
    RPC_HELLO_SET(node->hello.version, CHASQUI_VERSION);
    RPC_HELLO_SET(node->hello.address, node_address(node));
    memcpy(node->hello.node, node->dir.node, sizeof node->hello.node);
    node->hello.has_node = true;
    node->hello.boot = node->dir.boot;
}

static enum cq_rc open_tls(struct node *node, struct cq_err *err)
{
    const struct node_settings *s = &node->config->node;
    const struct io_tls_cert cert = {.cert_file = s->tls_cert, .key_file = s->tls_key};
    enum cq_rc rc = io_tls_server_new(
        &(struct io_tls_server_options){.service = "rpc", .certs = &cert, .cert_count = 1, .client_ca_file = s->tls_ca},
        &node->server_tls, err);
    if (rc == CQ_OK)
        rc = io_tls_client_new(
            &(struct io_tls_client_options){.ca_file = s->tls_ca, .cert_file = s->tls_cert, .key_file = s->tls_key},
            &node->client_tls, err);
    return rc;
}

static void make_threads(struct node *node)
{
    const struct node_config *c = node->config;
    node->control = io_loop_new(&(struct io_loop_options){.name = "control"});
    node->keeper = topology_keeper_new(node);
    node->background = background_new(node);
    node->resolver = io_pool_new("resolve", 1, RESOLVE_QUEUE_MAX);
    node->read_pool = io_pool_new("read", (size_t)c->node.read_threads, READ_QUEUE_MAX);
    node->writer = writer_new(&(struct writer_config){.store = node->dir.store, .fatal = on_write_failed, .ctx = node});
    node->apply = apply_new(&(struct apply_config){.writer = node->writer,
                                                   .threads = (unsigned)c->node.apply_threads,
                                                   .output = {.ctx = node,
                                                              .outcome = on_outcome,
                                                              .notice = on_notice,
                                                              .applied = on_applied,
                                                              .durable = on_durable,
                                                              .failed = on_machine_failed}});
    struct raft_thread_config raft = {.settings = node_raft_settings(&c->node),
                                      .store = node->dir.store,
                                      .writer = node->writer,
                                      .load_pool = node->read_pool,
                                      .groups = &node->groups,
                                      .send = on_send,
                                      .changed = on_role_changed,
                                      .trimmed = on_trimmed,
                                      .ctx = node};
    memcpy(raft.self.uuid, node->dir.node, sizeof raft.self.uuid);
    node->raft = raft_thread_new(&raft);
}

static void start_peers(struct io_loop *loop, void *arg)
{
    struct node *node = arg;
    const struct cq_strings *seeds = &node->config->node.seeds;
    node->peers = peers_new(&(struct peers_config){.loop = loop,
                                                   .resolver = node->resolver,
                                                   .tls = node->client_tls,
                                                   .hello = &node->hello,
                                                   .limits = node->config->client,
                                                   .up = on_peer_up,
                                                   .gone = on_peer_gone,
                                                   .ctx = node});
    for (size_t i = 0; i < seeds->count; i++)
        peers_add(node->peers, seeds->items[i]);
}

static void stop_peers(struct io_loop *loop, void *arg)
{
    (void)loop;
    peers_free(&((struct node *)arg)->peers);
}

struct dial {
    struct node *node;
    char *address;
};

static void on_dial(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct dial *dial = arg;
    if (dial->node->peers)
        peers_add(dial->node->peers, dial->address);
    free(dial->address);
    free(dial);
}

void node_dial(struct node *node, const char *address)
{
    struct dial *dial = cq_new(struct dial);
    dial->node = node;
    dial->address = cq_strndup(address, strlen(address));
    io_loop_post(raft_thread_loop(node->raft), on_dial, dial);
}

static enum cq_rc start_workers(struct node *node, struct cq_err *err)
{
    const struct node_config *c = node->config;
    enum cq_rc rc = CQ_OK;
    for (unsigned i = 0; i < (unsigned)c->node.workers && rc == CQ_OK; i++) {
        node->workers[i] = worker_new(&(struct worker_config){
            .node = node, .number = i, .tls = node->server_tls, .hello = &node->hello, .limits = c->server});
        node->worker_count++;
        rc = worker_start(node->workers[i], c->node.listen, err);
    }
    return rc;
}

static enum cq_rc start_admin(struct node *node, struct cq_err *err)
{
    node->admin = admin_http_new(&node->config->admin);
    admin_check_add_fn(node->admin, "groups", ADMIN_READY | ADMIN_STARTUP, check_groups, node);
    admin_check_add_fn(node->admin, "stopping", ADMIN_READY, check_stopping, node);
    admin_check_add_fn(node->admin, "raft_loop", ADMIN_LIVE, check_raft_loop, node);
    for (unsigned i = 0; i < node->worker_count; i++)
        admin_check_add_fn(node->admin, io_loop_name(worker_loop(node->workers[i])), ADMIN_LIVE, check_worker_loop,
                           node->workers[i]);
    return admin_http_start(node->admin, err);
}

static enum cq_rc start_relay(struct node *node, struct cq_err *err)
{
    const struct node_config *c = node->config;
    struct event_sink *sink = NULL;
    if (c->events.path[0]) {
        enum cq_rc rc = event_file_open(&c->events, &sink, err);
        if (rc != CQ_OK)
            return rc;
    }
    node->relay = outbox_relay_new(node, sink,
                                   &(struct event_source){.cluster = node->dir.cluster,
                                                          .node = node->text,
                                                          .dc = c->node.dc,
                                                          .version = CHASQUI_VERSION,
                                                          .type_prefix = c->node.event_prefix,
                                                          .pii = (enum event_pii)c->node.event_pii});
    return CQ_OK;
}

static void log_start(const struct node *node)
{
    cq_log(CQ_INFO, node->dir.created ? "node.created" : "node.opened", CQ_F_STR("id", node->text),
           CQ_F_STR("cluster", node->dir.cluster), CQ_F_U64("boot", node->dir.boot), CQ_F_STR("data", node->dir.path),
           CQ_F_STR("address", node_address(node)), CQ_F_STR("dc", node->config->node.dc),
           CQ_F_STR("version", CHASQUI_VERSION));
}

static enum cq_rc start_steps(struct node *node, struct cq_err *err)
{
    const struct node_config *c = node->config;
    enum cq_rc rc = open_tls(node, err);
    if (rc == CQ_OK)
        rc = data_dir_open(&node->dir, c->node.data_dir, c->node.cluster, &c->store, err);
    if (rc != CQ_OK)
        return rc;
    fill_hello(node);
    log_start(node);
    make_threads(node);
    rc = start_relay(node, err);
    if (rc == CQ_OK)
        rc = node_groups_load(node, err);
    if (rc != CQ_OK)
        return rc;
    io_loop_post(raft_thread_loop(node->raft), start_peers, node);
    raft_thread_start(node->raft);
    background_start(node->background);
    outbox_relay_start(node->relay);
    topology_keeper_start(node->keeper);
    rc = start_workers(node, err);
    return rc == CQ_OK ? start_admin(node, err) : rc;
}

enum cq_rc node_start(const struct node_config *config, struct node **node_r, struct cq_err *err)
{
    struct node *node = cq_new(struct node);
    node->config = config;
    node->dir.lock_fd = -1;
    pthread_mutex_init(&node->lock, NULL);
    enum cq_rc rc = start_steps(node, err);
    if (rc != CQ_OK) {
        node_free(&node);
        return rc;
    }
    *node_r = node;
    return CQ_OK;
}

/* ---- Stopping ---- */

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

static void on_group_closed(void *arg)
{
    atomic_fetch_sub((_Atomic int *)arg, 1);
}

/* Machines are closed when their effects are written. */
static void close_groups(struct node *node)
{
    _Atomic int open = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&node->groups, id);
        if (!group)
            continue;
        watch_end_all(group, CQ_E_UNAVAILABLE);
        atomic_fetch_add(&open, 1);
        apply_group_close(group->apply, on_group_closed, &open);
    }
    while (atomic_load(&open) > 0)
        usleep(1000);
}

static void free_groups(struct node *node)
{
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_find(&node->groups, id);
        if (!group)
            continue;
        watch_table_free(&group->watches);
        free(group);
    }
}

static void stop_threads(struct node *node)
{
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_stop(node->workers[i]);
    io_loop_post(raft_thread_loop(node->raft), stop_peers, node);
    raft_thread_stop(node->raft);
    close_groups(node);
    io_pool_free(&node->read_pool);
    if (node->relay)
        outbox_relay_join(node->relay);
    writer_free(&node->writer);
    apply_free(&node->apply);
    raft_thread_free(&node->raft);
    io_loop_free(&node->control);
    io_pool_free(&node->resolver);
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_free(&node->workers[i]);
    background_free(&node->background);
    outbox_relay_free(&node->relay);
    topology_keeper_free(&node->keeper);
    free_groups(node);
}

void node_free(struct node **node_p)
{
    struct node *node = *node_p;
    if (!node)
        return;
    atomic_store(&node->stopping, true);
    admin_http_free(&node->admin);
    if (node->control) {
        background_stop(node->background);
        if (node->relay)
            outbox_relay_stop(node->relay);
        topology_keeper_stop(node->keeper);
        stop_threads(node);
    }
    if (node->dir.store && store_rocksdb_flush(node->dir.store, NULL) == CQ_OK)
        cq_log(CQ_INFO, "node.stopped", CQ_F_U64("boot", node->dir.boot));
    data_dir_close(&node->dir);
    io_tls_free(&node->server_tls);
    io_tls_free(&node->client_tls);
    pthread_mutex_destroy(&node->lock);
    free(node);
    *node_p = NULL;
}

void node_metrics_register(void)
{
    cq_process_metrics_register("storage", CHASQUI_VERSION, "");
    cq_metrics_register(&writer_metrics);
    cq_metrics_register(&apply_metrics);
    cq_metrics_register(&raft_metrics);
    cq_metrics_register(&peers_metrics);
    cq_metrics_register(&watch_metrics);
    cq_metrics_register(&background_metrics);
    cq_metrics_register(&outbox_relay_metrics);
    cq_metrics_register(&rpc_client_metrics);
    worker_metrics_register();
}
