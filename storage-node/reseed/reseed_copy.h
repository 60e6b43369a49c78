/* The whole copying, from wherever it stands to the moment before the flip, as straight-line code around a table of
 * functions: the node asks over RPC on a fiber, tests ask the source's functions directly. */
#ifndef RESEED_COPY_H
#define RESEED_COPY_H

#include "reseed/reseed_target.h"

enum reseed_question_kind {
    RESEED_ASK_CHUNKS,
    RESEED_ASK_HASHES,
    RESEED_ASK_SUMMARIES,
    RESEED_ASK_OPEN, /* one snapshot: the offer */
    RESEED_ASK_STATE,
    RESEED_ASK_NAMED
};

/* What the source's snapshot is: where it stands, and the configuration in force there. */
struct reseed_offer {
    uint64_t session; /* not 0 */
    struct db_mark mark;
    uint64_t conf_index;
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t member_count;
};

struct reseed_question {
    enum reseed_question_kind kind;
    uint64_t session; /* 0: what is there now */
    const struct reseed_cursor *from;
    struct cq_slice names;
};
struct reseed_answer {
    struct cq_buf page; /* emptied before each question; at most RESEED_PAGE_MAX */
    struct reseed_cursor next;
    bool done;
    size_t taken; /* of the names */
    struct reseed_offer offer;
};

struct reseed_io {
    void *ctx;
    /* Whatever it returns ends the copying. */
    enum cq_rc (*ask)(void *ctx, const struct reseed_question *question, struct reseed_answer *answer,
                      struct cq_err *err);
    /* A recorder (store.h). Written when it returns: store_get() sees it. Batches are written in order. */
    enum cq_rc (*write)(void *ctx, struct store_batch *batch, struct cq_err *err);
};

/* CQ_OK: everything is here and checked against *offer_r; reseed_flip() may follow, as long as the session lasts.
 * CQ_E_CORRUPT: what was copied is not what the source says it has; *digest_r tells whether it was the digest. Any
 * error: begin again with reseed_begin(), it goes on with what phase one has. */
enum cq_rc reseed_copy(struct reseed_target *target, const struct reseed_io *io, struct reseed_offer *offer_r,
                       bool *digest_r, struct cq_err *err);

#endif
