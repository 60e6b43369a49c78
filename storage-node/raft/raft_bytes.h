/* Octets that never change and that several owners share: a received frame, a body on its way from a client to the
 * disk and to the followers. Counted atomically: any thread may hold, take and drop references. */
#ifndef RAFT_BYTES_H
#define RAFT_BYTES_H

#include "base/cq_slice.h"

struct raft_bytes;

/* One reference. *data_r is where to write the octets, before the first other reference is taken. */
struct raft_bytes *raft_bytes_new(size_t len, uint8_t **data_r);
struct raft_bytes *raft_bytes_copy(struct cq_slice octets);
/* Takes over memory that free() frees. */
struct raft_bytes *raft_bytes_adopt(void *data, size_t len);

struct raft_bytes *raft_bytes_ref(struct raft_bytes *bytes); /* NULL is fine */
void raft_bytes_unref(struct raft_bytes **bytes);            /* the last one frees; *bytes becomes NULL */
struct cq_slice raft_bytes_slice(const struct raft_bytes *bytes);

/* A part of shared octets: one chunk of a body. */
struct raft_body {
    struct raft_bytes *owner;
    struct cq_slice octets; /* inside owner */
};

#endif
