/* The log entry of a group: what a leader proposes, what stands in the log (docs/formats/log.md wraps it) and what
 * apply is a function of. Written byte by byte in docs/formats/entry.md.
 *
 * The bodies that an entry carries are not in it: they are chunks beside it, in the same synced batch (family
 * STORE_CHUNK) and in the same AppendEntries frame. The entry has each chunk's length and hash; whoever writes or
 * receives a chunk checks them first. A chunk's id is made by the log: (group incarnation, term, index, ordinal), where
 * the ordinal is its place in the entry's list. */
#ifndef ENTRY_H
#define ENTRY_H

#include "base/cq_buf.h"
#include "base/cq_hash.h"
#include "base/cq_limits.h"
#include "base/cq_pool.h"

/* clang-format off */
#define ENTRY_LIMITS(X)                                                                                                \
    X(ENTRY_MAX, 1u << 20, "bytes", "A log entry with its chunk list, without its chunks", "CQ_E_TOO_BIG")             \
    X(ENTRY_CHUNK_MAX, 512u << 10, "bytes", "One chunk of a body", "CQ_E_TOO_BIG")                                     \
    X(ENTRY_CHUNKS_MAX, 5000, "chunks", "Chunks that one entry carries", "CQ_E_LIMIT")                                 \
    X(ENTRY_CHUNK_BYTES_MAX, 1u << 20, "bytes", "All chunks of one entry together", "CQ_E_TOO_BIG")
/* clang-format on */
CQ_LIMITS_ENUM(ENTRY_LIMITS);

#define ENTRY_FORMAT 1
#define ENTRY_HEAD 88      /* bytes before the chunk list */
#define ENTRY_CHUNK_REF 20 /* bytes of one row of the chunk list */
#define ENTRY_TAIL 8       /* the checksum */

/* Times in entries are below this (microseconds since 1970): arithmetic on them cannot overflow. */
#define ENTRY_TIME_END (UINT64_C(1) << 62)

struct entry_chunk {
    uint32_t length; /* 1 .. ENTRY_CHUNK_MAX */
    struct cq_hash128 hash;
};

struct entry {
    uint16_t version; /* command version: which version of what apply does (command_version.h) */
    uint16_t method;  /* enum Method of proto/mail.proto or proto/system.proto */
    uint64_t account; /* 0: the group itself */
    uint64_t time;    /* us: the larger of the group's previous entry time and the leader's clock */

    /* From the Call: who asks, which request, what it has seen. All 0 in an entry that a leader proposes itself. */
    uint8_t client[16];
    uint64_t sequence, done, stamp;
    uint64_t min_modseq, incarnation;

    const struct entry_chunk *chunks;
    size_t chunk_count;
    struct cq_slice body; /* the Call's body, as received */
};

/* Appends the encoded entry. CQ_E_TOO_BIG when it would pass ENTRY_MAX or its chunks ENTRY_CHUNK_BYTES_MAX, CQ_E_LIMIT
 * for too many chunks or a chunk's length out of bounds; then out is as it was. */
enum cq_rc entry_encode(const struct entry *entry, struct cq_buf *out, struct cq_err *err);

/* Decodes exactly `bytes`: chunks live in the pool, body points into bytes. CQ_E_VERSION for a format that this build
 * does not know, CQ_E_CORRUPT for anything else that entry_encode does not make. */
enum cq_rc entry_decode(struct cq_slice bytes, struct cq_pool *pool, struct entry *entry_r, struct cq_err *err);

/* The chunk's key in STORE_CHUNK: incarnation u64, term u64, index u64, ordinal u32, all big-endian. */
#define CHUNK_KEY_SIZE 28
struct chunk_id {
    uint64_t incarnation, term, index;
    uint32_t ordinal;
};
void chunk_key(const struct chunk_id *id, uint8_t key_r[static CHUNK_KEY_SIZE]);
/* False unless key is CHUNK_KEY_SIZE bytes. */
bool chunk_key_parse(struct cq_slice key, struct chunk_id *id_r);

#endif
