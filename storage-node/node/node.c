/* Making and freeing the node. What its parts tell each other is in node_links.c, the run and its end in node_run.c.
 *
 * Start: data directory, writer, apply threads, Raft thread (not turning yet), the groups of the store, then the loops.
 * End: the threads in the order in which work flows: RPC workers, Raft, apply, writer; last the memory that messages
 * between them may need. */
#include "node/node.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "events/event_metrics.h"
#include "io/admin_http.h"
#include "io/io_metrics.h"
#include "node/background.h"
#include "node/mover.h"
#include "node/disk_watch.h"
#include "node/node_private.h"
#include "node/outbox_relay.h"
#include "node/reseed_sessions.h"
#include "node/reseeder.h"
#include "node/scrubber.h"
#include "node/store_mender.h"
#include "node/topology_keeper.h"
#include "node/watch.h"

#define READ_QUEUE_MAX 4096 /* jobs that wait for a thread of the read pool */
#define RESOLVE_QUEUE_MAX 1024

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
    node->mover = mover_new(node, (unsigned)c->node.moves_per_node);
    node->resolver = io_pool_new("resolve", 1, RESOLVE_QUEUE_MAX);
    node->read_pool = io_pool_new("read", (size_t)c->node.read_threads, READ_QUEUE_MAX);
    struct writer_config writer = node_links_writer(node);
    node->writer = writer_new(&writer);
    node->apply = apply_new(&(struct apply_config){.writer = node->writer,
                                                   .marks = node->marks,
                                                   .threads = (unsigned)c->node.apply_threads,
                                                   .hold_ms = APPLY_HOLD_MS,
                                                   .output = node_links_apply(node)});
    struct raft_thread_config raft = {.settings = node_raft_settings(&c->node),
                                      .store = node->dir.store,
                                      .writer = node->writer,
                                      .load_pool = node->read_pool,
                                      .groups = &node->groups};
    node_links_raft(node, &raft);
    memcpy(raft.self.uuid, node->dir.node, sizeof raft.self.uuid);
    node->raft = raft_thread_new(&raft);
    node->disk_watch = disk_watch_new(node);
    node->sessions = reseed_sessions_new(node, (unsigned)c->node.reseed_sources, c->node.reseed_time_us);
    node->reseeder = reseeder_new(&(struct reseeder_config){.node = node,
                                                            .concurrency = (unsigned)c->node.reseed_concurrency,
                                                            .rate = c->node.reseed_rate,
                                                            .retry_us = c->node.reseed_retry_us});
    node->scrubber = scrubber_new(&(struct scrubber_config){.node = node,
                                                            .verify_rate = c->node.verify_rate,
                                                            .scrub_rate = c->node.scrub_rate,
                                                            .scrub_interval_us = c->node.scrub_interval_us});
}

static enum cq_rc start_workers(struct node *node, struct cq_err *err)
{
    const struct node_config *c = node->config;
    struct io_loop *shared = c->node.workers ? NULL : raft_thread_loop(node->raft);
    enum cq_rc rc = CQ_OK;
    for (unsigned i = 0; i < node_rpc_servers(&c->node) && rc == CQ_OK; i++) {
        node->workers[i] = worker_new(&(struct worker_config){.node = node,
                                                              .number = i,
                                                              .tls = node->server_tls,
                                                              .hello = &node->hello,
                                                              .limits = c->server,
                                                              .loop = shared});
        node->worker_count++;
        rc = worker_start(node->workers[i], c->node.listen, err);
    }
    return rc;
}

static enum cq_rc start_admin(struct node *node, struct cq_err *err)
{
    node->admin = admin_http_new(&node->config->admin);
    node_checks_add(node);
    cq_metrics_before_scrape(node_metrics_set, node);
    return admin_http_start(node->admin, err);
}

static enum cq_rc start_relay(struct node *node, struct cq_err *err)
{
    const struct node_config *c = node->config;
    struct event_sink *sink;
    struct event_source source = {
        .cluster = node->dir.cluster,
        .node = node->text,
        .dc = c->node.dc,
        .role = "storage",
        .version = CHASQUI_VERSION,
    };
    enum cq_rc rc = event_config_source(&c->events, &source, err);
    if (rc == CQ_OK)
        rc = event_config_sink(&c->events, &sink, err);
    if (rc == CQ_OK)
        node->relay = outbox_relay_new(node, sink, &source);
    return rc;
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
    rc = node_links_mark(node, err);
    if (rc == CQ_OK)
        rc = apply_marks_open(node->dir.path, &node->marks, err);
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
    node_peers_start(node);
    raft_thread_start(node->raft);
    disk_watch_start(node->disk_watch);
    background_start(node->background);
    outbox_relay_start(node->relay);
    topology_keeper_start(node->keeper);
    mover_start(node->mover);
    reseeder_start(node->reseeder);
    scrubber_start(node->scrubber);
    node->mender = store_mender_start(&(struct store_mender_config){.node = node, .rate = c->node.verify_rate});
    rc = start_workers(node, err);
    return rc == CQ_OK ? start_admin(node, err) : rc;
}

enum cq_rc node_start(const struct node_config *config, struct node **node_r, struct cq_err *err)
{
    struct node *node = cq_new(struct node);
    node->config = config;
    node->dir.lock_fd = -1;
    pthread_mutex_init(&node->lock, NULL);
    health_table_init(&node->health);
    router_table_init(&node->routers);
    enum cq_rc rc = start_steps(node, err);
    if (rc != CQ_OK) {
        node_free(&node);
        return rc;
    }
    *node_r = node;
    return CQ_OK;
}

/* ---- Freeing ---- */

static void on_group_closed(void *arg)
{
    atomic_fetch_sub((_Atomic int *)arg, 1);
}

/* Machines are closed when their effects are written. */
static void close_groups(struct node *node)
{
    _Atomic int open = 0;
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_at(&node->groups, id);
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
        struct group *group = groups_at(&node->groups, id);
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
    disk_watch_stop(node->disk_watch);
    node_peers_stop(node);
    raft_thread_stop(node->raft);
    close_groups(node);
    io_pool_free(&node->read_pool);
    if (node->relay)
        outbox_relay_join(node->relay);
    writer_free(&node->writer);
    apply_free(&node->apply);
    raft_thread_free(&node->raft);
    disk_watch_free(&node->disk_watch);
    io_loop_free(&node->control);
    reseeder_free(&node->reseeder);
    scrubber_free(&node->scrubber);
    io_pool_free(&node->resolver);
    for (unsigned i = 0; i < node->worker_count; i++)
        worker_free(&node->workers[i]);
    background_free(&node->background);
    outbox_relay_free(&node->relay);
    reseed_sessions_free(&node->sessions);
    topology_keeper_free(&node->keeper);
    mover_free(&node->mover);
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
        mover_stop(node->mover);
        store_mender_stop(&node->mender);
        scrubber_stop(node->scrubber);
        reseeder_stop(node->reseeder);
        stop_threads(node);
    }
    if (node->dir.store && store_rocksdb_flush(node->dir.store, NULL) == CQ_OK)
        cq_log(CQ_INFO, "node.stopped", CQ_F_U64("boot", node->dir.boot));
    sync_mark_free(&node->mark);
    apply_marks_close(&node->marks);
    data_dir_close(&node->dir);
    io_tls_free(&node->server_tls);
    io_tls_free(&node->client_tls);
    health_table_fini(&node->health);
    router_table_fini(&node->routers);
    pthread_mutex_destroy(&node->lock);
    free(node);
    *node_p = NULL;
}

void node_metrics_register(void)
{
    cq_process_metrics_register("storage", CHASQUI_VERSION, "");
    cq_metrics_register(&node_metrics);
    cq_metrics_register(&writer_metrics);
    cq_metrics_register(&apply_metrics);
    cq_metrics_register(&raft_metrics);
    cq_metrics_register(&peers_metrics);
    cq_metrics_register(&watch_metrics);
    cq_metrics_register(&background_metrics);
    cq_metrics_register(&reseeder_metrics);
    cq_metrics_register(&scrubber_metrics);
    cq_metrics_register(&mover_metrics);
    cq_metrics_register(&disk_watch_metrics);
    cq_metrics_register(&event_metrics);
    cq_metrics_register(&outbox_relay_metrics);
    io_metrics_register();
    cq_metrics_register(&rpc_client_metrics);
    worker_metrics_register();
}
