#include "base/cq_hex.h"

static const char digits[] = "0123456789abcdef";

static int digit_value(uint8_t c)
{
    if (cq_ascii_digit(c))
        return c - '0';
    c = cq_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void cq_hex_u64(uint64_t value, char out[static CQ_HEX64_SIZE])
{
    for (int i = 0; i < 16; i++)
        out[i] = digits[value >> (60 - 4 * i) & 15];
    out[16] = '\0';
}

bool cq_hex_u64_parse(struct cq_slice text, uint64_t *value_r)
{
    uint64_t value = 0;
    if (text.len != 16)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_value(text.data[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *value_r = value;
    return true;
}

bool cq_hex_add(struct cq_buf *out, struct cq_slice bytes)
{
    if (bytes.len > SIZE_MAX / 2)
        return false;
    uint8_t *to = cq_buf_reserve(out, bytes.len * 2);
    if (!to)
        return false;
    for (size_t i = 0; i < bytes.len; i++) {
        to[2 * i] = (uint8_t)digits[bytes.data[i] >> 4];
        to[2 * i + 1] = (uint8_t)digits[bytes.data[i] & 15];
    }
    if (bytes.len)
        cq_buf_commit(out, bytes.len * 2);
    return true;
}

bool cq_hex_decode(struct cq_slice text, uint8_t *out, size_t max, size_t *len_r)
{
    if (text.len % 2 || text.len / 2 > max)
        return false;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = digit_value(text.data[i]), low = digit_value(text.data[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    *len_r = text.len / 2;
    return true;
}
