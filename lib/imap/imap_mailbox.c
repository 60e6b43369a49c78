#include "imap/imap_mailbox.h"

#include "base/cq_text.h"
#include "imap/imap_limits.h"
#include "imap/imap_write.h"

#include <stdlib.h>
#include <uninorm.h>

/* ---- Modified UTF-7 ---- */

/* Base64 of RFC 3501 5.1.3: ',' instead of '/'. */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int base64_value(uint8_t c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static bool is_direct(uint32_t code)
{
    return code >= 0x20 && code <= 0x7e;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

static void put_utf8(uint8_t **out, uint32_t c)
{
    uint8_t *o = *out;
    if (c < 0x80) {
        *o++ = (uint8_t)c;
    } else if (c < 0x800) {
        *o++ = (uint8_t)(0xc0 | c >> 6);
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *o++ = (uint8_t)(0xe0 | c >> 12);
        *o++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *o++ = (uint8_t)(0xf0 | c >> 18);
        *o++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    *out = o;
}

/* UTF-16 units to code points; a surrogate waits in *high for its second half. */
static bool put_unit(uint8_t **out, uint32_t unit, uint32_t *high)
{
    bool is_low = unit >= 0xdc00 && unit <= 0xdfff;
    if ((*high != 0) != is_low)
        return false;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return true;
    }
    uint32_t code = is_low ? 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00) : unit;
    *high = 0;
    put_utf8(out, code);
    return !is_control(code);
}

/* What stands between "&" and "-". The rules that make it canonical are checked by encoding it again. */
static bool decode_base64(struct cq_slice text, uint8_t **out)
{
    uint32_t bits = 0, unit = 0, high = 0;
    unsigned have = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = base64_value(text.data[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have < 16)
            continue;
        have -= 16;
        unit = bits >> have & 0xffff;
        bits &= (1u << have) - 1;
        if (!put_unit(out, unit, &high))
            return false;
    }
    return high == 0;
}

static bool decode(struct cq_slice wire, uint8_t **out)
{
    while (wire.len) {
        uint8_t c = wire.data[0];
        wire = cq_slice_skip(wire, 1);
        if (!is_direct(c))
            return false;
        if (c != '&') {
            *(*out)++ = c;
            continue;
        }
        size_t len = cq_slice_find(wire, '-');
        if (len == wire.len)
            return false;
        if (len == 0)
            *(*out)++ = '&';
        else if (!decode_base64(cq_slice_sub(wire, 0, len), out))
            return false;
        wire = cq_slice_skip(wire, len + 1);
    }
    return true;
}

struct base64_out {
    struct cq_buf *out;
    uint32_t bits;
    unsigned have;
    bool open;
};

static void put_base64_unit(struct base64_out *b, uint32_t unit)
{
    if (!b->open)
        cq_buf_byte(b->out, '&');
    b->open = true;
    b->bits = (b->bits << 16 | unit) & 0x3fffff;
    for (b->have += 16; b->have >= 6; b->have -= 6)
        cq_buf_byte(b->out, (uint8_t)alphabet[b->bits >> (b->have - 6) & 0x3f]);
}

static void end_base64(struct base64_out *b)
{
    if (b->have)
        cq_buf_byte(b->out, (uint8_t)alphabet[b->bits << (6 - b->have) & 0x3f]);
    if (b->open)
        cq_buf_byte(b->out, '-');
    *b = (struct base64_out){.out = b->out};
}

bool imap_utf7_encode(struct cq_buf *out, struct cq_slice utf8)
{
    struct base64_out b = {.out = out};
    while (utf8.len) {
        size_t len;
        uint32_t c = cq_utf8_next(utf8, &len);
        if (c == CQ_UTF8_BAD)
            return false;
        utf8 = cq_slice_skip(utf8, len);
        if (is_direct(c)) {
            end_base64(&b);
            cq_buf_byte(out, (uint8_t)c);
            if (c == '&')
                cq_buf_byte(out, '-');
        } else if (c < 0x10000) {
            put_base64_unit(&b, c);
        } else {
            put_base64_unit(&b, 0xd800 + ((c - 0x10000) >> 10));
            put_base64_unit(&b, 0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    end_base64(&b);
    return cq_buf_ok(out);
}

static bool is_canonical(struct cq_slice wire, struct cq_slice utf8)
{
    struct cq_buf again;
    cq_buf_init(&again, wire.len);
    bool same = imap_utf7_encode(&again, utf8) && cq_slice_eq(cq_buf_slice(&again), wire);
    cq_buf_fini(&again);
    return same;
}

bool imap_utf7_decode(struct cq_slice wire, struct cq_pool *pool, struct cq_slice *utf8_r)
{
    /* Eight characters of base64 are at most three units, nine bytes: 9/8 of the input and some. */
    uint8_t *start = cq_pool_alloc(pool, wire.len + wire.len / 8 + 4), *at = start;
    if (!decode(wire, &at))
        return false;
    *utf8_r = cq_slice_of(start, (size_t)(at - start));
    return cq_slice_find(wire, '&') == wire.len || is_canonical(wire, *utf8_r);
}

/* ---- Names ---- */

static bool is_ascii(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] >= 0x80)
            return false;
    return true;
}

static bool normalize(struct cq_slice *name, struct cq_pool *pool)
{
    if (is_ascii(*name))
        return true;
    size_t len = 0;
    uint8_t *text = u8_normalize(UNINORM_NFC, name->data, name->len, NULL, &len);
    if (!text)
        return false;
    *name = cq_pool_slice(pool, cq_slice_of(text, len));
    free(text);
    return true;
}

static struct cq_slice first_level(struct cq_slice name)
{
    return cq_slice_sub(name, 0, cq_slice_find(name, IMAP_SEPARATOR));
}

/* "inbox/x" is "INBOX/x": the bytes are ours, they came from the decoder. */
static void write_inbox(struct cq_slice *name, struct cq_pool *pool)
{
    if (!cq_slice_caseeq(first_level(*name), CQ_SLICE("INBOX")))
        return;
    uint8_t *copy = cq_pool_dup(pool, name->data, name->len);
    memcpy(copy, "INBOX", 5);
    name->data = copy;
}

static bool has_empty_level(struct cq_slice name)
{
    while (name.len) {
        size_t len = cq_slice_find(name, IMAP_SEPARATOR);
        if (len == 0 || len + 1 == name.len)
            return true;
        name = cq_slice_skip(name, len + 1);
    }
    return false;
}

bool imap_mailbox_parse(struct cq_slice wire, struct cq_pool *pool, struct cq_slice *name_r, const char **problem_r)
{
    *problem_r = "Mailbox name is not valid modified UTF-7";
    if (!imap_utf7_decode(wire, pool, name_r) || !normalize(name_r, pool))
        return false;
    *problem_r = "Mailbox name is too long";
    if (name_r->len > IMAP_MAILBOX_MAX)
        return false;
    *problem_r = "Mailbox name has an empty part";
    if (name_r->len == 0 || has_empty_level(*name_r))
        return false;
    *problem_r = NULL;
    write_inbox(name_r, pool);
    return true;
}

bool imap_pattern_parse(struct cq_slice reference, struct cq_slice wire, struct cq_pool *pool,
                        struct cq_slice *pattern_r, const char **problem_r)
{
    struct cq_slice from, pattern;
    *problem_r = "Pattern is not valid modified UTF-7";
    if (!imap_utf7_decode(reference, pool, &from) || !imap_utf7_decode(wire, pool, &pattern))
        return false;
    *problem_r = "Pattern is too long";
    if (from.len + pattern.len > IMAP_PATTERN_MAX)
        return false;
    uint8_t *both = cq_pool_alloc(pool, from.len + pattern.len + 1);
    memcpy(both, from.data, from.len);
    memcpy(both + from.len, pattern.data, pattern.len);
    *pattern_r = cq_slice_of(both, from.len + pattern.len);
    *problem_r = NULL;
    return normalize(pattern_r, pool);
}

struct cq_slice imap_mailbox_parent(struct cq_slice name)
{
    while (name.len && name.data[--name.len] != IMAP_SEPARATOR)
        ;
    return name;
}

bool imap_mailbox_is_below(struct cq_slice name, struct cq_slice parent)
{
    return name.len > parent.len && cq_slice_starts(name, parent) && name.data[parent.len] == IMAP_SEPARATOR;
}

bool imap_write_mailbox(struct cq_buf *out, struct cq_slice name)
{
    struct cq_buf wire;
    cq_buf_init(&wire, name.len * 4 + 16); /* at most 8 characters for 3 bytes */
    bool ok = imap_utf7_encode(&wire, name) && imap_write_astring(out, cq_buf_slice(&wire));
    cq_buf_fini(&wire);
    return ok;
}

/* ---- Patterns ---- */

/* The pattern as a machine with one state per position, all of its states followed at once: no backtracking, so no
 * pattern is slow. active[i]: the name so far can be matched by the first i bytes of the pattern. */
struct matcher {
    struct cq_slice pattern;
    uint8_t active[IMAP_PATTERN_MAX + 1];
};

/* A wildcard may match nothing: its state makes the next one active. */
static void skip_wildcards(struct matcher *m)
{
    for (size_t i = 0; i < m->pattern.len; i++)
        if (m->active[i] && (m->pattern.data[i] == '*' || m->pattern.data[i] == '%'))
            m->active[i + 1] = 1;
}

static bool step(struct matcher *m, uint8_t c, bool any_case)
{
    uint8_t carry = 0; /* what position i gets from position i - 1 */
    bool alive = false;
    for (size_t i = 0; i <= m->pattern.len; i++) {
        uint8_t want = i < m->pattern.len ? m->pattern.data[i] : 0;
        bool here = m->active[i] && i < m->pattern.len;
        bool stays = here && (want == '*' || (want == '%' && c != IMAP_SEPARATOR));
        bool same = want == c || (any_case && cq_ascii_lower(want) == cq_ascii_lower(c));
        bool goes_on = here && want != '*' && want != '%' && same;
        m->active[i] = stays || carry;
        alive |= m->active[i] != 0;
        carry = goes_on;
    }
    skip_wildcards(m);
    return alive;
}

bool imap_pattern_match(struct cq_slice pattern, struct cq_slice name)
{
    struct matcher m = {.pattern = pattern};
    if (pattern.len > IMAP_PATTERN_MAX)
        return false;
    bool inbox = cq_slice_eq(first_level(name), CQ_SLICE("INBOX"));
    m.active[0] = 1;
    skip_wildcards(&m);
    for (size_t i = 0; i < name.len; i++)
        if (!step(&m, name.data[i], inbox && i < 5))
            return false;
    return m.active[pattern.len];
}
