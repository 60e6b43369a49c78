#include "base/cq_b64.h"

static const char letters[2][65] = {
    [CQ_B64_STD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [CQ_B64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

static int letter_value(uint8_t c, enum cq_b64_alphabet alphabet)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (cq_ascii_digit(c))
        return c - '0' + 52;
    if (c == (uint8_t)letters[alphabet][62])
        return 62;
    return c == (uint8_t)letters[alphabet][63] ? 63 : -1;
}

bool cq_b64_encode(struct cq_buf *out, struct cq_slice bytes, enum cq_b64_alphabet alphabet)
{
    const char *abc = letters[alphabet];
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= n > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        group |= n > 2 ? bytes.data[i + 2] : 0;
        char text[4] = {abc[group >> 18], abc[group >> 12 & 63], abc[group >> 6 & 63], abc[group & 63]};
        cq_buf_add(out, text, n + 1);
        if (alphabet == CQ_B64_STD)
            cq_buf_add(out, "==", 3 - n);
    }
    return cq_buf_ok(out);
}

/* Without its padding; false when the padding is not what the alphabet wants. */
static bool strip_padding(struct cq_slice *text, enum cq_b64_alphabet alphabet)
{
    if (alphabet == CQ_B64_URL)
        return true;
    if (text->len % 4)
        return false;
    for (int i = 0; i < 2 && text->len && text->data[text->len - 1] == '='; i++)
        text->len--;
    return true;
}

/* 2..4 letters into 1..3 bytes; false for foreign bytes and for unused bits that are set. */
static bool decode_group(struct cq_slice group, enum cq_b64_alphabet alphabet, uint8_t bytes_r[3])
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i < group.len ? letter_value(group.data[i], alphabet) : 0;
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
    }
    for (size_t i = 0; i < 3; i++)
        bytes_r[i] = (uint8_t)(bits >> (16 - 8 * i));
    return group.len == 4 || (group.len == 3 && bytes_r[2] == 0) ||
           (group.len == 2 && bytes_r[1] == 0 && bytes_r[2] == 0);
}

bool cq_b64_decode(struct cq_buf *out, struct cq_slice text, enum cq_b64_alphabet alphabet)
{
    size_t before = out->len;
    if (!strip_padding(&text, alphabet))
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        struct cq_slice group = cq_slice_sub(text, i, 4);
        uint8_t bytes[3];
        if (!decode_group(group, alphabet, bytes) || !cq_buf_add(out, bytes, group.len - 1)) {
            out->len = before;
            return false;
        }
    }
    return true;
}
