#include "unit/node/node_rig.h"

#include "unit/cq_cmocka.h"

#include <semaphore.h>
#include <stdlib.h>

#include "base/cq_mem.h"
#include "node/background.h"
#include "node/reseeder_private.h"
#include "node/topology_keeper.h"
#include "node/watch.h"
#include "store/store_mem.h"

#define ELECTION_MS 50
#define HEARTBEAT_MS 10

struct rig {
    struct node *node;
    struct node_config config;
    void (*fn)(struct node *node);
    bool ended;
};

static void on_write_failed(void *ctx, const struct cq_err *err)
{
    (void)ctx, (void)err;
    abort();
}

static void make_raft(struct node *node)
{
    struct raft_thread_config config = {
        .store = node->dir.store, .writer = node->writer, .load_pool = node->read_pool, .groups = &node->groups};
    node_links_raft(node, &config);
    memcpy(config.self.uuid, node->dir.node, sizeof config.self.uuid);
    raft_settings_default(&config.settings);
    config.settings.election_ms = ELECTION_MS;
    config.settings.heartbeat_ms = HEARTBEAT_MS;
    node->raft = raft_thread_new(&config);
    raft_thread_start(node->raft);
}

static void node_make(struct rig *rig)
{
    struct node *node = rig->node = cq_new(struct node);
    node->config = &rig->config;
    node->dir.lock_fd = -1;
    node->dir.store = store_mem_new();
    memset(node->dir.node, 0x11, sizeof node->dir.node);
    pthread_mutex_init(&node->lock, NULL);
    health_table_init(&node->health);
    node->control = io_loop_new(NULL);
    node->keeper = topology_keeper_new(node);
    node->background = background_new(node);
    background_stop(node->background);
    node->read_pool = io_pool_new("read", 1, 16);
    node->writer = writer_new(&(struct writer_config){.store = node->dir.store, .fatal = on_write_failed});
    node->apply =
        apply_new(&(struct apply_config){.writer = node->writer, .threads = 1, .output = node_links_apply(node)});
    node->reseeder = reseeder_new(&(struct reseeder_config){.node = node, .concurrency = 1});
    make_raft(node);
}

static void on_closed(void *closed)
{
    sem_post(closed);
}

static void group_free(struct group *group)
{
    sem_t closed;
    sem_init(&closed, 0, 0);
    apply_group_close(group->apply, on_closed, &closed);
    while (sem_wait(&closed) != 0) {
    }
    sem_destroy(&closed);
}

static void node_unmake(struct node *node)
{
    raft_thread_stop(node->raft);
    for (uint32_t id = 0; id < GROUPS_MAX; id++)
        if (groups_at(&node->groups, id))
            group_free(groups_at(&node->groups, id));
    io_pool_free(&node->read_pool);
    writer_free(&node->writer);
    apply_free(&node->apply);
    raft_thread_free(&node->raft);
    io_loop_free(&node->control);
    node->reseeder->stopped = true; /* it was never started: what was wished is only looked at */
    reseeder_free(&node->reseeder);
    background_free(&node->background);
    topology_keeper_free(&node->keeper);
    for (uint32_t id = 0; id < GROUPS_MAX; id++) {
        struct group *group = groups_at(&node->groups, id);
        if (group)
            watch_table_free(&group->watches);
        free(group);
    }
    store_close(&node->dir.store);
    health_table_fini(&node->health);
    pthread_mutex_destroy(&node->lock);
    free(node);
}

static void open_replica(struct node *node)
{
    struct raft_member member = {.replica = RIG_REPLICA, .role = RAFT_MEMBER_VOTER};
    memcpy(member.node.uuid, node->dir.node, sizeof member.node.uuid);
    const struct node_group_spec spec = {.record = {.group = RIG_GROUP,
                                                    .generation = 1,
                                                    .replica = RIG_REPLICA,
                                                    .incarnation = group_first_incarnation(RIG_GROUP)},
                                         .members = &member,
                                         .member_count = 1};
    struct cq_err err = {0};
    if (node_group_open(node, &spec, &err) != CQ_OK)
        fail_msg("%s", err.text);
    while (!group_leads(node_rig_group(node)))
        assert_int_equal(io_fiber_sleep(1), CQ_OK);
}

static void run(void *arg)
{
    struct rig *rig = arg;
    open_replica(rig->node);
    rig->fn(rig->node);
    rig->ended = true;
    io_loop_stop(rig->node->control);
}

void node_rig_run(void (*fn)(struct node *node))
{
    struct rig *rig = cq_new(struct rig);
    rig->fn = fn;
    node_make(rig);
    assert_int_equal(io_fiber_spawn(rig->node->control, run, rig, NULL), CQ_OK);
    io_loop_run(rig->node->control);
    assert_true(rig->ended);
    node_unmake(rig->node);
    free(rig);
}

struct group *node_rig_group(struct node *node)
{
    return groups_find(&node->groups, RIG_GROUP);
}
