#include "base/cq_buf.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CQ_BUF_FIRST_CAP 256

void cq_buf_init(struct cq_buf *buf, size_t max)
{
    *buf = (struct cq_buf){.max = max};
}

void cq_buf_fini(struct cq_buf *buf)
{
    free(buf->data);
    cq_buf_init(buf, buf->max);
}

void cq_buf_reset(struct cq_buf *buf, size_t keep_max)
{
    buf->len = 0;
    buf->overflow = false;
    if (buf->cap > keep_max)
        cq_buf_fini(buf);
}

uint8_t *cq_buf_reserve(struct cq_buf *buf, size_t n)
{
    if (n > buf->max - buf->len) {
        buf->overflow = true;
        return NULL;
    }
    size_t need = buf->len + n;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap : CQ_BUF_FIRST_CAP;
        while (cap < need)
            cap = cap > buf->max / 2 ? buf->max : cap * 2;
        if (cap > buf->max)
            cap = buf->max;
        buf->data = cq_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data ? buf->data + buf->len : (uint8_t *)"";
}

void cq_buf_commit(struct cq_buf *buf, size_t n)
{
    CQ_ASSERT(n <= buf->cap - buf->len);
    buf->len += n;
}

bool cq_buf_add(struct cq_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return cq_buf_ok(buf);
    uint8_t *to = cq_buf_reserve(buf, len);
    if (!to)
        return false;
    memcpy(to, data, len);
    buf->len += len;
    return true;
}

bool cq_buf_byte(struct cq_buf *buf, uint8_t byte)
{
    return cq_buf_add(buf, &byte, 1);
}

bool cq_buf_cstr(struct cq_buf *buf, const char *text)
{
    return cq_buf_add(buf, text, strlen(text));
}

bool cq_buf_u64(struct cq_buf *buf, uint64_t value)
{
    uint8_t digits[20];
    size_t n = 0;
    do {
        digits[sizeof digits - ++n] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    return cq_buf_add(buf, digits + sizeof digits - n, n);
}

bool cq_buf_printf(struct cq_buf *buf, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    CQ_ASSERT(n >= 0);
    bool ok = true;
    if ((size_t)n < sizeof small) {
        ok = cq_buf_add(buf, small, (size_t)n);
    } else if ((size_t)n > buf->max - buf->len) {
        buf->overflow = true;
        ok = false;
    } else {
        char *big = cq_malloc((size_t)n + 1);
        vsnprintf(big, (size_t)n + 1, fmt, again);
        ok = cq_buf_add(buf, big, (size_t)n);
        free(big);
    }
    va_end(again);
    return ok;
}

void cq_buf_consume(struct cq_buf *buf, size_t n)
{
    CQ_ASSERT(n <= buf->len);
    buf->len -= n;
    if (buf->len)
        memmove(buf->data, buf->data + n, buf->len);
}

uint8_t *cq_buf_take(struct cq_buf *buf, size_t *len_r)
{
    uint8_t *data = buf->data ? buf->data : cq_malloc(1);
    *len_r = buf->len;
    buf->data = NULL;
    cq_buf_init(buf, buf->max);
    return data;
}
