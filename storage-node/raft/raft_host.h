/* The Raft host: all groups of one node, around libraft's step function. A pure, event-driven object of one thread: no
 * clock, no socket, no disk, no thread, no randomness but what is passed in. What it wants done comes out of
 * raft_host_flush() through a table of functions; the node and the simulator drive the same object files.
 *
 * The one thing to know: inputs only change memory. Call any number of them, then raft_host_flush() once: outputs
 * happen there and only there, in the order persist, send, commit, the rest. An output must not call an input; queue
 * what follows from it and do it after the flush.
 *
 * What is always true (docs/raft.md says why):
 *  - no frame of a group leaves before the term, vote and entries that it rests on are durable;
 *  - an entry that is durable on a replica has its bodies durable there;
 *  - commits of a group come in index order, without gaps, once per life of the process;
 *  - a read is confirmed only by a round that was sent after it arrived. */
#ifndef RAFT_HOST_H
#define RAFT_HOST_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "raft/raft_bytes.h"
#include "store/store.h"

struct raft_host;
struct raft_boot; /* what a group's replica had in the store when the process started */
struct raft_job;  /* what the writer must make durable */
struct raft_load; /* what somebody must read from the store */

/* ---- Names ---- */

/* A node, by the UUID in its data directory. In a group's configuration it stands as text (the member's address). */
struct raft_node {
    uint8_t uuid[16];
};
#define RAFT_NODE_TEXT_SIZE 37
void raft_node_text(const struct raft_node *node, char text_r[static RAFT_NODE_TEXT_SIZE]);
bool raft_node_parse(struct cq_slice text, struct raft_node *node_r); /* 36 characters, either case */
bool raft_node_eq(const struct raft_node *a, const struct raft_node *b);

enum raft_member_role { RAFT_MEMBER_VOTER, RAFT_MEMBER_STANDBY, RAFT_MEMBER_SPARE };
struct raft_member {
    uint64_t replica; /* from the system shard, never used again; not 0 */
    struct raft_node node;
    enum raft_member_role role;
};

/* ---- Limits (what a frame or a group may hold) and settings ---- */

#define RAFT_MEMBERS_MAX 16          /* of one group */
#define RAFT_FRAME_MAX (16u << 20)   /* bytes of a frame with its bodies; CQ_E_PROTO, the connection is closed */
#define RAFT_FRAME_MESSAGES_MAX 4096 /* messages in a frame */
#define RAFT_FRAME_ENTRIES_MAX 65536 /* entries in a frame */
#define RAFT_APPEND_ENTRIES_MAX 4096 /* entries in one append message */

struct raft_settings {
    uint32_t election_ms;       /* a follower that hears nothing stands after 1 to 2 of these: 1000 */
    uint32_t heartbeat_ms;      /* 100 */
    uint32_t read_timeout_ms;   /* an unconfirmed read fails after this: 1000 */
    uint64_t pending_bytes_max; /* of one group's proposals that are not committed: 32 MiB, then CQ_E_OVERLOADED */
    uint64_t window_bytes;      /* append bytes under way to one peer, at least: 1 MiB ... */
    uint64_t window_bytes_max;  /* ... and at most, when it takes more in 100 ms: 16 MiB */
    uint64_t cache_bytes_max;   /* entries and bodies kept in memory for followers: 64 MiB */
    uint64_t apply_bytes_max;   /* committed bytes of a group handed out and not yet applied: 16 MiB */
    uint32_t apply_entries_max; /* the same in entries: 4096 */
    uint32_t trim_entries;      /* the log is trimmed when so many entries are needed by nobody: 4096 */
    uint32_t trim_keep;         /* entries kept before the marker: 64 */
    /* What a leader keeps of its log for a member that is slow or away; beyond any of them it is left to re-seeding.
     * 0: for ever. */
    uint64_t keep_entries;
    uint64_t keep_bytes; /* of entries and their bodies */
    uint64_t keep_ms;    /* since it last took something */
};
void raft_settings_default(struct raft_settings *settings_r);

/* ---- Outputs ---- */

/* Votes, heartbeats, results and read rounds go on the control channel, entries on the append channel, each in order.
 * Two channels are two connections, so that bodies never delay a heartbeat. */
enum raft_channel { RAFT_CONTROL, RAFT_APPEND };

/* One frame: the octets of `head`, then those of the bodies. All of it is valid during the call only; whoever keeps a
 * body takes a reference to its owner. */
struct raft_frame {
    struct cq_slice head;
    const struct raft_body *bodies;
    size_t body_count;
    size_t size; /* of everything */
};

/* One committed entry. `entry` is empty for entries of Raft itself (a new leader's no-op, a configuration): the machine
 * applies them as nothing, so that its applied index has no gaps. Valid during the call; who keeps `entry` takes a
 * reference to `owner` (NULL when the entry is empty). */
struct raft_commit {
    uint32_t group;
    uint64_t index;
    uint64_t term;
    struct cq_slice entry;
    struct raft_bytes *owner;
    uint64_t cookie; /* of the proposal that this host made in this term; 0: none waits here */
};

enum raft_group_role { RAFT_GROUP_FOLLOWER, RAFT_GROUP_CANDIDATE, RAFT_GROUP_LEADER };
struct raft_role_change {
    uint32_t group;
    enum raft_group_role role;
    uint64_t term;
    const struct raft_node *leader; /* NULL: not known */
};

struct raft_output {
    void *ctx;
    void (*send)(void *ctx, const struct raft_node *to, enum raft_channel channel, const struct raft_frame *frame);
    /* Write raft_job_encode() with sync, in the order of these calls, then raft_host_persisted(). One job per flush at
     * most, for all groups; several may be under way. The job is the node's until then. */
    void (*persist)(void *ctx, struct raft_job *job);
    /* Run raft_load_run() on any thread, then raft_host_loaded(). */
    void (*load)(void *ctx, struct raft_load *load);
    void (*commit)(void *ctx, const struct raft_commit *commit);
    /* rc: CQ_E_UNKNOWN_OUTCOME (leadership was lost: it may still commit), CQ_E_NOT_LEADER (it was never in the log).
     * `leader` is a hint, NULL when unknown. */
    void (*proposal_failed)(void *ctx, uint32_t group, uint64_t cookie, enum cq_rc rc, const struct raft_node *leader);
    /* Serve the read once index is applied. */
    void (*read_ready)(void *ctx, uint32_t group, uint64_t cookie, uint64_t index);
    /* rc: CQ_E_NOT_LEADER, CQ_E_UNAVAILABLE (no majority answered in time). */
    void (*read_failed)(void *ctx, uint32_t group, uint64_t cookie, enum cq_rc rc, const struct raft_node *leader);
    void (*role_changed)(void *ctx, const struct raft_role_change *change);
    /* The log now starts at first_index, durably: what only older entries needed may go. Also once after start. */
    void (*trimmed)(void *ctx, uint32_t group, uint64_t first_index);
    /* The leader says that its log has no more what this replica needs next: it must be re-seeded. With each heartbeat.
     * May be NULL. */
    void (*behind)(void *ctx, uint32_t group);
    /* A chunk of the log that a follower needs does not read, or is not what its entry says: the follower must get it
     * from another leader. May be NULL. */
    void (*damaged)(void *ctx, uint32_t group);
    /* This replica has stopped: its state contradicts what the group committed, or its log is damaged. Its process and
     * the other groups go on. A person must look. */
    void (*group_failed)(void *ctx, uint32_t group, const struct cq_err *why);
};

/* ---- Life ---- */

/* The settings and outputs are copied. `random` seeds election time-outs. */
struct raft_host *raft_host_new(const struct raft_node *self, const struct raft_settings *settings,
                                const struct raft_output *output, uint64_t random, uint64_t now_us);
/* Jobs and loads that are under way stay the node's: raft_job_free(), raft_load_free(). Nothing is called. */
void raft_host_free(struct raft_host **host);

/* Writes the first records of a new group's replica into a batch; every initial replica gets the same members in the
 * same order. The batch must be synced before the group is opened. CQ_E_INVALID: members wrong (none, too many, twice
 * the same, this replica not among them). */
enum cq_rc raft_boot_write(struct store_batch *batch, uint32_t group, uint64_t replica,
                           const struct raft_member *members, size_t count, struct cq_err *err);

/* Reads what the store has of a replica: on any thread, before raft_host_add(). CQ_E_NOT_FOUND: nothing (a replica
 * that has never heard of its group); CQ_E_CORRUPT, CQ_E_VERSION, CQ_E_IO: do not start the replica. */
enum cq_rc raft_boot_read(struct store *store, uint32_t group, uint64_t replica, struct raft_boot **boot_r,
                          struct cq_err *err);
void raft_boot_free(struct raft_boot **boot);

/* ---- Taking a state over that was copied from another replica (re-seeding) ---- */

/* Where the copied state stands: after this entry, with the configuration that was in force there. */
struct raft_install {
    uint32_t group;
    uint64_t replica;
    uint64_t index, term;
    uint64_t conf_index;
    const struct raft_member *members;
    size_t member_count;
};
enum raft_install_log {
    RAFT_INSTALL_KEPT,    /* the log has that entry: it stays, with what follows it */
    RAFT_INSTALL_REPLACED /* it ends before, or contradicts: a log that begins after that entry takes its place */
};
/* Writes what makes the replica's log fit the state, into the batch that makes the state its own; the replica must not
 * be under a host, and all of its jobs must have been written. This is Raft's rule for a received snapshot: an entry
 * that the replica may have acknowledged after `index` stays. A replica id without a log gets a new one.
 * CQ_E_BEHIND: the log begins after the state, a younger one is needed; CQ_E_CORRUPT: the log does not read;
 * CQ_E_INVALID. */
enum cq_rc raft_boot_install(struct store *store, struct store_batch *batch, const struct raft_install *install,
                             enum raft_install_log *log_r, struct cq_err *err);

/* What a replica does beside acknowledging and voting, which it does in any case: its log and its votes are right. */
enum raft_stand {
    RAFT_STANDS,      /* for election, like any other */
    RAFT_STANDS_LAST, /* something of its state may be damaged: only when nobody else does for a long time */
    RAFT_SILENT       /* its state is not to be used: never, and it hands out no commits */
};

/* Everything that the log of a replica has, term and vote included, goes: for an id that never takes part again. */
void raft_boot_erase(struct store_batch *batch, uint32_t group, uint64_t replica);
/* A forced recovery: the replica takes part again although it may have forgotten a term and its vote in it. It begins
 * in a term so far above the last one it knows that no forgotten one is met again. CQ_E_NOT_FOUND, CQ_E_CORRUPT: its
 * log does not read, it cannot be taken back. */
enum cq_rc raft_boot_recover(struct store *store, struct store_batch *batch, uint32_t group, uint64_t replica,
                             struct cq_err *err);

struct raft_group_config {
    uint32_t group;
    uint64_t replica;
    uint64_t incarnation; /* of the group: part of its chunks' ids */
    uint64_t applied;     /* the machine's applied index: commits start after it; nothing when silent */
    enum raft_stand stand;
};
/* Takes the boot over (none: an empty new replica). CQ_E_EXISTS, CQ_E_CORRUPT (the applied index is not in the log). */
enum cq_rc raft_host_add(struct raft_host *host, const struct raft_group_config *config, struct raft_boot **boot,
                         struct cq_err *err);
/* Forgets a group (its records in the store stay). Pending proposals and reads fail. */
void raft_host_remove(struct raft_host *host, uint32_t group);

/* ---- Inputs ---- */

/* Monotonic time. Call when raft_host_next_us() has passed, and before other inputs after a pause. */
void raft_host_tick(struct raft_host *host, uint64_t now_us);
/* When the next tick is due. */
uint64_t raft_host_next_us(const struct raft_host *host);

/* A frame from a peer (head and bodies as one run of octets). Takes a reference of its own as long as it needs it.
 * CQ_E_PROTO, CQ_E_VERSION, CQ_E_CORRUPT: close the connection; nothing of the frame was taken. */
enum cq_rc raft_host_receive(struct raft_host *host, const struct raft_node *from, struct raft_bytes *frame,
                             struct cq_err *err);

/* Both channels to a peer are up / one of them has gone. planned: it said GOODBYE. An unplanned end makes the
 * designated next node of each group that the peer led stand at once. */
void raft_host_peer_connected(struct raft_host *host, const struct raft_node *node);
void raft_host_peer_gone(struct raft_host *host, const struct raft_node *node, bool planned);

/* The batch with the job is on stable storage. Jobs come back in their order. Takes the job. */
void raft_host_persisted(struct raft_host *host, struct raft_job *job);
void raft_host_loaded(struct raft_host *host, struct raft_load *load);

/* A proposal: the encoded entry (state/entry.h) and the octets of its chunks, in the order of its list; lengths and
 * hashes have been checked by the caller. References are taken. CQ_OK: exactly one of commit (with the cookie) and
 * proposal_failed follows. CQ_E_NOT_LEADER, CQ_E_OVERLOADED, CQ_E_UNAVAILABLE (no such group here, or it has failed),
 * CQ_E_INVALID (the bodies do not fit the entry): nothing follows. The cookie is not 0. */
struct raft_proposal {
    uint32_t group;
    struct raft_bytes *owner;
    struct cq_slice entry; /* inside owner */
    const struct raft_body *bodies;
    size_t body_count;
    uint64_t cookie;
};
enum cq_rc raft_host_propose(struct raft_host *host, const struct raft_proposal *proposal);

/* A linearizable read: CQ_OK and then exactly one of read_ready and read_failed; or CQ_E_NOT_LEADER, CQ_E_UNAVAILABLE,
 * CQ_E_OVERLOADED at once. */
enum cq_rc raft_host_read(struct raft_host *host, uint32_t group, uint64_t cookie);

/* How far the group's machine has applied (the hand-out of commits is held back by it), and how far its effects are in
 * the store durably (the log is never trimmed past that). */
void raft_host_applied(struct raft_host *host, uint32_t group, uint64_t index);
/* What is durable has been applied, whichever is said first. */
void raft_host_durable_applied(struct raft_host *host, uint32_t group, uint64_t index);

/* The log is kept from the entry after `index` on, here and (as far as this replica's floor reaches) by the others, for
 * a replica that is being re-seeded with the state at `index`: until it is a member that has that entry, or until
 * raft_host_release(). One hold per replica. CQ_E_BEHIND: the log begins later already; CQ_E_NOT_LEADER,
 * CQ_E_UNAVAILABLE, CQ_E_LIMIT. */
enum cq_rc raft_host_hold(struct raft_host *host, uint32_t group, uint64_t replica, uint64_t index);
void raft_host_release(struct raft_host *host, uint32_t group, uint64_t replica);

/* The configuration that was in force at a committed index: its members (at most max are filled, the number of all is
 * returned; 0: not known here any more, or no such group) and the index of its entry. */
size_t raft_host_conf_at(const struct raft_host *host, uint32_t group, uint64_t index, uint64_t *conf_index_r,
                         struct raft_member *members_r, size_t max);

/* Proposes another configuration: a leader only, one change at a time: one member more, one less, or another role of
 * one. CQ_OK: it is in the log, and in force for elections and commits; status.conf_committed tells when it is
 * committed. A replica that is removed is not told. CQ_E_NOT_LEADER, CQ_E_UNAVAILABLE, CQ_E_CONFLICT (the last change
 * is not committed yet), CQ_E_INVALID (more than one change, no voter left, this leader itself, a node twice). */
enum cq_rc raft_host_reconfigure(struct raft_host *host, uint32_t group, const struct raft_member *members,
                                 size_t count);
/* What a member has durably, as the leader knows it; 0: nothing, or not known. */
uint64_t raft_host_match(const struct raft_host *host, uint32_t group, uint64_t replica);

/* How far the members of the latest configuration are, as the leader knows it; at most max are filled, the number of
 * all is returned; 0: this replica does not lead. */
struct raft_progress {
    struct raft_member member;
    uint64_t match; /* has this durably; 0: nothing, or not known */
    bool self;      /* the leader */
    bool connected; /* its node is; the leader's own is */
    bool behind;    /* needs what the log has no more */
};
size_t raft_host_progress(const struct raft_host *host, uint32_t group, struct raft_progress *progress_r, size_t max);

/* Would the voters of a configuration whose members are these have a majority of replicas that are connected and lack
 * no more than `near` entries of a log that ends at `last`? Pure. */
bool raft_progress_has_majority(const struct raft_progress *progress, size_t count, uint64_t last, uint64_t near);

/* Makes the replica stand less than it does; more only by taking it out and adding it again. One that leads goes on
 * leading until it has handed over (a silent one refuses proposals and reads). */
void raft_host_stand(struct raft_host *host, uint32_t group, enum raft_stand stand);
/* The replica's own log is not trimmed (true): the copy that will take its state's place must find its entry. */
void raft_host_keep_log(struct raft_host *host, uint32_t group, bool keep);

/* Hands leadership over; `to` NULL: to the voter that is furthest, sound ones first. CQ_E_NOT_LEADER, CQ_E_NOT_FOUND
 * (no such voter, it is not connected, or it stands no more than this replica). The attempt ends by itself after one
 * election time-out; proposals fail with CQ_E_NOT_LEADER meanwhile. */
enum cq_rc raft_host_transfer(struct raft_host *host, uint32_t group, const struct raft_node *to);

/* This node is in trouble of its own (its disk): its replicas take no leadership that is handed to them and stand last,
 * when there has been no leader for RAFT_RELUCTANT_TIMES election time-outs. They vote and follow as ever. Always safe:
 * it is only a time-out that comes late. */
#define RAFT_RELUCTANT_TIMES 4
void raft_host_reluctant(struct raft_host *host, bool reluctant);

/* A leader that could not hand over says nothing more in this group until it has lost its leadership, so that the
 * others notice. Nothing when it does not lead. */
void raft_host_silence(struct raft_host *host, uint32_t group);

/* This node's disk is full: its replicas take no entries as followers (votes and heartbeats go on), and are behind. */
void raft_host_full(struct raft_host *host, bool full);

/* From now on logs are trimmed when so many entries are needed by nobody; settings.trim_entries and trim_keep come from
 * here. */
void raft_host_trim_at(struct raft_host *host, uint32_t entries, uint32_t keep);

/* Does everything that the inputs have led to. */
void raft_host_flush(struct raft_host *host);

/* ---- Jobs and loads (any thread) ---- */

void raft_job_encode(const struct raft_job *job, struct store_batch *batch);
size_t raft_job_bytes(const struct raft_job *job);
void raft_job_free(struct raft_job **job); /* for a host that has gone; otherwise raft_host_persisted() takes it */

void raft_load_run(struct raft_load *load, struct store *store);
void raft_load_free(struct raft_load **load);

/* ---- Looking ---- */

struct raft_group_status {
    enum raft_group_role role;
    bool failed;
    uint64_t term;
    uint64_t replica;
    uint64_t first_index, last_index; /* of the log; first > last: empty */
    uint64_t stored_index;            /* durable here */
    uint64_t commit_index;
    uint64_t floor; /* every replica has at least this */
    uint64_t pending_bytes;
    bool has_leader;
    struct raft_node leader;
    bool conf_committed; /* the latest configuration is */
    enum raft_stand stand;
    uint64_t log_bytes;         /* of the entries in the log, with their bodies */
    uint64_t slowest_lag;       /* leader: entries that the slowest member lacks */
    uint64_t slowest_lag_bytes; /* their octets, with bodies; of those that the log still has */
    uint32_t holds;             /* leader: replicas for which the log is held because they are re-seeded */
    uint32_t behind;            /* leader: members that are behind the start of the log and need re-seeding */
};
/* CQ_E_NOT_FOUND. */
enum cq_rc raft_host_status(const struct raft_host *host, uint32_t group, struct raft_group_status *status_r);
/* The leader that this replica knows of: the hint that goes with CQ_E_NOT_LEADER. */
bool raft_host_leader(const struct raft_host *host, uint32_t group, struct raft_node *leader_r);
/* Members of the latest configuration (committed or not); at most max are filled, the number of all is returned. */
size_t raft_host_members(const struct raft_host *host, uint32_t group, struct raft_member *members_r, size_t max);

#endif
