/* What the parts tell each other: the callbacks of writer, apply threads, Raft thread and peers, in one place. */
#include <stdlib.h>
#include <unistd.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/background.h"
#include "node/node_private.h"
#include "node/reseeder.h"
#include "node/scrubber.h"
#include "node/topology_keeper.h"
#include "node/watch.h"
#include "state/command_version.h"

#define EXIT_WRITE_FAILED 74 /* EX_IOERR: what the process ends with when its store fails it */

/* A failed write: what is on the disk is not known any more, so nothing may be said or done any more. */
static void on_write_failed(void *ctx, const struct cq_err *err)
{
    const struct node *node = ctx;
    if (strstr(err->text, "Corruption")) /* RocksDB's word: its own work has met something that does not read */
        data_dir_note_damage(&node->dir, err->text, NULL);
    apply_marks_forgive(node->marks);
    cq_log(CQ_ERROR, "store.write_failed", CQ_F_STR("action", "the process ends at once"), CQ_F_ERR(err));
    _exit(EXIT_WRITE_FAILED);
}

static void on_synced(void *ctx)
{
    struct node *node = ctx;
    sync_mark_synced(node->mark, store_rocksdb_sequence(node->dir.store));
}

enum cq_rc node_links_mark(struct node *node, struct cq_err *err)
{
    char path[DATA_DIR_FILE_SIZE];
    data_dir_file(&node->dir, "synced", path);
    return sync_mark_open(&(struct sync_mark_config){.path = path, .fatal = on_write_failed, .ctx = node}, &node->mark,
                          err);
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
    node_group_note_version(group, machine);
    atomic_store(&group->applied, index);
    raft_thread_progress(node->raft, group);
    if (group->record.group == GROUP_SYSTEM)
        topology_keeper_look(node->keeper, machine);
}

static void on_durable(void *ctx, uint32_t id, uint64_t index)
{
    struct node *node = ctx;
    struct group *group = groups_at(&node->groups, id); /* also when its replica is being destroyed */
    atomic_store(&group->durable, index);
    raft_thread_progress(node->raft, group);
}

static void on_machine_failed(void *ctx, struct apply_group *apply, enum cq_rc rc)
{
    struct node *node = ctx;
    struct group *group = group_of(apply);
    if (rc == CQ_E_VERSION) {
        struct cq_err err = {0};
        CQ_FAIL(
            &err, rc,
            "shard %u needs a later version than this build (" CHASQUI_VERSION
            "), which knows command versions up to %u: start a later one; no downgrade goes back across a finalized "
            "version",
            group->record.group, command_version_known);
        node_is_too_old(node, &err);
    }
    cq_log(CQ_ERROR, "group.machine_failed", CQ_F_U64("group", group->record.group), CQ_F_RC(rc));
    watch_end_all(group, CQ_E_UNAVAILABLE);
    if (rc != CQ_E_CORRUPT) {
        raft_thread_drop(node->raft, group);
        return;
    }
    corruption_detected(CORRUPT_READ);
    reseeder_distrust(node->reseeder, group, SUSPECT_STATE);
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

static void on_behind(void *ctx, struct group *group)
{
    struct node *node = ctx;
    reseeder_want(node->reseeder, group, RESEED_BEHIND);
}

static void on_replica_failed(void *ctx, struct group *group, enum cq_rc why)
{
    struct node *node = ctx;
    watch_end_all(group, CQ_E_UNAVAILABLE);
    if (why == CQ_E_CORRUPT)
        node_group_withhold(node, group);
}

static void on_body_damaged(void *ctx, struct group *group)
{
    struct node *node = ctx;
    if (atomic_load(&group->distrust) != SUSPECT_NONE)
        return; /* with each heartbeat, while nobody takes the leadership */
    cq_log(CQ_ERROR, "body.read_failed", CQ_F_U64("group", group->record.group), CQ_F_STR("for", "a follower"));
    corruption_detected(CORRUPT_READ);
    reseeder_distrust(node->reseeder, group, SUSPECT_PARTS);
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

/* ---- The connections to the other nodes: on the Raft thread ---- */

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

struct writer_config node_links_writer(struct node *node)
{
    return (struct writer_config){.store = node->dir.store, .fatal = on_write_failed, .synced = on_synced, .ctx = node};
}

struct apply_output node_links_apply(struct node *node)
{
    return (struct apply_output){.ctx = node,
                                 .outcome = on_outcome,
                                 .notice = on_notice,
                                 .applied = on_applied,
                                 .durable = on_durable,
                                 .failed = on_machine_failed};
}

void node_links_raft(struct node *node, struct raft_thread_config *config)
{
    config->send = on_send;
    config->changed = on_role_changed;
    config->behind = on_behind;
    config->damaged = on_body_damaged;
    config->failed = on_replica_failed;
    config->trimmed = on_trimmed;
    config->ctx = node;
}

void node_peers_start(struct node *node)
{
    io_loop_post(raft_thread_loop(node->raft), start_peers, node);
}

void node_peers_stop(struct node *node)
{
    io_loop_post(raft_thread_loop(node->raft), stop_peers, node);
}
