#include "node/topology_keeper.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "io/io_sync.h"
#include "node/call_codec.h"
#include "node/node.h"
#include "node/peer_admission.h"
#include "node/reseeder.h"
#include "node/system_client.h"
#include "proto/system.pb-c.h"
#include "state/command_version.h"
#include "system/system_machine.h"

#define RETRY_MS 1000     /* what failed is tried again after this */
#define REGISTER_MS 10000 /* one try to register this node */
#define STREAM_WINDOW (8u << 20)
#define LISTEN_MS 10000    /* to one node: what it knows may be old, so all are asked in turn */
#define LEADERLESS_MS 3000 /* the system shard's replica here: then others are listened to */
#define MET_MAX 64         /* addresses of nodes that have called */

struct topology_keeper {
    struct node *node;
    pthread_mutex_t lock;
    const struct topology *current;            /* under lock */
    struct cq_list subscribers;                /* under lock */
    char met[MET_MAX][RPC_HELLO_TEXT_MAX + 1]; /* under lock */
    size_t met_count;
    _Atomic uint64_t epoch;
    /* The control loop's. */
    struct io_event changed;
    struct io_fiber_ref fibers[2];
    uint64_t led_us;  /* the system shard's replica here last had a leader */
    bool registered;  /* this boot is in the topology, or will be */
    bool known_fresh; /* the system shard has seen no later start of this node */
};

/* ---- The present topology ---- */

const struct topology *topology_keeper_get(struct topology_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    const struct topology *t = topology_ref(k->current);
    pthread_mutex_unlock(&k->lock);
    return t;
}

uint64_t topology_keeper_epoch(const struct topology_keeper *k)
{
    return k ? atomic_load(&k->epoch) : 0;
}

static void tell_subscribers(struct topology_keeper *k, const struct topology *topology, const struct group *group);

static void on_changed(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct topology_keeper *k = arg;
    io_event_set(&k->changed);
}

void topology_keeper_again(struct topology_keeper *k)
{
    io_loop_post(k->node->control, on_changed, k);
}

/* Takes the reference; any thread. An older one is dropped. */
static void set_topology(struct topology_keeper *k, const struct topology *topology)
{
    bool newer = false;
    pthread_mutex_lock(&k->lock);
    if (!k->current || topology->epoch > k->current->epoch) {
        const struct topology *old = k->current;
        k->current = topology_ref(topology);
        atomic_store(&k->epoch, topology->epoch);
        topology_unref(&old);
        newer = true;
    }
    pthread_mutex_unlock(&k->lock);
    if (newer) {
        cq_log(CQ_INFO, "topology.changed", CQ_F_U64("epoch", topology->epoch), CQ_F_U64("nodes", topology->node_count),
               CQ_F_U64("shards", topology->shard_count));
        tell_subscribers(k, topology, NULL);
        io_loop_post(k->node->control, on_changed, k);
    }
    topology_unref(&topology);
}

void topology_keeper_look(struct topology_keeper *k, const struct machine *machine)
{
    const struct topology *t = system_machine_topology(machine);
    if (t && t->epoch > atomic_load(&k->epoch))
        set_topology(k, t);
    else
        topology_unref(&t);
}

enum cq_rc topology_keeper_admits(struct topology_keeper *k, const struct rpc_hello *hello, struct cq_err *err)
{
    const struct topology *t = topology_keeper_get(k);
    enum cq_rc rc = peer_admit(t, hello, err);
    topology_unref(&t);
    return rc;
}

/* ---- Subscribers ---- */

struct note {
    struct topology_keeper *keeper;
    struct topology_subscriber *subscriber;
    const struct topology *topology;
    const struct group *group;
};

/* Is it over, so that nobody has the subscriber in hand? */
static bool post_done(struct topology_keeper *k, struct topology_subscriber *s)
{
    pthread_mutex_lock(&k->lock);
    bool over = --s->posts == 0 && s->ended;
    pthread_mutex_unlock(&k->lock);
    return over;
}

static void on_note(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct note *note = arg;
    struct topology_subscriber *s = note->subscriber;
    if (!s->ended)
        s->changed(s, note->topology, note->group);
    if (post_done(note->keeper, s) && s->freed)
        s->freed(s);
    topology_unref(&note->topology);
    free(note);
}

static void tell_subscribers(struct topology_keeper *k, const struct topology *topology, const struct group *group)
{
    pthread_mutex_lock(&k->lock);
    cq_list_each (&k->subscribers, at) {
        struct topology_subscriber *s = cq_list_entry(at, struct topology_subscriber, link);
        struct note *note = cq_new(struct note);
        *note = (struct note){k, s, topology_ref(topology), group};
        s->posts++;
        io_loop_post(s->loop, on_note, note);
    }
    pthread_mutex_unlock(&k->lock);
}

void topology_keeper_leader_changed(struct topology_keeper *k, struct group *group)
{
    tell_subscribers(k, NULL, group);
}

void topology_keeper_subscribe(struct topology_keeper *k, struct topology_subscriber *s)
{
    pthread_mutex_lock(&k->lock);
    cq_list_push_back(&k->subscribers, &s->link);
    pthread_mutex_unlock(&k->lock);
}

void topology_keeper_unsubscribe(struct topology_keeper *k, struct topology_subscriber *s)
{
    pthread_mutex_lock(&k->lock);
    cq_list_remove(&s->link);
    s->ended = true;
    bool over = s->posts == 0;
    pthread_mutex_unlock(&k->lock);
    if (over && s->freed)
        s->freed(s);
}

/* ---- What follows from a topology ---- */

struct addresses {
    struct node *node;
    size_t count;
    char *items[];
};

static void on_addresses(struct io_loop *loop, void *arg)
{
    (void)loop;
    struct addresses *a = arg;
    for (size_t i = 0; i < a->count; i++) {
        if (a->node->peers)
            peers_add(a->node->peers, a->items[i]);
        free(a->items[i]);
    }
    free(a);
}

/* Peers are dialled on the Raft thread. */
static void dial_nodes(struct topology_keeper *k, const struct topology *t)
{
    struct addresses *a = cq_calloc(1, sizeof *a + t->node_count * sizeof *a->items);
    a->node = k->node;
    for (size_t i = 0; i < t->node_count; i++) {
        const struct topology_node *n = &t->nodes[i];
        if (n->address[0] && n->state != TOPOLOGY_NODE_GONE && memcmp(n->uuid, k->node->dir.node, sizeof n->uuid) != 0)
            a->items[a->count++] = cq_strndup(n->address, strlen(n->address));
    }
    io_loop_post(raft_thread_loop(k->node->raft), on_addresses, a);
}

static size_t shard_members(const struct topology *t, const struct topology_shard *shard,
                            struct raft_member members_r[static RAFT_MEMBERS_MAX])
{
    size_t count = shard->replica_count < RAFT_MEMBERS_MAX ? shard->replica_count : RAFT_MEMBERS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct topology_replica *r = &shard->replicas[i];
        members_r[i] =
            (struct raft_member){.replica = r->id, .role = r->voter ? RAFT_MEMBER_VOTER : RAFT_MEMBER_STANDBY};
        memcpy(members_r[i].node.uuid, t->nodes[r->node].uuid, sizeof members_r[i].node.uuid);
    }
    return count;
}

/* Not one of the first replicas: it was moved here, or is this node's under another id. It is copied, never made from
 * the map. What is older here than the map is destroyed first (reseeder_strays.c). */
static bool open_moved(struct topology_keeper *k, const struct topology_shard *shard,
                       const struct topology_replica *mine, struct group *group)
{
    struct node *node = k->node;
    if (group && group->record.replica < mine->id && group->record.replica)
        return false;
    if (group && (group->record.generation || group->record.replica != mine->id))
        return true;
    if (mine->voter || mine->id <= atomic_load(&node->lost))
        node_group_lost(node, shard->group);
    else
        node_group_new(node, shard->group, mine->id);
    return true;
}

/* Makes this node's replica of a shard when it has none. The first members of a group are those of the map. */
static bool open_shard(struct topology_keeper *k, const struct topology *t, const struct topology_shard *shard,
                       uint32_t me)
{
    const struct topology_replica *mine = topology_replica_on(shard, me);
    struct group *group = groups_find(&k->node->groups, shard->group);
    if (mine && group && group->record.generation && group->record.replica > mine->id) {
        reseeder_want(k->node->reseeder, group, RESEED_JOIN);
        return false;
    }
    if (mine && shard->moved)
        return open_moved(k, shard, mine, group);
    if (!mine || group)
        return true;
    struct raft_member members[RAFT_MEMBERS_MAX];
    const struct node_group_spec spec = {.record = {.group = shard->group,
                                                    .generation = 1,
                                                    .replica = mine->id,
                                                    .incarnation = group_first_incarnation(shard->group)},
                                         .members = members,
                                         .member_count = shard_members(t, shard, members)};
    struct cq_err err = {0};
    enum cq_rc rc = node_group_open(k->node, &spec, &err);
    if (rc == CQ_OK || rc == CQ_E_EXISTS)
        return true;
    if (rc == CQ_E_CONFLICT) { /* until the shard map names another one */
        cq_log_limited(1, CQ_ERROR, "group.replica_lost", CQ_F_U64("group", shard->group), CQ_F_ERR(&err));
        node_group_lost(k->node, shard->group);
        return true;
    }
    cq_log(CQ_ERROR, "group.not_created", CQ_F_U64("group", shard->group), CQ_F_ERR(&err));
    return false;
}

/* The system shard was there before the map: a replica of it that is not here was moved here, or lost. */
static bool open_system(struct topology_keeper *k, const struct topology *t, uint32_t me)
{
    const struct topology_shard *shard = topology_shard(t, GROUP_SYSTEM);
    const struct topology_replica *mine = shard ? topology_replica_on(shard, me) : NULL;
    struct group *group = groups_find(&k->node->groups, GROUP_SYSTEM);
    if (mine && group && group->record.generation && group->record.replica > mine->id) {
        reseeder_want(k->node->reseeder, group, RESEED_JOIN);
        return false;
    }
    if (mine && (shard->moved || !group))
        return open_moved(k, shard, mine, group);
    return true;
}

static bool open_shards(struct topology_keeper *k, const struct topology *t)
{
    uint32_t me = topology_node_index(t, k->node->dir.node);
    bool ok = me == TOPOLOGY_NONE || open_system(k, t, me);
    for (size_t i = 0; me != TOPOLOGY_NONE && i < t->shard_count && !io_fiber_cancelled(); i++)
        if (t->shards[i].group != GROUP_SYSTEM)
            ok &= open_shard(k, t, &t->shards[i], me);
    return ok;
}

void node_describe(const struct node *node, Chasqui__System__Node *out, Chasqui__System__Labels *labels)
{
    const struct node_settings *s = &node->config->node;
    chasqui__system__node__init(out);
    chasqui__system__labels__init(labels);
    labels->region = (char *)(uintptr_t)s->region;
    labels->dc = (char *)(uintptr_t)s->dc;
    labels->zone = (char *)(uintptr_t)s->zone;
    labels->host = (char *)(uintptr_t)s->host;
    out->uuid = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)node->dir.node};
    out->address = (char *)(uintptr_t)node_address(node);
    out->labels = labels;
    out->boot = node->dir.boot;
    out->version = (char *)(uintptr_t)node->hello.version;
    out->command_version = command_version_known;
}

static bool is_registered(const struct topology_keeper *k, const struct topology *t)
{
    uint32_t me = topology_node_index(t, k->node->dir.node);
    return me != TOPOLOGY_NONE && t->nodes[me].boot == k->node->dir.boot &&
           t->nodes[me].command_version == command_version_known &&
           strcmp(t->nodes[me].address, node_address(k->node)) == 0;
}

/* ---- Is this an older copy of the directory? ---- */

/* What its own replica of the system shard says may be as old as the rest: the shard's leader is asked, once. */
static enum cq_rc ask_own_boot(struct topology_keeper *k, uint64_t *boot_r, struct cq_err *err)
{
    Chasqui__System__GetTopology message = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    struct cq_pool *pool = cq_pool_new(16384);
    const struct topology *t = NULL;
    struct cq_slice body;
    enum cq_rc rc =
        system_call(k->node, NULL, 0, CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, message_pack(&message.base, pool),
                    io_loop_deadline(io_loop_self(), REGISTER_MS), pool, &body, err);
    if (rc == CQ_OK)
        rc = topology_decode(body, &t, err);
    uint32_t me = rc == CQ_OK ? topology_node_index(t, k->node->dir.node) : TOPOLOGY_NONE;
    *boot_r = me == TOPOLOGY_NONE ? 0 : t->nodes[me].boot;
    topology_unref(&t);
    cq_pool_free(&pool);
    return rc;
}

/* False: ask again. */
static bool check_fresh(struct topology_keeper *k)
{
    uint64_t boot = 0;
    struct cq_err err = {0};
    if (k->known_fresh)
        return true;
    if (ask_own_boot(k, &boot, &err) != CQ_OK)
        return false;
    if (boot > k->node->dir.boot)
        node_is_stale(k->node, boot); /* the process ends */
    k->known_fresh = true;
    return true;
}

/* Tells the system shard of this start. */
static bool register_node(struct topology_keeper *k, const struct topology *t)
{
    if (is_registered(k, t))
        return true;
    uint32_t at = topology_node_index(t, k->node->dir.node);
    if (at != TOPOLOGY_NONE && t->nodes[at].state == TOPOLOGY_NODE_GONE) {
        cq_log(CQ_ERROR, "node.has_gone",
               CQ_F_STR("action", "this node was removed from the cluster: what it still holds is destroyed, then "
                                  "stop this process and empty its data directory"));
        return true;
    }
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_slice reply;
    Chasqui__System__RegisterNode message = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node me;
    Chasqui__System__Labels labels;
    node_describe(k->node, &me, &labels);
    message.node = &me;
    enum cq_rc rc =
        system_call(k->node, NULL, 0, CHASQUI__SYSTEM__METHOD__REGISTER_NODE, message_pack(&message.base, pool),
                    io_loop_deadline(io_loop_self(), REGISTER_MS), pool, &reply, &err);
    cq_pool_free(&pool);
    if (rc != CQ_OK)
        cq_log(CQ_WARN, "node.not_registered", CQ_F_ERR(&err));
    return rc == CQ_OK;
}

/* Before anything is made or opened for this topology: what this build cannot apply would not be served anyway. Such a
 * node is not registered either, so it learns of this from the topology at the latest. */
static void check_version(struct topology_keeper *k, const struct topology *t)
{
    struct cq_err err = {0};
    if (t->finalized_version <= command_version_known)
        return;
    command_version_too_new(t->finalized_version, command_version_known, &err);
    node_is_too_old(k->node, &err);
}

static void follow(void *arg)
{
    struct topology_keeper *k = arg;
    while (!io_fiber_cancelled()) {
        const struct topology *t = topology_keeper_get(k);
        io_event_reset(&k->changed);
        bool done = true;
        if (t && t->epoch > 0) {
            check_version(k, t);
            dial_nodes(k, t);
            node_lost_replicas(k->node, t);
            done = open_shards(k, t);
            done &= check_fresh(k) && register_node(k, t);
        }
        topology_unref(&t);
        io_event_wait(&k->changed, done ? IO_NO_DEADLINE : io_loop_deadline(io_loop_self(), RETRY_MS));
    }
}

/* ---- Without a replica of the system shard: another node's stream ---- */

struct remote {
    struct topology_keeper *keeper;
    struct io_event done;
};

static void on_item(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct remote *remote = ctx;
    struct cq_slice bytes = rpc_frame_message(frame, payload);
    Chasqui__System__TopologyItem *item = chasqui__system__topology_item__unpack(NULL, bytes.len, bytes.data);
    if (!item || !item->topology) {
        if (item)
            chasqui__system__topology_item__free_unpacked(item, NULL);
        return;
    }
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(16384);
    const struct topology *t = NULL;
    if (topology_decode(message_pack(&item->topology->base, pool), &t, &err) == CQ_OK)
        set_topology(remote->keeper, t);
    else
        cq_log_limited(1, CQ_WARN, "topology.refused", CQ_F_ERR(&err));
    cq_pool_free(&pool);
    chasqui__system__topology_item__free_unpacked(item, NULL);
}

static void on_done(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    (void)fate, (void)reply;
    io_event_set(&((struct remote *)ctx)->done);
}

/* Listens to one node until the stream ends. */
static void listen_to(struct topology_keeper *k, const char *address)
{
    struct node *node = k->node;
    struct remote remote = {.keeper = k};
    struct cq_pool *pool = cq_pool_new(1024);
    Chasqui__System__GetTopology message = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    struct rpc_client *client = rpc_client_new(&(struct rpc_client_config){.loop = node->control,
                                                                           .resolver = node->resolver,
                                                                           .tls = node->client_tls,
                                                                           .address = address,
                                                                           .peer_roles = RPC_ROLE_STORAGE,
                                                                           .hello = &node->hello,
                                                                           .limits = node->config->client});
    const struct rpc_call call = {.method = CHASQUI__SYSTEM__METHOD__WATCH_TOPOLOGY,
                                  .deadline_us = UINT64_MAX,
                                  .message = call_pack(message_pack(&message.base, pool), pool)};
    struct rpc_pending *stream = rpc_stream_start(
        client, &call,
        &(struct rpc_stream_config){
            .window = STREAM_WINDOW, .auto_credit = true, .data = on_item, .done = on_done, .ctx = &remote});
    if (io_event_wait(&remote.done, io_loop_deadline(io_loop_self(), LISTEN_MS)) != CQ_OK && !remote.done.set)
        rpc_call_cancel(&stream);
    rpc_client_free(&client);
    cq_pool_free(&pool);
}

void topology_keeper_met(struct topology_keeper *k, const char *address)
{
    pthread_mutex_lock(&k->lock);
    bool known = false;
    for (size_t i = 0; i < k->met_count; i++)
        known |= strcmp(k->met[i], address) == 0;
    if (!known && k->met_count < MET_MAX)
        RPC_HELLO_SET(k->met[k->met_count++], address);
    pthread_mutex_unlock(&k->lock);
}

/* The n-th address where the topology may be learnt, in the pool; NULL after the last. */
static const char *source(struct topology_keeper *k, size_t n, struct cq_pool *pool)
{
    const struct cq_strings *seeds = &k->node->config->node.seeds;
    const char *address = NULL;
    pthread_mutex_lock(&k->lock);
    const struct topology *t = k->current;
    const struct topology_shard *system = t ? topology_shard(t, GROUP_SYSTEM) : NULL;
    size_t holders = system ? system->replica_count : 0, nodes = holders + (t ? t->node_count : 0);
    if (n < holders) /* they know first */
        address = t->nodes[system->replicas[n].node].address;
    else if (n < nodes)
        address = t->nodes[n - holders].address;
    else if (n - nodes < k->met_count)
        address = k->met[n - nodes];
    else if (n - nodes - k->met_count < seeds->count)
        address = seeds->items[n - nodes - k->met_count];
    if (address)
        address = cq_pool_cstr(pool, cq_slice_cstr(address));
    pthread_mutex_unlock(&k->lock);
    return address;
}

/* Does this node's own replica of the system shard tell it what happens? One without a leader may be no member any
 * more, and nobody tells it. */
static bool is_told(struct topology_keeper *k)
{
    const struct group *system = groups_find(&k->node->groups, GROUP_SYSTEM);
    uint64_t now = io_loop_now_us(k->node->control);
    if (!system || atomic_load(&system->failed))
        return false;
    if (atomic_load(&system->leader) || !k->led_us)
        k->led_us = now;
    return now - k->led_us < LEADERLESS_MS * UINT64_C(1000);
}

static void follow_remote(void *arg)
{
    struct topology_keeper *k = arg;
    for (size_t n = 0; !io_fiber_cancelled(); n++) {
        if (is_told(k)) {
            io_fiber_sleep(RETRY_MS);
            continue;
        }
        struct cq_pool *pool = cq_pool_new(512);
        const char *address = source(k, n, pool);
        if (!address)
            n = SIZE_MAX; /* the next round begins with 0 */
        else if (strcmp(address, node_address(k->node)) != 0)
            listen_to(k, address);
        cq_pool_free(&pool);
        io_fiber_sleep(RETRY_MS / 4);
    }
}

/* ---- Life ---- */

struct topology_keeper *topology_keeper_new(struct node *node)
{
    struct topology_keeper *k = cq_new(struct topology_keeper);
    k->node = node;
    pthread_mutex_init(&k->lock, NULL);
    cq_list_init(&k->subscribers);
    return k;
}

void topology_keeper_start(struct topology_keeper *k)
{
    io_fiber_spawn(k->node->control, follow, k, &k->fibers[0]);
    io_fiber_spawn(k->node->control, follow_remote, k, &k->fibers[1]);
}

void topology_keeper_stop(struct topology_keeper *k)
{
    io_fiber_cancel(k->fibers[0]);
    io_fiber_cancel(k->fibers[1]);
}

void topology_keeper_free(struct topology_keeper **keeper)
{
    struct topology_keeper *k = *keeper;
    if (!k)
        return;
    topology_unref(&k->current);
    pthread_mutex_destroy(&k->lock);
    free(k);
    *keeper = NULL;
}
