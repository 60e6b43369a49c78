/* The storage node: all its parts, wired. Lifetimes and the order of starting and stopping are in node.c; the parts
 * know the struct, and each touches only what its comment allows. */
#ifndef NODE_H
#define NODE_H

#include <pthread.h>

#include "base/cq_metrics.h"
#include "cluster/topology.h"
#include "node/apply.h"
#include "node/data_dir.h"
#include "node/group.h"
#include "node/health.h"
#include "node/router_table.h"
#include "node/node_config.h"
#include "node/peers.h"
#include "node/raft_thread.h"
#include "node/sync_mark.h"
#include "node/worker.h"
#include "node/writer.h"

#define NODE_WORKERS_MAX 64
#define NODE_PEERS_MAX 1024

struct topology_keeper;
struct background;
struct outbox_relay;
struct reseed_sessions;
struct reseeder;
struct scrubber;
struct mover;
struct disk_watch;
struct store_mender;

/* Another node that is connected. */
struct node_peer {
    struct raft_node node;
    uint64_t since_us;
};

struct node {
    const struct node_config *config;
    struct data_dir dir;
    struct rpc_hello hello;         /* ours; fixed after the start */
    char text[RAFT_NODE_TEXT_SIZE]; /* our UUID */
    struct io_tls *server_tls, *client_tls;
    struct sync_mark *mark;
    struct writer *writer;
    struct apply *apply;
    struct apply_marks *marks;
    struct io_pool *read_pool;
    struct io_pool *resolver; /* host names */
    struct raft_thread *raft;
    struct peers *peers; /* the Raft thread's */
    struct groups groups;
    struct worker *workers[NODE_WORKERS_MAX];
    unsigned worker_count;
    struct io_loop *control; /* the main thread's loop: signals, topology, background work, the stop */
    struct topology_keeper *keeper;
    struct background *background;
    struct outbox_relay *relay;
    struct reseed_sessions *sessions; /* copies that others read from here */
    struct reseeder *reseeder;
    struct scrubber *scrubber;
    struct mover *mover;
    struct disk_watch *disk_watch;
    struct health_table health; /* of the other nodes */
    struct router_table routers;
    struct store_mender *mender;
    struct admin_http *admin;
    pthread_mutex_t lock;
    struct node_peer peers_up[NODE_PEERS_MAX]; /* under lock */
    size_t peers_up_count;
    _Atomic bool stopping;
    _Atomic bool removed;             /* from the cluster, for good: the data directory is marked */
    _Atomic uint64_t lost;            /* no replica up to this may begin as a new one: replica_record.h */
    _Atomic uint64_t made;            /* no replica with an id up to this is made here (again); replica_record.h */
    _Atomic bool opening[GROUPS_MAX]; /* who sets it makes the group's replica */
};

/* Opens the data directory and everything in it, and starts all threads. Whatever fails is undone. */
enum cq_rc node_start(const struct node_config *config, struct node **node_r, struct cq_err *err);

/* Runs until SIGTERM, SIGINT or a drain by the admin port, then stops in good order. */
void node_run(struct node *node);
void node_free(struct node **node);

/* Registers all metrics of the process; before threads. */
void node_metrics_register(void);

/* ---- For the parts ---- */

/* Makes the local replica of a group: its first records are synced, then it is under Raft. On a fiber of any loop.
 * CQ_E_EXISTS: it is open already. */
struct node_group_spec {
    struct replica_record record;
    const struct raft_member *members; /* the group's first */
    size_t member_count;
};
struct Chasqui__System__Node;
struct Chasqui__System__Labels;
enum cq_rc node_group_open(struct node *node, const struct node_group_spec *spec, struct cq_err *err);

/* The first topology after the store was lost: none of the replicas that it names is ever made here. On a fiber. */
void node_lost_replicas(struct node *node, const struct topology *topology);

/* A replica that was made here before and is gone: a place for it, without a machine and outside Raft, until it has
 * been copied under a new id. */
void node_group_lost(struct node *node, uint32_t group);

/* A replica of this id comes here by a move, without a vote: a place for it until it has been copied. */
void node_group_new(struct node *node, uint32_t group, uint64_t replica);
/* What there is of one that was being copied, and that nobody wants any more: a place for it until it is destroyed. */
void node_group_unwanted(struct node *node, uint32_t group, uint64_t replica);

/* The system shard has seen a later start of this node: this is an older copy of its directory, and what its replicas
 * have promised since is not here. They are withheld, and the process ends; started again it gets new ones. On a fiber.
 */
void node_is_stale(struct node *node, uint64_t boot);

/* The cluster has finalized a command version that this build cannot apply: says so (err) and ends the process. Any
 * thread. */
_Noreturn void node_is_too_old(struct node *node, const struct cq_err *err);

/* Since when (monotonic us) the node is connected; 0: it is not. Any thread. */
uint64_t node_peer_since(struct node *node, const uint8_t uuid[static 16]);

/* Dials an address from now on (peers.h). Any thread. */
void node_dial(struct node *node, const char *address);

/* The address under which others reach this node. */
const char *node_address(const struct node *node);

/* This node as the system shard knows nodes. Everything is borrowed from the node and the settings. */
void node_describe(const struct node *node, struct Chasqui__System__Node *out, struct Chasqui__System__Labels *labels);

#endif
