/* A shard in a test: a log of entries and one or more replicas of its state machine, each over its own store in memory.
 * Replica 0 applies at once; the others when told. A replica can lose its power and go on from what its store kept. */
#ifndef SHARD_H
#define SHARD_H

#include "base/cq_pool.h"
#include "proto/mail.pb-c.h"
#include "state/mail_machine.h"
#include "store/store_mem.h"

#define SHARD_START_US UINT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define SHARD_INCARNATION 77

struct shard;

struct shard *shard_new(unsigned replicas);
void shard_free(struct shard **shard);

/* All slots, map epoch 1: what most tests begin with. */
void shard_own_all(struct shard *shard);

struct shard_call {
    uint32_t method;
    uint64_t account;
    const ProtobufCMessage *message;
    struct cq_slice raw;
    /* Left 0: client 1, the next sequence of that client, everything before it done, the present stamp. */
    uint8_t client;
    uint64_t sequence, done, stamp;
    bool no_done, no_stamp; /* 0 is meant */
    uint64_t min_modseq, incarnation;
    uint16_t version; /* of the command; 0: COMMAND_VERSION_FIRST */
};

/* Cuts raw, makes the entry, appends it to the log, applies it on replica 0. The outcome's bytes live until the next
 * call. A failure before proposing is the outcome's rc (nothing is in the log then). */
struct machine_outcome shard_run(struct shard *shard, const struct shard_call *call);
/* Any bytes as the next entry. */
struct machine_outcome shard_run_bytes(struct shard *shard, struct cq_slice entry);

/* The outcome's reply, unpacked into the shard's pool; NULL when there is none. */
const void *shard_reply(struct shard *shard, const struct machine_outcome *outcome,
                        const ProtobufCMessageDescriptor *type);
const Chasqui__Mail__Answer *shard_answer(struct shard *shard, const struct machine_outcome *outcome);

/* A read on a replica. *raw_r may be NULL. */
enum cq_rc shard_read(struct shard *shard, unsigned replica, uint32_t method, uint64_t account,
                      const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type, const void **reply_r,
                      struct cq_slice *raw_r);
enum cq_rc shard_read_body(struct shard *shard, unsigned replica, uint64_t account, uint64_t email, uint64_t offset,
                           uint32_t length, struct cq_slice *octets_r);

/* In the next shard_read_body only: when the machine has named the chunks and none of them is read yet. */
void shard_before_chunks(struct shard *shard, void (*between)(struct shard *shard));
struct cq_pool *shard_pool(struct shard *shard); /* cleared by each call of shard_run and shard_read */
struct machine *shard_machine(struct shard *shard, unsigned replica);
struct store *shard_store(struct shard *shard, unsigned replica);
struct cq_err *shard_err(struct shard *shard); /* of the last read */

uint64_t shard_time(const struct shard *shard);
void shard_advance(struct shard *shard, uint64_t us);
uint64_t shard_last_index(const struct shard *shard);
/* The entry at an index (1 .. last). */
struct cq_slice shard_entry(const struct shard *shard, uint64_t index);

/* Applies up to and with this index on a replica; outcomes are compared with replica 0's: false when one differs. */
bool shard_catch_up(struct shard *shard, unsigned replica, uint64_t index);
/* Writes what has been applied; a later crash may lose it unless it is synced. */
void shard_write(struct shard *shard, unsigned replica, bool sync);
/* What has been applied is written, then the replica is opened again by a build that knows versions up to `known`. Not
 * CQ_OK: it refuses (shard_err), and the replica is as it was. */
enum cq_rc shard_build(struct shard *shard, unsigned replica, uint16_t known);
/* Takes the effects without writing them yet: the overlay serves them. shard_write() then writes them first. */
void shard_take(struct shard *shard, unsigned replica);
/* Power off and on: of the writes that were not synced the oldest `keep` per mille survive. */
void shard_crash(struct shard *shard, unsigned replica, unsigned keep_permille);

/* The log as a golden file (tests/golden/README.md), and a replay of one on a machine of its own: false when an outcome
 * or the digest at the end is another one than when it was saved; *at_r is the index. */
bool shard_save_log(struct shard *shard, const char *path);
bool shard_replay_log(const char *path, uint64_t *at_r);

#endif
