/* What this node knows of the cluster: the latest topology, from its own replica of the system shard or, when it has
 * none, from another node's stream. What follows from a new one (groups to open, peers to dial, slots to own) is done
 * here, on the control loop.
 *
 * Everybody may ask; who wants to hear of changes subscribes. */
#ifndef TOPOLOGY_KEEPER_H
#define TOPOLOGY_KEEPER_H

#include "base/cq_list.h"
#include "cluster/topology.h"
#include "rpc/rpc_hello.h"
#include "io/io_loop.h"
#include "node/group.h"

struct node;
struct topology_keeper;

struct topology_keeper *topology_keeper_new(struct node *node);
/* On the control loop: begins to follow the cluster. */
void topology_keeper_start(struct topology_keeper *keeper);
/* Ends its fibers; they are cancelled and the control loop must turn once more before free. */
void topology_keeper_stop(struct topology_keeper *keeper);
void topology_keeper_free(struct topology_keeper **keeper);

/* Any thread. A reference, or NULL before the first. */
const struct topology *topology_keeper_get(struct topology_keeper *keeper);
/* 0 before the first. Any thread. */
uint64_t topology_keeper_epoch(const struct topology_keeper *keeper);

/* A storage node has said HELLO from this address: the topology may be learnt there. Any thread. */
void topology_keeper_met(struct topology_keeper *keeper, const char *address);

/* May the peer speak for the node that it names (peer_admission.h)? Any thread. */
enum cq_rc topology_keeper_admits(struct topology_keeper *keeper, const struct rpc_hello *hello, struct cq_err *err);

/* After an apply of group 0: on its apply thread. */
void topology_keeper_look(struct topology_keeper *keeper, const struct machine *machine);

/* Something that follows from the present topology is possible now: look again. Any thread. */
void topology_keeper_again(struct topology_keeper *keeper);

/* A group's leader may have changed. Any thread. */
void topology_keeper_leader_changed(struct topology_keeper *keeper, struct group *group);

/* ---- Subscriptions: a callback by post on the subscriber's loop ---- */

struct topology_subscriber {
    struct io_loop *loop;
    /* On the subscriber's loop: a new topology (its reference is borrowed), or NULL and a group whose leader changed.
     */
    void (*changed)(struct topology_subscriber *subscriber, const struct topology *topology, const struct group *group);
    struct cq_list link; /* the keeper's */
    unsigned posts;      /* under way; the keeper's, under its lock */
    bool ended;
    void (*freed)(struct topology_subscriber *subscriber); /* nothing comes any more: on the subscriber's loop */
};
/* Any thread; the present topology and leaders are what topology_keeper_get() and the groups say afterwards. */
void topology_keeper_subscribe(struct topology_keeper *keeper, struct topology_subscriber *subscriber);
/* On the subscriber's loop; `freed` follows, perhaps at once. */
void topology_keeper_unsubscribe(struct topology_keeper *keeper, struct topology_subscriber *subscriber);

#endif
