/* What the files of the Raft host share. libraft's struct is inside; nobody outside raft/ includes this. */
#ifndef RAFT_PRIVATE_H
#define RAFT_PRIVATE_H

#include "base/cq_list.h"
#include "raft_boot.h"
#include "raft_conf.h"
#include "raft_job.h"
#include "raft_load.h"
#include "raft_log.h"
#include "raft_wire.h"
#include "raft/raft_host.h"

#include <raft.h>

#define RAFT_READS_MAX 65536         /* reads of a group that wait; CQ_E_OVERLOADED */
#define RAFT_PARKED_MAX 1024         /* messages behind a fence; more are dropped, as a network may */
#define RAFT_TICK_MS 10              /* time-outs are rounded up to this, so that groups' heartbeats share frames */
#define RAFT_READ_HEDGE_MS 50        /* a read waits so long for the voters that were asked, then all are */
#define RAFT_READ_ALL_EVERY 64       /* of so many rounds one asks all voters: who is the quickest? */
#define RAFT_HINT_STEP_MS 100        /* between the stand-ins after an unplanned end */
#define RAFT_APPEND_FRAME (1u << 20) /* an append frame is closed when it has so many bytes */

struct raft_group;
struct raft_peer;

/* ---- Replication to one follower (raft_stream.c) ---- */

/* An append message that the peer has not answered. */
struct raft_flight {
    uint64_t last;  /* index of its last entry */
    uint64_t bytes; /* of the peer's window */
    uint64_t sent_ms;
};

/* What libraft wants the follower to get, and how far that has been put on the wire. libraft says "entries a..b"; they
 * leave when the peer's window and the store allow. */
struct raft_stream {
    struct raft_group *group;
    struct raft_peer *peer;
    uint64_t replica;
    uint64_t next, end;          /* entries [next, end] have yet to be sent; next > end: nothing */
    struct raft_flight *flights; /* ring, oldest first */
    size_t flight_front, flight_count, flight_cap;
    uint64_t flight_bytes;
    struct cq_list ready;      /* in peer->ready while there is something to send */
    struct raft_load *loading; /* under way */
    struct raft_load *loaded;  /* entries that are not in memory, until they are sent */
    uint64_t confirmed_round;  /* the last read round in which this member was still at our term */
    uint64_t asked_round;      /* the last one in which it was asked */
    bool owes;                 /* it did not answer in RAFT_READ_HEDGE_MS, and has not since */
    bool behind;               /* it needs entries that have been trimmed */
    enum raft_stand stand;     /* as its last result said */
    uint64_t unmasked_ms;      /* when a refusal of a member that is behind last went to libraft */
    uint64_t match;            /* what it had when it was last looked at for the floor */
    uint64_t taken_ms;         /* when that last rose, or when it had everything */
};

/* The log is kept after `index` for a replica that is being re-seeded. */
struct raft_hold {
    uint64_t replica, index;
};

/* ---- A read that waits (raft_read.c) ---- */

struct raft_read {
    uint64_t cookie;
    uint64_t index;
    uint64_t round; /* must be confirmed by a round >= this; 0: not sent yet */
    uint64_t since_ms;
    uint64_t asked_ms; /* when that round was sent first */
};

/* A message behind a fence. */
struct raft_parked {
    struct cq_list link;
    struct raft_peer *peer;
    struct raft_wire message; /* never an append with entries */
};

/* A configuration entry of the log, or the marker's. */
struct raft_conf_at {
    uint64_t index;
    struct raft_conf conf;
};

struct raft_group {
    struct raft_host *host;
    struct raft_log_owner owner;
    struct raft raft;
    struct raft_log log;
    struct cq_list dirty; /* in host->dirty while a flush has something to do */
    bool failed;
    bool fail_told;
    struct cq_err why;

    /* What the log's configurations say. The last one counts, committed or not. */
    struct raft_conf_at *confs;
    size_t conf_count, conf_cap;
    uint64_t conf_fired; /* configurations up to here have been reported to libraft as committed */

    uint64_t stored;    /* durable here */
    uint64_t commit;    /* monotonic, unlike libraft's (docs/raft.md) */
    uint64_t delivered; /* handed out */
    uint64_t applied, durable_applied;
    uint64_t apply_bytes;               /* handed out and not applied */
    uint64_t pending_bytes;             /* proposed here and not committed */
    struct raft_load *loading, *loaded; /* for the hand-out */

    uint64_t fence;        /* nothing leaves before the job of this number is durable */
    struct cq_list parked; /* struct raft_parked */
    size_t parked_count;

    uint64_t floor; /* every member that the log is kept for has at least this */
    struct raft_hold holds[RAFT_MEMBERS_MAX];
    size_t hold_count;
    uint64_t trim_job; /* number of the job with a new marker, 0: none under way */
    uint64_t trim_index, trim_first;
    bool trimmed_told;
    bool behind;  /* the leader said so, and it has not been told on */
    bool damaged; /* a chunk did not read, and it has not been told on */

    enum raft_stand stand;
    uint64_t heard_ms; /* when a leader was last heard of */
    bool keep_log;     /* it is not trimmed */

    /* Leading. */
    struct raft_stream streams[RAFT_MEMBERS_MAX];
    size_t stream_count;
    bool commit_known; /* our commit index covers everything that was committed before us */
    struct raft_read *reads;
    size_t read_count, read_cap;
    bool reads_unsent;     /* some read has no round yet, or its round is overdue */
    bool reads_ask_all;    /* ... and all voters are to be asked */
    uint64_t asked_all_ms; /* when all voters were asked the last time */

    /* Told by role_changed. */
    enum raft_group_role told_role;
    uint64_t told_term, told_leader;
    uint64_t lead_term; /* the term in which the present leadership was noticed; 0: not leading */
    uint64_t timeout_ms;
    uint64_t silent_term;   /* nothing leaves while this is lead_term; 0: none */
    uint32_t held_back;     /* time-outs in a row at which a reluctant node did not stand */
    uint64_t hint_until_ms; /* after an unplanned end of the leader: elections in quick steps */
    uint32_t hint_rank;
};

/* ---- Peers (raft_peer.c) ---- */

struct raft_peer {
    struct raft_node node;
    char text[RAFT_NODE_TEXT_SIZE];
    bool connected;
    struct raft_wire_out control;
    struct cq_list ready; /* struct raft_stream */
    uint64_t flight_bytes;
    uint64_t window;      /* bytes that may be under way */
    uint64_t acked_bytes; /* since window_since */
    uint64_t window_since_ms;
    struct raft_wire_row *rows; /* of the read round that is being put together */
    size_t row_count, row_cap;
};

/* An output that is told at the flush. */
enum raft_event_told { TOLD_PROPOSAL, TOLD_READ };
struct raft_told {
    enum raft_event_told what;
    uint32_t group;
    uint64_t cookie;
    enum cq_rc rc;
    uint64_t index;
    bool has_leader;
    struct raft_node leader;
};

struct raft_host {
    struct raft_node self;
    char self_text[RAFT_NODE_TEXT_SIZE];
    struct raft_settings settings;
    struct raft_output output;
    uint64_t random;
    uint64_t now_us, now_ms;
    bool reluctant, full;

    struct raft_group **groups; /* ascending by number */
    size_t group_count, group_cap;
    struct raft_peer **peers;
    size_t peer_count, peer_cap;
    struct cq_list dirty; /* struct raft_group */

    struct raft_job *job; /* being put together; NULL: nothing yet */
    uint64_t next_job;    /* its number */
    uint64_t durable_job; /* all up to here are durable */
    uint64_t round;       /* last read round */
    uint64_t all_round;   /* the last one in which all voters of some group were asked; 0: answered, or none yet */
    struct raft_peer *quickest; /* the first to answer that: asked first from then on; NULL: not known yet */
    struct raft_wire_out append;
    struct raft_told *told;
    size_t told_count, told_cap;
    struct cq_pool *pool;     /* of one received frame */
    struct raft_load **loads; /* to be given out at the flush */
    size_t load_count, load_cap;
    size_t evict_at; /* group whose memory is looked at next */
};

/* raft_host.c */
struct raft_group *raft_host_find(const struct raft_host *host, uint32_t group);
void raft_host_dirty(struct raft_group *group);
struct raft_job *raft_host_job(struct raft_host *host); /* the one being put together */
void raft_host_tell(struct raft_host *host, const struct raft_told *told);
void raft_host_ask_load(struct raft_host *host, struct raft_load *load);

/* raft_peer.c */
struct raft_peer *raft_peer_get(struct raft_host *host, const struct raft_node *node); /* made when new */
struct raft_peer *raft_peer_find(const struct raft_host *host, const struct raft_node *node);
void raft_peer_free(struct raft_peer **peer);
/* Puts a message on the control channel, at once or behind the group's fence. */
void raft_peer_say(struct raft_group *group, struct raft_peer *peer, const struct raft_wire *message);
void raft_peer_unpark(struct raft_group *group);
void raft_peer_flush_control(struct raft_host *host, struct raft_peer *peer);

/* raft_step.c */
struct raft_step { /* one event for libraft, and what of ours belongs to it */
    struct raft_event event;
    const struct raft_entry *entries; /* of the event: libraft hands pointers into this array back */
    struct raft_item **items;         /* their octets, in the same order */
    unsigned count;
    uint64_t cookie; /* of the proposal */
};
/* libraft's result: not 0 means that it took nothing. The group may have failed in either case. */
int raft_group_step(struct raft_group *group, struct raft_step *step);
void raft_group_add_conf(struct raft_group *group, uint64_t index, struct cq_slice bytes);

/* raft_group.c */
struct raft_group *raft_group_new(struct raft_host *host, const struct raft_group_config *config);
enum cq_rc raft_group_start(struct raft_group *group, const struct raft_group_config *config, struct raft_boot *boot,
                            struct cq_err *err);
void raft_group_free(struct raft_group **group);
void raft_group_fail(struct raft_group *group, enum cq_rc rc, const char *why);
void raft_group_tick(struct raft_group *group);
void raft_group_receive(struct raft_group *group, struct raft_peer *from, const struct raft_wire *message);
enum cq_rc raft_group_propose(struct raft_group *group, struct raft_item *item, uint64_t cookie);
enum cq_rc raft_group_transfer(struct raft_group *group, uint64_t replica);
void raft_group_persisted(struct raft_group *group);
void raft_group_peer_gone(struct raft_group *group, const struct raft_node *node);
const struct raft_conf *raft_group_conf(const struct raft_group *group); /* latest; NULL: none yet */
bool raft_group_is_leader(const struct raft_group *group);
static inline bool raft_group_is_silent(const struct raft_group *group)
{
    return group->silent_term && group->silent_term == group->lead_term;
}
/* NULL: unknown. */
const struct raft_node *raft_group_leader(const struct raft_group *group);

/* raft_stream.c */
void raft_streams_start(struct raft_group *group);
void raft_streams_stop(struct raft_group *group);
struct raft_stream *raft_stream_of(struct raft_group *group, uint64_t replica);
/* libraft wants this append message sent. */
void raft_stream_append(struct raft_stream *stream, uint64_t prev, uint64_t prev_term, uint32_t count);
void raft_stream_result(struct raft_stream *stream, const struct raft_wire *result);
void raft_stream_loaded(struct raft_stream *stream, struct raft_load *load);
void raft_stream_lost(struct raft_stream *stream); /* nothing that is under way will arrive */
void raft_stream_tick(struct raft_stream *stream);
void raft_streams_unfenced(struct raft_group *group); /* the fence is open */
void raft_peer_flush_append(struct raft_host *host, struct raft_peer *peer);
void raft_peer_window_tick(struct raft_host *host, struct raft_peer *peer);

/* raft_commit.c */
void raft_commit_deliver(struct raft_group *group);
void raft_commit_fail_pending(struct raft_group *group);
void raft_commit_advance(struct raft_group *group, uint64_t commit);
/* The octets of a log entry from memory, or NULL. A new reference. */
struct raft_item *raft_item_at(const struct raft_group *group, uint64_t index, const struct raft_load *loaded);

/* raft_read.c */
enum cq_rc raft_read_add(struct raft_group *group, uint64_t cookie);
void raft_reads_fail(struct raft_group *group, enum cq_rc rc);
void raft_reads_tick(struct raft_group *group);
uint64_t raft_reads_ask_again_ms(const struct raft_group *group); /* UINT64_MAX: nobody waits for an answer */
void raft_reads_ask(struct raft_host *host);                      /* one round for all groups that need one */
void raft_reads_check(struct raft_group *group);                  /* which ones are confirmed now */
void raft_read_question(struct raft_host *host, struct raft_peer *from, const struct raft_wire *message);
void raft_read_answer(struct raft_host *host, struct raft_peer *from, const struct raft_wire *message);

/* raft_keep.c */
void raft_floor_update(struct raft_group *group);
/* The entry up to which holds let the log be trimmed. */
uint64_t raft_keep_limit(struct raft_group *group, uint64_t index);

/* raft_stand.c */
/* The time for an election has come: is it postponed? */
bool raft_stand_waits(struct raft_group *group);
/* The voter to which leadership may go (of this node, unless NULL), 0: there is none. */
uint64_t raft_stand_successor(struct raft_group *group, const struct raft_node *only);
uint8_t raft_stand_flags(enum raft_stand stand);
enum raft_stand raft_stand_of_flags(uint8_t flags);

/* raft_trim.c */
void raft_trim_consider(struct raft_group *group);
void raft_trim_durable(struct raft_group *group); /* the job with the marker is */
const struct raft_conf_at *raft_conf_at(const struct raft_group *group, uint64_t index); /* in force there; or NULL */

#endif
