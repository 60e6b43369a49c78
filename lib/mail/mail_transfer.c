#include "mail/mail_transfer.h"

#include "mail_lex_private.h"

#include "base/cq_assert.h"

#define SKIP 64
#define PAD 65

/* Value of each base64 character, RFC 4648 4. */
static const uint8_t BASE64[256] = {
#define X SKIP
    X,  X,  X,  X,   X,  X,  X,  X, X, X, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,   X,  X,  X,  X, X, X, X,  X,  X,  X,  62, X,  X,  X,  63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61,
    X,  X,  X,  PAD, X,  X,  X,  0, 1, 2, 3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25,  X,  X,  X,  X, X, X, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
    45, 46, 47, 48,  49, 50, 51, X, X, X, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,   X,  X,  X,  X, X, X, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,   X,  X,  X,  X, X, X, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,   X,  X,  X,  X, X, X, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,   X,  X,  X,  X, X, X, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
#undef X
};

enum qp_state { QP_TEXT, QP_EQ, QP_HEX, QP_EQ_BLANK, QP_EQ_CR };

static const struct {
    const char *name;
    enum mail_encoding encoding;
} ENCODINGS[] = {
    {"7bit", MAIL_ENCODING_7BIT},     {"8bit", MAIL_ENCODING_8BIT},           {"binary", MAIL_ENCODING_BINARY},
    {"base64", MAIL_ENCODING_BASE64}, {"quoted-printable", MAIL_ENCODING_QP},
};

/* The token after blanks and one comment. */
static struct cq_slice first_token(struct cq_slice value)
{
    value = cq_slice_trim(value);
    if (value.len && value.data[0] == '(') {
        size_t end = cq_slice_find(value, ')');
        value = cq_slice_trim(cq_slice_skip(value, end < value.len ? end + 1 : end));
    }
    size_t n = 0;
    while (n < value.len && value.data[n] > 32 && value.data[n] != ';' && value.data[n] != '(')
        n++;
    return cq_slice_sub(value, 0, n);
}

enum mail_encoding mail_encoding_of(struct cq_slice value)
{
    struct cq_slice token = first_token(value);
    if (token.len == 0)
        return MAIL_ENCODING_7BIT;
    for (size_t i = 0; i < sizeof ENCODINGS / sizeof *ENCODINGS; i++)
        if (cq_slice_caseeq(token, cq_slice_cstr(ENCODINGS[i].name)))
            return ENCODINGS[i].encoding;
    return MAIL_ENCODING_OTHER;
}

void mail_transfer_init(struct mail_transfer *t, enum mail_encoding encoding)
{
    t->encoding = encoding;
    t->bits = t->bit_count = 0;
    t->state = QP_TEXT;
    t->hex = 0;
    t->pending = 0;
}

/* Writes the octets that the 2 or 3 waiting characters stand for. */
static uint8_t *base64_flush(struct mail_transfer *t, uint8_t *to)
{
    if (t->bit_count == 2) {
        *to++ = (uint8_t)(t->bits >> 4);
    } else if (t->bit_count == 3) {
        *to++ = (uint8_t)(t->bits >> 10);
        *to++ = (uint8_t)(t->bits >> 2);
    }
    t->bits = t->bit_count = 0;
    return to;
}

static uint8_t *base64_decode(struct mail_transfer *t, struct cq_slice in, uint8_t *to)
{
    for (size_t i = 0; i < in.len; i++) {
        uint8_t v = BASE64[in.data[i]];
        if (v == SKIP)
            continue;
        if (v == PAD) {
            to = base64_flush(t, to);
            continue;
        }
        t->bits = t->bits << 6 | v;
        if (++t->bit_count < 4)
            continue;
        *to++ = (uint8_t)(t->bits >> 16);
        *to++ = (uint8_t)(t->bits >> 8);
        *to++ = (uint8_t)t->bits;
        t->bits = t->bit_count = 0;
    }
    return to;
}

static uint8_t *qp_flush(struct mail_transfer *t, uint8_t *to)
{
    memcpy(to, t->blanks, t->pending);
    to += t->pending;
    t->pending = 0;
    return to;
}

static uint8_t *qp_hold(struct mail_transfer *t, uint8_t c, uint8_t *to)
{
    if (t->pending == sizeof t->blanks)
        to = qp_flush(t, to);
    t->blanks[t->pending++] = c;
    return to;
}

/* Text: blanks and a CR are held back until it is known whether a line end follows (RFC 2045 6.7, rule 3). */
static uint8_t *qp_text(struct mail_transfer *t, uint8_t c, uint8_t *to)
{
    bool after_cr = t->pending && t->blanks[t->pending - 1] == '\r';
    if (c == '\n') {
        t->pending = 0;
        if (after_cr)
            *to++ = '\r';
        *to++ = '\n';
        return to;
    }
    bool hold = c == ' ' || c == '\t' || c == '\r';
    if (t->pending && (after_cr || !hold))
        to = qp_flush(t, to);
    if (hold)
        return qp_hold(t, c, to);
    if (c == '=')
        t->state = QP_EQ;
    else
        *to++ = c;
    return to;
}

/* A "=" that starts neither a code nor a soft line break stays, with what was held back since. */
static uint8_t *qp_not_a_code(struct mail_transfer *t, uint8_t c, uint8_t *to)
{
    *to++ = '=';
    if (t->state == QP_HEX)
        *to++ = t->hex;
    to = qp_flush(t, to);
    if (t->state == QP_EQ_CR)
        *to++ = '\r';
    t->state = QP_TEXT;
    return qp_text(t, c, to);
}

static uint8_t *qp_after_equals(struct mail_transfer *t, uint8_t c, uint8_t *to)
{
    if (t->state == QP_HEX && mail_lex_hex(c) >= 0) {
        *to++ = (uint8_t)(mail_lex_hex(t->hex) << 4 | mail_lex_hex(c));
        t->state = QP_TEXT;
    } else if (t->state == QP_EQ && mail_lex_hex(c) >= 0) {
        t->hex = c;
        t->state = QP_HEX;
    } else if (c == '\n' && t->state != QP_HEX) { /* a soft line break */
        t->pending = 0;
        t->state = QP_TEXT;
    } else if (c == '\r' && (t->state == QP_EQ || t->state == QP_EQ_BLANK)) {
        t->state = QP_EQ_CR;
    } else if ((c == ' ' || c == '\t') && (t->state == QP_EQ || t->state == QP_EQ_BLANK) &&
               t->pending < sizeof t->blanks) {
        t->blanks[t->pending++] = c;
        t->state = QP_EQ_BLANK;
    } else {
        to = qp_not_a_code(t, c, to);
    }
    return to;
}

static uint8_t *qp_decode(struct mail_transfer *t, struct cq_slice in, uint8_t *to)
{
    for (size_t i = 0; i < in.len; i++)
        to = t->state == QP_TEXT ? qp_text(t, in.data[i], to) : qp_after_equals(t, in.data[i], to);
    return to;
}

void mail_transfer_decode(struct mail_transfer *t, struct cq_slice in, struct cq_buf *out)
{
    if (t->encoding != MAIL_ENCODING_BASE64 && t->encoding != MAIL_ENCODING_QP) {
        cq_buf_slice_add(out, in);
        return;
    }
    uint8_t *start = cq_buf_reserve(out, in.len + MAIL_TRANSFER_PENDING_MAX + 3);
    if (!start)
        return;
    uint8_t *end = t->encoding == MAIL_ENCODING_BASE64 ? base64_decode(t, in, start) : qp_decode(t, in, start);
    cq_buf_commit(out, (size_t)(end - start));
}

void mail_transfer_finish(struct mail_transfer *t, struct cq_buf *out)
{
    uint8_t last[4], *to = last;
    if (t->encoding == MAIL_ENCODING_BASE64) {
        to = base64_flush(t, to);
    } else if (t->encoding == MAIL_ENCODING_QP) {
        /* Blanks at the end of the text are blanks at a line's end. */
        if (t->state == QP_HEX) {
            *to++ = '=';
            *to++ = t->hex;
        } else if (t->state == QP_TEXT && t->pending && t->blanks[t->pending - 1] == '\r') {
            *to++ = '\r';
        }
    }
    cq_buf_add(out, last, (size_t)(to - last));
    mail_transfer_init(t, t->encoding);
}

void mail_base64_write(struct cq_slice in, unsigned line_length, struct cq_buf *out)
{
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned column = 0;
    CQ_ASSERT(line_length % 4 == 0);
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = in.len - i < 3 ? in.len - i : 3;
        uint32_t v = (uint32_t)in.data[i] << 16;
        v |= n > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
        v |= n > 2 ? (uint32_t)in.data[i + 2] : 0;
        char four[4] = {ALPHABET[v >> 18], ALPHABET[v >> 12 & 63], '=', '='};
        if (n > 1)
            four[2] = ALPHABET[v >> 6 & 63];
        if (n > 2)
            four[3] = ALPHABET[v & 63];
        cq_buf_add(out, four, 4);
        column += 4;
        if (line_length && (column >= line_length || i + 3 >= in.len)) {
            cq_buf_cstr(out, "\r\n");
            column = 0;
        }
    }
}
