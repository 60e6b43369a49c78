/* The simulator: N nodes with real Raft hosts, real state machines and stores in memory, on one thread, with a virtual
 * clock. Everything that happens is an event in one queue; everything that is random comes from one seed. So a run is a
 * function of (seed, options), and a failure is a seed that anybody can replay.
 *
 * What differs from a server: the clock, the transport and the store's back end. What stands in for the server's own
 * threads (writer, apply, loads) is sim_node.c. */
#ifndef SIM_H
#define SIM_H

#include "base/cq_buf.h"
#include "base/cq_rand.h"
#include "raft/raft_host.h"
#include "state/machine.h"

#include <stdio.h>

#define SIM_NODES_MAX 5
#define SIM_GROUPS_MAX 8
#define SIM_MS UINT64_C(1000) /* microseconds */
#define SIM_S UINT64_C(1000000)

struct sim;
struct sim_node;
struct sim_check;

/* ---- Time and events (sim.c) ---- */

typedef void sim_fire_fn(struct sim *sim, void *arg, uint64_t a, uint64_t b);
struct sim_event {
    uint64_t at; /* us */
    uint64_t order;
    sim_fire_fn *fire;
    void *arg;
    uint64_t a, b;
    void (*drop)(void *arg); /* frees arg when the event cannot happen any more; NULL: nothing to free */
    int node;                /* happens on this node, in this life of it; -1: nowhere in particular */
    uint32_t life;
};

/* What a simulation is about: the machine, who uses it and what is true of it. */
struct sim_app {
    enum cq_rc (*open)(const struct machine_config *config, struct machine **machine_r, struct cq_err *err);
    /* A committed entry, the first time that any node hands it out, in index order. */
    void (*committed)(struct sim *sim, uint32_t group, uint64_t index, uint64_t term, struct cq_slice entry);
    /* One node has applied an entry. */
    void (*applied)(struct sim *sim, struct sim_node *node, const struct raft_commit *commit,
                    const struct machine_outcome *outcome);
};

struct sim_options {
    uint64_t seed;
    unsigned nodes;
    unsigned groups;
    bool trace;
    uint64_t keep_entries; /* of the log, for a member that is away; 0: for ever */
    unsigned replicas;     /* of a group; 0: one on each node */
    bool changing;         /* replicas come, go, are lost and are copied: sim_cluster.h */
};

struct sim {
    struct sim_options options;
    struct cq_prng prng;
    uint64_t now;
    struct sim_event *heap;
    size_t heap_count, heap_cap;
    uint64_t next_order;
    const struct sim_app *app;
    void *app_ctx;
    struct sim_node *nodes[SIM_NODES_MAX];
    struct sim_check *check;
    struct sim_net *net;
    struct sim_cluster *cluster; /* NULL: every replica stays what it is */
    uint64_t next_cookie;
    unsigned failures;    /* things that must never happen, and did */
    char failure[512];    /* the first of them */
    uint64_t fingerprint; /* of the whole history: two runs of one seed have the same */
};

struct sim *sim_new(const struct sim_options *options, const struct sim_app *app, void *app_ctx);
void sim_free(struct sim **sim);

void sim_at(struct sim *sim, uint64_t delay_us, sim_fire_fn *fire, void *arg, uint64_t a, uint64_t b);
/* On a node, in its present life; waits while the node is paused. */
void sim_at_node(struct sim *sim, struct sim_node *node, uint64_t delay_us, sim_fire_fn *fire, void *arg,
                 void (*drop)(void *arg), uint64_t a, uint64_t b);
/* Runs events until `until` (us), or until something has failed. */
void sim_run(struct sim *sim, uint64_t until);

/* Something that must never happen has happened. The first one is kept, the run ends. */
void sim_fail(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define sim_trace(sim, ...)                                                                                            \
    do {                                                                                                               \
        if ((sim)->options.trace)                                                                                      \
            sim_trace_line((sim), __VA_ARGS__);                                                                        \
    } while (0)
void sim_trace_line(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The fingerprint goes over all that happens. */
static inline void sim_note(struct sim *sim, uint64_t what)
{
    uint64_t z = (sim->fingerprint ^ what) * UINT64_C(0x9e3779b97f4a7c15);
    sim->fingerprint = z ^ z >> 29;
}

/* Random numbers of this run. */
static inline uint32_t sim_below(struct sim *sim, uint32_t bound)
{
    return cq_prng_below(&sim->prng, bound);
}
static inline bool sim_chance(struct sim *sim, uint32_t one_in)
{
    return cq_prng_below(&sim->prng, one_in) == 0;
}
/* In [low, high]. */
static inline uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
    return low + cq_prng_next(&sim->prng) % (high - low + 1);
}

/* ---- The network (sim_net.c) ---- */

struct sim_frame;
void sim_net_new(struct sim *sim);
void sim_net_free(struct sim *sim);
void sim_net_send(struct sim_node *from, const struct raft_node *to, enum raft_channel channel,
                  const struct raft_frame *frame);
/* from -> to carries nothing (the connection hangs, and ends after a while). */
void sim_net_block(struct sim *sim, unsigned from, unsigned to, bool blocked);
bool sim_net_blocked(const struct sim *sim, unsigned from, unsigned to);
uint64_t sim_net_delay(struct sim *sim); /* of one message, now */
void sim_net_heal(struct sim *sim);
/* Of all links: one in `drop` frames is lost (0: none), one in `twice` comes twice, and delays are up to delay_us. */
void sim_net_weather(struct sim *sim, uint32_t drop, uint32_t twice, uint64_t delay_us);
/* The node's process has ended / is up and listens. */
void sim_net_node_down(struct sim *sim, unsigned node);
void sim_net_node_up(struct sim *sim, unsigned node);

/* ---- A node (sim_node.c) ---- */

/* What waits for a cookie on a node: a client's request. done is called once, unless the node dies. */
typedef void sim_done_fn(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                         const struct machine_outcome *outcome);
struct sim_waiting {
    uint64_t cookie;
    sim_done_fn *done;
    void *arg;
    void (*drop)(void *arg);
};

struct sim_read_waiting {
    uint64_t cookie;
    uint64_t index; /* 0: not confirmed yet */
};

struct sim_group {
    uint32_t group;
    uint64_t replica; /* 0: none is here */
    uint32_t generation;
    uint64_t incarnation;
    bool detached;             /* it has left Raft, its effects are still being written */
    struct machine *machine;   /* NULL: none, or it is not to be used */
    struct raft_commit *queue; /* committed and not applied, each with a reference to its owner */
    size_t queue_count, queue_cap;
    bool applying;                  /* an event is on its way */
    uint64_t written_applied;       /* applied index of what has been written, durable after the next sync */
    struct sim_read_waiting *reads; /* confirmed, waiting for the apply */
    size_t read_count, read_cap;
    /* For the checks. */
    enum raft_group_role role;
    uint64_t term;
    uint64_t led_last, led_last_term; /* while it leads: last entry seen in its log */
    uint64_t first_index;
    unsigned behind;  /* times that the leader said that its log begins later */
    bool suspect;     /* its state is not to be used */
    unsigned damaged; /* times that a body for a follower did not read */
};

/* One thing that the writer is to write: a job of the host, a machine's effects, the removal of dead bodies, or a page
 * of what is copied. */
struct sim_write {
    struct raft_job *job;
    struct machine_effects *effects;
    unsigned group; /* of the effects or the bodies */
    uint64_t applied;
    uint64_t bodies_before;   /* of entries before this index; 0: no removal */
    struct store_batch *page; /* a recorder */
    bool sync;                /* the page is only written when it is durable */
    sim_fire_fn *written;     /* called with the node and these two */
    uint64_t a, b;
};

struct sim_node {
    struct sim *sim;
    unsigned index;
    struct raft_node id;
    struct store *store;
    struct raft_host *host; /* NULL: down */
    uint32_t life;          /* grows with each start and each end */
    uint64_t paused_until;
    uint64_t clock_offset; /* us of its monotonic clock at time 0 */
    int32_t clock_ppm;     /* how much faster its clock runs */
    int64_t wall_offset;   /* us of its wall clock */
    uint64_t sync_us;      /* how long a sync takes, at most; grows while its disk is slow */
    uint64_t tick_at;      /* when the next tick is due; UINT64_MAX: none is planned */
    struct sim_group groups[SIM_GROUPS_MAX];
    struct sim_write *writes; /* not written yet */
    size_t write_count, write_cap;
    struct sim_write *writing; /* being synced */
    size_t writing_count;
    struct sim_waiting *waiting;
    size_t waiting_count, waiting_cap;
    struct sim_places *places; /* what a sim_cluster has in the process; NULL */
};

/* The first start writes the groups' first records. */
void sim_node_new(struct sim *sim, unsigned index);
void sim_node_free(struct sim_node *node);
void sim_node_start(struct sim_node *node);
/* The process dies. power: what was not synced is lost from a random point on; otherwise the kernel still has it. */
void sim_node_crash(struct sim_node *node, bool power);
void sim_node_pause(struct sim_node *node, uint64_t us);
static inline bool sim_node_up(const struct sim_node *node)
{
    return node->host != NULL;
}
/* After inputs to the host: does what follows from them. */
void sim_node_turn(struct sim_node *node);
uint64_t sim_node_clock(const struct sim_node *node);
uint64_t sim_node_wall(const struct sim_node *node);
struct sim_node *sim_node_of(struct sim *sim, const struct raft_node *id);
uint64_t sim_replica(unsigned group, unsigned node);
/* Is a first replica of the group on the node? */
bool sim_has_first_replica(const struct sim *sim, unsigned group, unsigned node);
uint64_t sim_incarnation(unsigned group);

/* The store's whole contents are gone; the node is down. */
void sim_node_wipe(struct sim_node *node);
/* Through the node's writer, in order with everything else; takes the recorder. written is called as an event of the
 * node when it is written (or, with sync, durable). */
void sim_node_write(struct sim_node *node, struct store_batch *page, bool sync, sim_fire_fn *written, uint64_t a,
                    uint64_t b);
/* A replica leaves Raft, as raft_thread_take_out() does; its machine takes nothing any more. */
void sim_group_take_out(struct sim_node *node, unsigned group);
/* After that, and when everything has been written: there is no replica any more until it is opened. */
void sim_group_close(struct sim_node *node, unsigned group);
/* It has a machine that is to be used. */
bool sim_group_works(const struct sim_node *node, unsigned group);
/* As at a start: what the store has of it. */
void sim_group_open(struct sim_node *node, unsigned group);
/* Its state is not used any more: the machine goes, the log and the vote stay. */
void sim_group_distrust(struct sim_node *node, unsigned group);

/* Proposes / reads on this node; errors come back at once through the return value, and then done is not called. */
enum cq_rc sim_node_propose(struct sim_node *node, struct raft_proposal *proposal, sim_done_fn *done, void *arg,
                            void (*drop)(void *arg));
enum cq_rc sim_node_read(struct sim_node *node, unsigned group, sim_done_fn *done, void *arg, void (*drop)(void *arg));
/* The node that leads the group as far as anybody alive knows; NULL. */
struct sim_node *sim_leader(struct sim *sim, unsigned group);

/* ---- What must be true of Raft (sim_check.c) ---- */

void sim_check_new(struct sim *sim);
void sim_check_free(struct sim *sim);
void sim_check_role(struct sim_node *node, const struct raft_role_change *change);
void sim_check_commit(struct sim_node *node, const struct raft_commit *commit);
void sim_check_outcome(struct sim_node *node, const struct raft_commit *commit, const struct machine_outcome *outcome);
void sim_check_turn(struct sim_node *node);
/* A node tells a client that the entry with this hash took effect at index. */
void sim_check_acknowledged(struct sim_node *node, unsigned group, uint64_t index, uint64_t hash);
uint64_t sim_check_last_committed(const struct sim *sim, unsigned group);
/* The replica on this node was opened again: it hands out from its applied index on. */
void sim_check_opened(struct sim_node *node, unsigned group);
/* It leaves Raft, to come back with a copied state; it is under Raft again: what it acknowledged it must have. */
void sim_check_left(struct sim_node *node, unsigned group);
void sim_check_joined(struct sim_node *node, unsigned group);
/* This replica's store is gone: it must never take part again. */
void sim_check_forgotten(struct sim *sim, unsigned group, uint64_t replica);
/* At the end, with everything healed: replicas equal, logs matching, nothing committed missing. */
void sim_check_end(struct sim *sim);

#endif
