/* The store in memory: ordered tables with exactly the promises of a write-ahead log, so that tests can take the power
 * away. A write with sync=false may be lost by a crash, from the tail in the order of writing: everything up to the
 * last sync stays, and of the batches after it the oldest `keep` stay. A batch is kept or lost as a whole.
 *
 * Safe to use from several threads, like the real one. Deterministic: no clock, no randomness. */
#ifndef STORE_MEM_H
#define STORE_MEM_H

#include "store/store.h"

struct store *store_mem_new(void);

/* Makes everything that has been written durable, as a store_write(sync=true) does. A simulator that lets a sync take
 * time writes with sync=false first and calls this when the time has passed. */
void store_mem_sync(struct store *store);

/* Batches written since the last sync. */
size_t store_mem_unsynced(struct store *store);

/* Takes the power away and brings it back: the oldest `keep` (<= store_mem_unsynced()) of the batches that were not
 * synced survive, the later ones never happened; what survived is durable. No iterator, snapshot may be open. A killed
 * process loses nothing that it wrote: for that, close what uses the store and go on with the same store. */
void store_mem_crash(struct store *store, size_t keep);

/* The n-th write from now (1: the next one) and all after it fail with CQ_E_IO and change nothing; 0: none does. */
void store_mem_fail_write(struct store *store, uint64_t n);

/* Flips one bit of a stored value (byte `at`, modulo its length). False: there is no such key, or its value is empty.
 */
bool store_mem_corrupt(struct store *store, enum store_family family, struct cq_slice key, size_t at);

/* Successful writes, those with sync, and keys that exist now. */
struct store_mem_counts {
    uint64_t writes;
    uint64_t syncs;
    uint64_t keys[STORE_FAMILY_COUNT];
};
void store_mem_counts(struct store *store, struct store_mem_counts *counts_r);

#endif
