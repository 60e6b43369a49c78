#include "base/cq_slice.h"

bool cq_slice_caseeq(struct cq_slice a, struct cq_slice b)
{
    return a.len == b.len && cq_slice_casestarts(a, b);
}

bool cq_slice_starts(struct cq_slice s, struct cq_slice prefix)
{
    return cq_slice_eq(cq_slice_sub(s, 0, prefix.len), prefix);
}

bool cq_slice_casestarts(struct cq_slice s, struct cq_slice prefix)
{
    if (s.len < prefix.len)
        return false;
    for (size_t i = 0; i < prefix.len; i++)
        if (cq_ascii_lower(s.data[i]) != cq_ascii_lower(prefix.data[i]))
            return false;
    return true;
}

int cq_slice_cmp(struct cq_slice a, struct cq_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

size_t cq_slice_find(struct cq_slice s, uint8_t byte)
{
    const uint8_t *hit = s.len ? memchr(s.data, byte, s.len) : NULL;
    return hit ? (size_t)(hit - s.data) : s.len;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct cq_slice cq_slice_trim(struct cq_slice s)
{
    while (s.len && is_blank(s.data[0]))
        s = cq_slice_skip(s, 1);
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

struct cq_slice cq_slice_cut(struct cq_slice *s, uint8_t byte)
{
    size_t at = cq_slice_find(*s, byte);
    struct cq_slice head = cq_slice_sub(*s, 0, at);
    *s = cq_slice_skip(*s, at < s->len ? at + 1 : at);
    return head;
}

bool cq_slice_u64(struct cq_slice s, uint64_t max, uint64_t *value_r)
{
    uint64_t value = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!cq_ascii_digit(s.data[i]))
            return false;
        uint64_t digit = (uint64_t)(s.data[i] - '0');
        if (value > (max - digit) / 10 || digit > max)
            return false;
        value = value * 10 + digit;
    }
    *value_r = value;
    return true;
}

bool cq_slice_secret_eq(struct cq_slice a, struct cq_slice b)
{
    if (a.len != b.len)
        return false;
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < a.len; i++)
        diff = (uint8_t)(diff | (a.data[i] ^ b.data[i]));
    return diff == 0;
}
