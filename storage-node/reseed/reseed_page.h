/* What travels when a replica is re-seeded: pages of rows, and where the next page begins (docs/formats/reseed.md).
 * Pure. A page comes from another node: nothing in it is believed before it was checked. */
#ifndef RESEED_PAGE_H
#define RESEED_PAGE_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "base/cq_hash.h"
#include "state/state_key.h"

#define RESEED_PAGE_BYTES (1u << 20) /* a page is full then; the row that fills it may pass this */
#define RESEED_PAGE_MAX (6u << 20)   /* bytes of a page */
#define RESEED_KEY_MAX STATE_KEY_MAX
#define RESEED_VALUE_MAX (4u << 20)

enum reseed_row_kind {
    RESEED_CHUNK = 1,        /* chunk key, octets */
    RESEED_CHUNK_HASH = 2,   /* chunk key, RESEED_CHUNK_HASH_SIZE bytes */
    RESEED_RECORD = 3,       /* a state record: its key without group and generation, its value as stored */
    RESEED_SUMMARY_HASH = 4, /* a summary's key, the 16 bytes that the digest counts */
    RESEED_NAME_CHUNK = 5,   /* asks for a chunk: its key, nothing */
    RESEED_NAME_RECORD = 6,  /* asks for a record */
};
#define RESEED_CHUNK_HASH_SIZE 20 /* length u32, XXH3-128 low u64, high u64 */
#define RESEED_SUMMARY_HASH_SIZE 16

struct reseed_row {
    enum reseed_row_kind kind;
    struct cq_slice key, value; /* borrowed */
};

void reseed_row_put(struct cq_buf *page, const struct reseed_row *row);
/* The next row of *left, which is cut. CQ_E_EOF: there are none left; CQ_E_PROTO. */
enum cq_rc reseed_row_next(struct cq_slice *left, struct reseed_row *row_r, struct cq_err *err);

void reseed_hash_put(struct cq_hash128 hash, uint8_t out[static 16]);
struct cq_hash128 reseed_hash_get(const uint8_t in[static 16]);

/* Where a page begins: the first key that may be in it. Empty: the beginning. */
struct reseed_cursor {
    size_t len;
    uint8_t at[RESEED_KEY_MAX + 1];
};
/* CQ_E_PROTO: too long. */
enum cq_rc reseed_cursor_set(struct reseed_cursor *cursor, struct cq_slice bytes, struct cq_err *err);
/* Right behind this key. */
void reseed_cursor_after(struct reseed_cursor *cursor, struct cq_slice key);
static inline struct cq_slice reseed_cursor_slice(const struct reseed_cursor *cursor)
{
    return cq_slice_of(cursor->at, cursor->len);
}

#endif
