/* What the files of the system machine share. */
#ifndef SYSTEM_PRIVATE_H
#define SYSTEM_PRIVATE_H

#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "state/entry.h"
#include "state/state_db.h"
#include "system/system_machine.h"

/* Kinds of keys in group 0, all under account 0 (docs/formats/system.md). */
enum { SYSTEM_KEY_HEADER = 'H', SYSTEM_KEY_TOPOLOGY = 'Y', SYSTEM_KEY_OVERRIDE = 'V' };

#define SYSTEM_FORMAT 1
#define SYSTEM_ALLOCATE_MAX 4096

struct system_header {
    uint64_t time;         /* entry time, us */
    uint64_t next_replica; /* the next id that is given away */
};

struct system_machine {
    struct machine base;
    struct machine_config config;
    struct state_db *db;
    struct system_header header;
    const struct topology *topology;
};

/* One command while it is applied. */
struct system_apply {
    struct system_machine *m;
    struct cq_pool *pool;
    struct cq_err *err;
    struct system_header header;   /* as it will be */
    const struct topology *before; /* borrowed */
    struct topology plain;         /* as it will be: arrays of `before`, or new ones in the pool */
};

/* Runs the command of an entry on a->header and a->plain; the reply's bytes go to *reply_r, in the pool. */
enum cq_rc system_command_run(struct system_apply *a, uint32_t method, struct cq_slice body, struct cq_slice *reply_r);

/* ---- Parts of commands (system_commands.c) ---- */
enum cq_rc system_need_cluster(struct system_apply *a); /* CQ_E_UNAVAILABLE before there is one */
/* A copy of a->plain's nodes that may be changed, with room for one more. */
struct topology_node *system_own_nodes(struct system_apply *a);

/* ---- system_moves.c ---- */
typedef enum cq_rc system_command_fn(struct system_apply *a, const ProtobufCMessage *message, struct cq_slice *reply_r);
system_command_fn system_prefer_leader, system_join_node, system_drain_node, system_decommission_node,
    system_move_shard, system_cancel_moves, system_step_move;
/* The shard's replicas have changed otherwise: moves of those that came back under another id go on with it. */
void system_moves_follow(struct system_apply *a, const struct topology_shard *was, const struct topology_shard *is);

/* protobuf-c with the pool as its memory. */
ProtobufCAllocator system_allocator(struct cq_pool *pool);
struct cq_slice system_pack(struct cq_pool *pool, const ProtobufCMessage *message);

/* ---- system_records.c ---- */
void system_save(struct system_machine *m, const struct topology *before, const struct topology *after);
void system_save_header(struct system_machine *m);
enum cq_rc system_load(struct system_machine *m, struct cq_err *err);

#endif
