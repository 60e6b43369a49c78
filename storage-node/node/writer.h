/* The log writer: the one thread that writes to the node's store. It drains everything that has piled up, of all
 * groups, into one batch and writes it once: one fsync pays for many commits. Batching is nothing but what arrived
 * during the previous fsync.
 *
 * What is always true: items are written in the order of writer_add(); a batch is atomic; a batch with one item that
 * asks for it is synced, and then everything before it is durable too; callbacks come in the order of the items.
 *
 * A write that fails is never tried again: `fatal` is called, which ends the process (nothing that was written since
 * the last sync can be relied on). */
#ifndef WRITER_H
#define WRITER_H

#include "base/cq_metrics.h"
#include "store/store.h"

struct writer;
struct writer_item;

/* One kind of item. All are called on the writer's thread, briefly and never waiting. */
struct writer_item_ops {
    /* Adds what it has to the batch. */
    void (*encode)(struct writer_item *item, struct store_batch *batch);
    /* The batch with it has been written: readers of the store see it. Without sync it may still be lost. May be NULL.
     */
    void (*written)(struct writer_item *item);
    /* It is on stable storage, by its own batch or a later one; `written` came before. The item is its owner's again.
     */
    void (*durable)(struct writer_item *item);
};

/* Embedded in what is written. */
struct writer_item {
    const struct writer_item_ops *ops;
    bool sync;                /* must be durable before anybody hears of it: log records */
    bool lazy;                /* nobody waits: it goes with the next batch, or by itself after WRITER_LAZY_MS */
    struct writer_item *next; /* the writer's until durable() */
};

#define WRITER_BATCH_MAX (32u << 20) /* bytes in one batch; an item is never divided */
#define WRITER_BATCH_ITEMS 8192      /* items in one batch */
#define WRITER_UNSYNCED_MAX 1024     /* written items that wait for a sync: then it is made without being asked for */
#define WRITER_LAZY_MS 20            /* how long lazy items wait for a batch to go with */
#define WRITER_LAZY_ITEMS 256        /* so many do not wait longer */

struct writer_config {
    struct store *store;
    /* Logs and ends the process; when it returns (tests), the writer has stopped and takes nothing more. */
    void (*fatal)(void *ctx, const struct cq_err *err);
    /* A synced write has returned, nothing has been written after it. On the writer's thread. May be NULL. */
    void (*synced)(void *ctx);
    void *ctx;
};

/* Starts the thread. */
struct writer *writer_new(const struct writer_config *config);

/* Any thread; never waits. The writer is the item's owner until its durable(). */
void writer_add(struct writer *writer, struct writer_item *item);

/* Writes what is there, with a final sync, ends the thread and frees. Nobody may add any more. */
void writer_free(struct writer **writer);

/* How the disk answers, for who watches it (disk_pulse.h). Any thread. */
struct writer_pulse {
    uint64_t busy_since_us;  /* monotonic: of the write that is under way; 0: none */
    uint64_t syncs, sync_us; /* all synced writes so far, and the time they took together */
};
void writer_pulse(struct writer *writer, struct writer_pulse *pulse_r);

/* Items that wait for their batch. Any thread. */
size_t writer_queue_length(struct writer *writer);

/* chasqui_wal_fsync_duration_seconds, chasqui_writer_*: register before threads. */
enum writer_metric { WRITER_M_FSYNC, WRITER_M_WRITE, WRITER_M_BATCH_BYTES, WRITER_M_BATCH_ITEMS, WRITER_M_ROWS };
extern struct cq_metrics writer_metrics;

#endif
