/* How far a replica's re-seeding has come: one record a group in STORE_LOCAL (docs/formats/local.md, kind `r`), written
 * in the batch of what it speaks of, so a process that dies goes on where its store is. */
#ifndef RESEED_RECORD_H
#define RESEED_RECORD_H

#include "reseed/reseed_page.h"
#include "store/store.h"

enum reseed_phase {
    RESEED_CHUNKS = 1,    /* phase one: chunks, up to the cursor */
    RESEED_SUMMARIES = 2, /* phase one: summaries, up to the cursor */
    RESEED_STATE = 3,     /* phase two, from one snapshot: begins again after a stop */
    RESEED_CLEANUP = 4    /* the flip is done: the old generation, and chunks that nothing refers to, are removed */
};

/* What is known to be wrong with the replica that is replaced. The numbers stand in the record. */
enum reseed_suspect {
    SUSPECT_NONE = 0,
    SUSPECT_STATE = 1, /* its state as a whole is not to be used: it does not open, or is not what others have */
    SUSPECT_PARTS = 2  /* some records or chunks do not read: that shows when they are met, the rest is right */
};

struct reseed_record {
    uint32_t group;
    enum reseed_phase phase;
    enum reseed_suspect suspect; /* not 0: nothing that is here is trusted, every chunk is compared */
    uint32_t old_generation;     /* 0: none */
    uint32_t generation;         /* that is being made */
    uint64_t replica;            /* whose it will be */
    uint64_t base_index;         /* chunks of entries up to here are here and sound; 0 when suspect */
    uint64_t base_term;
    uint64_t index, term; /* of the flip; with RESEED_CLEANUP */
    struct reseed_cursor cursor;
};

void reseed_record_put(struct store_batch *batch, const struct reseed_record *record);
void reseed_record_delete(struct store_batch *batch, uint32_t group);
/* CQ_E_NOT_FOUND: the group is not being re-seeded. CQ_E_CORRUPT, CQ_E_VERSION, CQ_E_IO. */
enum cq_rc reseed_record_read(struct store *store, uint32_t group, struct reseed_record *record_r, struct cq_err *err);

#endif
