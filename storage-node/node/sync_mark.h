/* How far the store has once been durable: a small file beside it (docs/formats/data-dir.md, `synced`). A store that
 * comes back with less has forgotten what its replicas have promised: a disk that lied, an older copy, a log that was
 * cut.
 *
 * What is always true: the file is never ahead of the store's log, because it is written after a sync has returned; it
 * may be behind it by SYNC_MARK_MS and one write. What is lost within that time is not noticed. */
#ifndef SYNC_MARK_H
#define SYNC_MARK_H

#include "base/cq_err.h"

#include <stdint.h>

#define SYNC_MARK_MS 10 /* between two writes of the file */

struct sync_mark;

/* The sequence in the file; 0: there is none. CQ_E_CORRUPT: no copy in it reads, CQ_E_VERSION, CQ_E_IO. */
enum cq_rc sync_mark_read(const char *path, uint64_t *sequence_r, struct cq_err *err);

/* Opens or makes the file, and starts the thread that writes it. */
struct sync_mark_config {
    const char *path; /* copied */
    /* The file cannot be written: as for a failed write of the store. */
    void (*fatal)(void *ctx, const struct cq_err *err);
    void *ctx;
};
enum cq_rc sync_mark_open(const struct sync_mark_config *config, struct sync_mark **mark_r, struct cq_err *err);

/* A sync of everything up to `sequence` has returned. From one thread, without waiting. */
void sync_mark_synced(struct sync_mark *mark, uint64_t sequence);

/* Writes what the file does not say yet, and ends the thread. */
void sync_mark_free(struct sync_mark **mark);

#endif
