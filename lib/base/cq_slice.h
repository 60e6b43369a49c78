/* Borrowed bytes: a pointer and a length, not NUL-terminated, valid as long as their owner says.
 * Text from outside is always a slice. A slice of length 0 may have a NULL pointer. */
#ifndef CQ_SLICE_H
#define CQ_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cq_slice {
    const uint8_t *data;
    size_t len;
};

#define CQ_SLICE_NONE ((struct cq_slice){NULL, 0})
/* From a string literal or an array whose last byte is a NUL. */
#define CQ_SLICE(literal) ((struct cq_slice){(const uint8_t *)(literal), sizeof(literal) - 1})
/* For printf: printf("%.*s", CQ_SLICE_ARG(s)) */
#define CQ_SLICE_ARG(s) (int)(s).len, ((s).data ? (const char *)(s).data : "")

static inline struct cq_slice cq_slice_of(const void *data, size_t len)
{
    return (struct cq_slice){(const uint8_t *)data, len};
}

static inline struct cq_slice cq_slice_cstr(const char *text)
{
    return cq_slice_of(text, text ? strlen(text) : 0);
}

/* The part [from, from + len), cut to what there is. */
static inline struct cq_slice cq_slice_sub(struct cq_slice s, size_t from, size_t len)
{
    if (from > s.len)
        from = s.len;
    if (len > s.len - from)
        len = s.len - from;
    return cq_slice_of(s.data ? s.data + from : NULL, len);
}

static inline struct cq_slice cq_slice_skip(struct cq_slice s, size_t n)
{
    return cq_slice_sub(s, n, SIZE_MAX);
}

static inline bool cq_slice_eq(struct cq_slice a, struct cq_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case-insensitive, as every mail protocol means it; bytes over 127 compare exactly. */
bool cq_slice_caseeq(struct cq_slice a, struct cq_slice b);
bool cq_slice_starts(struct cq_slice s, struct cq_slice prefix);
bool cq_slice_casestarts(struct cq_slice s, struct cq_slice prefix);

/* Order by bytes, the shorter first when one is the other's beginning: <0, 0, >0. */
int cq_slice_cmp(struct cq_slice a, struct cq_slice b);

/* Index of the first such byte, or s.len. */
size_t cq_slice_find(struct cq_slice s, uint8_t byte);

/* Without leading and trailing spaces, tabs, CR and LF. */
struct cq_slice cq_slice_trim(struct cq_slice s);

/* Cuts *s at the first `byte`: the part before it is returned, *s becomes what follows it. Without one, all of *s
 * is returned and *s becomes empty. */
struct cq_slice cq_slice_cut(struct cq_slice *s, uint8_t byte);

/* An unsigned decimal number that is all of s: false for an empty slice, other bytes, or over max. */
bool cq_slice_u64(struct cq_slice s, uint64_t max, uint64_t *value_r);

/* Constant-time comparison of secrets of equal length; different lengths are unequal at once. */
bool cq_slice_secret_eq(struct cq_slice a, struct cq_slice b);

static inline uint8_t cq_ascii_lower(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static inline uint8_t cq_ascii_upper(uint8_t c)
{
    return (uint8_t)(c >= 'a' && c <= 'z' ? c - 32 : c);
}

static inline bool cq_ascii_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

#endif
