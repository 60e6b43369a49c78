/* Replicas that come and go, are lost, fall behind, are damaged, and are copied. The decisions and the copying are the
 * product's: member_step (node/), move_plan (cluster/), reseed_copy, the flip and the clean-up (reseed/), the records
 * (node/replica_record.h), Raft's holds and installed logs (raft/). What stands in for the node around them:
 *
 *   sim_places.c  for reseeder*.c and topology_keeper.c: who is copied when, the steps of an attempt, on a fiber
 *   sim_source.c  for service_reseed.c and reseed_sessions.c: questions, as messages that get lost with their nodes
 *   sim_moves.c   for mover.c, for the system shard (the map, the moves, new ids: here always reachable and never
 *                 wrong), and for the operator and the bad luck
 */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "cluster/topology.h"
#include "node/member_step.h"
#include "reseed/reseed_copy.h"
#include "sim.h"

struct sim_named {
    uint64_t replica; /* 0: none */
    bool voter;
};

struct sim_cluster_counts {
    unsigned moves, cancelled, wiped, damaged; /* begun */
    unsigned copies, failed, digests;          /* attempts that flipped; that did not; because of the digest */
    unsigned kept, destroyed;                  /* flips that kept the log; replicas destroyed on proof */
};

struct sim_cluster {
    struct sim_named map[SIM_GROUPS_MAX][SIM_NODES_MAX];
    struct topology_move moves[SIM_GROUPS_MAX]; /* step NONE: there is none */
    uint64_t next_replica, next_number;
    uint64_t lost[SIM_NODES_MAX];                    /* replicas up to this id were lost with the node's store */
    uint32_t damaged[SIM_GROUPS_MAX][SIM_NODES_MAX]; /* this generation is; 0: none */
    bool quiet;                                      /* nothing new begins */
    struct sim_cluster_counts counts;
};

void sim_cluster_new(struct sim *sim);
void sim_cluster_free(struct sim *sim);
/* The operator and the bad luck begin, and end. */
void sim_cluster_start(struct sim *sim);
void sim_cluster_stop(struct sim *sim);
/* Nothing moves, is copied or has to be. */
bool sim_cluster_idle(struct sim *sim);
/* At the end: members, map and stores agree, and nothing is left of what has gone. */
void sim_cluster_check_end(struct sim *sim);
/* The node's replica is the one that the map names, and works. */
bool sim_place_in_order(struct sim *sim, unsigned group, unsigned node);
/* Every replica of the group is the one that the map names and works. */
bool sim_group_in_order(struct sim *sim, unsigned group);
void sim_map_set(struct sim *sim, unsigned group, unsigned node, uint64_t replica);

/* ---- A node's part (sim_places.c) ---- */

struct sim_attempt;
struct sim_session;
struct sim_place {
    struct sim_fiber *fiber;
    struct sim_attempt *attempt; /* while the fiber runs */
    uint64_t not_before;
};
struct sim_places {
    struct sim_place at[SIM_GROUPS_MAX];
    struct sim_session *sessions;
};
void sim_places_start(struct sim_node *node);
void sim_places_end(struct sim_node *node);

/* ---- Questions (sim_source.c) ---- */

enum sim_call_kind { CALL_PAGE, CALL_CLOSE, CALL_JOIN, CALL_MEMBERS };
struct sim_call {
    enum sim_call_kind kind;
    unsigned from, to, group;
    uint32_t life;   /* of the asker */
    uint64_t number; /* the asker waits for this one */
    uint64_t replica;
    bool vote;
    /* Of a page. */
    enum reseed_question_kind ask;
    uint64_t session;
    struct reseed_cursor cursor;
    struct cq_buf names;
    size_t bytes_max;
    bool flipped;
    /* The answer. */
    enum cq_rc rc;
    struct cq_err err;
    struct cq_buf page;
    bool done, is_member;
    size_t taken;
    struct reseed_offer offer;
};
struct sim_call *sim_call_new(struct sim_node *from, unsigned to, unsigned group, enum sim_call_kind kind);
void sim_call_free(void *call);
/* Takes the call. answered is called as an event of the asker, in its present life, or never. */
void sim_call_send(struct sim *sim, struct sim_call *call);
void sim_call_answered(struct sim *sim, void *call, uint64_t a, uint64_t b); /* sim_places.c; takes the call */
/* Copies that are read no more end. */
void sim_sessions_look(struct sim_node *node);
void sim_sessions_end(struct sim_node *node);

#endif
