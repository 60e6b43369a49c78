/* Growing bytes with a maximum that is given at birth. An append that would pass the maximum changes
 * nothing, marks the buffer `overflow` and returns false: a writer may append many times and look at
 * cq_buf_ok() once at the end. */
#ifndef CQ_BUF_H
#define CQ_BUF_H

#include "base/cq_err.h"
#include "base/cq_slice.h"

struct cq_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;
    bool overflow;
};

/* An empty buffer; nothing is allocated before the first append. */
void cq_buf_init(struct cq_buf *buf, size_t max);
void cq_buf_fini(struct cq_buf *buf);

/* Empties it, keeps its memory unless it holds more than `keep_max` bytes of it. */
void cq_buf_reset(struct cq_buf *buf, size_t keep_max);

static inline bool cq_buf_ok(const struct cq_buf *buf)
{
    return !buf->overflow;
}

static inline struct cq_slice cq_buf_slice(const struct cq_buf *buf)
{
    return cq_slice_of(buf->data, buf->len);
}

/* Room for n more bytes: where to write them, or NULL (overflow). cq_buf_commit says how many were written. */
uint8_t *cq_buf_reserve(struct cq_buf *buf, size_t n);
void cq_buf_commit(struct cq_buf *buf, size_t n);

bool cq_buf_add(struct cq_buf *buf, const void *data, size_t len);
bool cq_buf_byte(struct cq_buf *buf, uint8_t byte);
bool cq_buf_cstr(struct cq_buf *buf, const char *text);
bool cq_buf_u64(struct cq_buf *buf, uint64_t value); /* decimal */
bool cq_buf_printf(struct cq_buf *buf, const char *fmt, ...) CQ_PRINTF(2, 3);

static inline bool cq_buf_slice_add(struct cq_buf *buf, struct cq_slice s)
{
    return cq_buf_add(buf, s.data, s.len);
}

/* Removes n bytes at the front (n <= len). */
void cq_buf_consume(struct cq_buf *buf, size_t n);

/* Gives the memory away: *len_r bytes that the caller frees with free(); the buffer is empty after. */
uint8_t *cq_buf_take(struct cq_buf *buf, size_t *len_r);

#endif
