/* What the files reseeder*.c share. */
#ifndef RESEEDER_PRIVATE_H
#define RESEEDER_PRIVATE_H

#include "io/io_fiber.h"
#include "node/node.h"
#include "node/reseeder.h"
#include "reseed/reseed_copy.h"

enum reseed_show { SHOW_NOTHING, SHOW_WAITING, SHOW_CHUNKS, SHOW_SUMMARIES, SHOW_STATE, SHOW_CLEANUP };

enum reseeder_metric_row {
    RM_RUNNING,
    RM_WAITING,
    RM_SESSIONS,
    RM_ATTEMPTS,
    RM_BYTES,
    RM_SECONDS,
    RM_REMOVED,
    RM_ROWS
};

/* One group's place; the loop's own. */
struct reseed_slot {
    bool running, unfinished; /* unfinished: a clean-up is to be done */
    bool forced;              /* what runs is a forced recovery */
    uint64_t not_before_us;
    struct io_fiber_ref fiber;
};

struct reseeder {
    struct reseeder_config config;
    struct io_loop *loop;
    struct io_timer look;
    pthread_t thread;
    bool started, stopped;
    unsigned running;
    uint64_t tokens_us; /* the bandwidth is used up to this moment */
    struct reseed_slot at[GROUPS_MAX];
    struct io_fiber_ref strays; /* reseeder_strays.c */
    bool straying;
    unsigned fetching; /* reseeder_fetch.c */
    uint64_t stray_not_before_us[GROUPS_MAX];
    uint64_t begun[GROUPS_MAX]; /* id of a replica that was being made when the process stopped; 0: none */
};

struct attempt {
    struct reseeder *reseeder;
    struct node *node;
    struct group *group;
    enum reseed_suspect suspect;
    bool lost; /* there was nothing before */
    uint64_t began_us;
    struct reseed_target target;
    struct reseed_offer offer;
    bool digest; /* the copy's was not the source's */
    struct rpc_client *client;
};

void reseeder_show(struct group *group, enum reseed_show show);

/* ---- reseeder_ask.c: on the attempt's fiber ---- */
enum cq_rc reseeder_find_source(struct attempt *a, struct cq_err *err);
enum cq_rc reseeder_ask(void *attempt, const struct reseed_question *question, struct reseed_answer *answer,
                        struct cq_err *err);
/* This node's replica is a member of the group, with a vote if that is said, and no other of this node is. */
enum cq_rc reseeder_join(struct attempt *a, bool vote, struct cq_err *err);
/* The id that the replica will have: the record's, or a new one of the system shard's. */
enum cq_rc reseeder_take_id(struct attempt *a, struct cq_err *err);
/* The shard map names this replica. */
enum cq_rc reseeder_tell_map(struct attempt *a, struct cq_err *err);
void reseeder_close_session(struct attempt *a, bool flipped);
/* Chunks by name from any replica; the rows go to page. */
#define FETCHES_MAX 16 /* bodies that are fetched at the same time; more are not */
enum cq_rc reseeder_pick(struct attempt *a, const char *address, struct cq_slice names, struct cq_buf *page,
                         struct cq_err *err);

/* ---- reseeder_flip.c ---- */
/* Through the writer; returns when it is written, or durable. */
enum cq_rc reseeder_write(struct attempt *a, struct store_batch *batch, bool sync, struct cq_err *err);
enum cq_rc reseeder_write_page(void *attempt, struct store_batch *batch, struct cq_err *err);
/* A suspect replica hands its leadership over. CQ_E_UNAVAILABLE: there is nobody better. */
enum cq_rc reseeder_hand_over(struct attempt *a, uint64_t ms, struct cq_err *err);
/* The replica's own log stays as it is, or may be trimmed again. */
void reseeder_keep_log(struct attempt *a, bool keep);
/* The replica under its former id is under Raft again, as the store has it. */
enum cq_rc reseeder_take_back(struct attempt *a, struct cq_err *err);
enum cq_rc reseeder_flip(struct attempt *a, struct cq_err *err);
void reseeder_compact_begin(struct attempt *a, const struct reseed_record *record);
void reseeder_compact(struct attempt *a);

/* ---- reseeder_strays.c ---- */
void reseeder_strays(void *reseeder); /* a fiber: as long as the loop turns */

#endif
