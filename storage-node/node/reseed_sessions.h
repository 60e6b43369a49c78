/* The copies that are being read from this node: each has one snapshot of the store and a hold on its group's log, both
 * for a limited time. A session that nobody has asked for a minute, or that is older than the settings allow, ends; its
 * receiver begins again. Any thread. */
#ifndef RESEED_SESSIONS_H
#define RESEED_SESSIONS_H

#include "node/group.h"
#include "reseed/reseed_copy.h"

struct node;
struct reseed_sessions;

#define RESEED_SESSION_IDLE_S 60

struct reseed_session {
    uint64_t id;
    struct group *group;
    struct raft_node node; /* who asks */
    uint64_t replica;      /* that the copy is for */
    uint32_t generation;   /* of the state here */
    struct reseed_offer offer;
    struct store_snapshot *snapshot;
    /* The table's. */
    uint64_t opened_us, used_us;
    unsigned users;
    bool closed; /* nobody reads any more: the snapshot goes, the hold stays */
    bool ended;
};

struct reseed_sessions *reseed_sessions_new(struct node *node, unsigned max, uint64_t life_us);
/* No handler may be running any more. */
void reseed_sessions_free(struct reseed_sessions **sessions);

/* A snapshot, what it is, and the hold. On a fiber. CQ_E_OVERLOADED: as many as there may be; CQ_E_NOT_LEADER,
 * CQ_E_BEHIND (try again), CQ_E_UNAVAILABLE, CQ_E_CORRUPT. *offer_r is the session's. */
enum cq_rc reseed_sessions_open(struct reseed_sessions *sessions, struct group *group, const struct raft_node *asker,
                                uint64_t replica, struct reseed_offer *offer_r, struct cq_err *err);

/* To be given back. NULL: there is none of that id for this node and group, or it has ended. */
struct reseed_session *reseed_sessions_use(struct reseed_sessions *sessions, uint64_t id, uint32_t group,
                                           const struct raft_node *asker);
void reseed_sessions_unuse(struct reseed_sessions *sessions, struct reseed_session *session);

/* Nobody reads any more: the snapshot goes. keep_log: the hold stays until the replica has joined or the session's time
 * is over. */
void reseed_sessions_close(struct reseed_sessions *sessions, struct reseed_session *session, bool keep_log);

/* Ends what is over; every second or so. */
void reseed_sessions_look(struct reseed_sessions *sessions);

/* That are open. */
unsigned reseed_sessions_count(struct reseed_sessions *sessions);

#endif
