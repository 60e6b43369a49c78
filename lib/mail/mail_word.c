#include "mail/mail_word.h"

#include "mail/mail_charset.h"
#include "mail/mail_header.h"
#include "mail/mail_transfer.h"
#include "mail_lex_private.h"
#include "mail_utf8_private.h"

#define CHARSET_NAME_MAX 64
#define CHARSETS_MAX 8   /* different charsets in one value; words in further ones stay as they are */
#define WORD_TEXT_MAX 60 /* characters of encoded text in a word: 75 less "=?utf-8?Q?" and "?=", and some air */
#define PIECE_MAX 4096   /* octets of a word decoded at a time */

bool mail_is_ascii(struct cq_slice text)
{
    uint8_t seen = 0, nul = 0;
    for (size_t i = 0; i < text.len; i++) {
        seen |= text.data[i];
        nul |= text.data[i] == 0;
    }
    return seen < 0x80 && !nul;
}

bool mail_is_utf8(struct cq_slice text)
{
    uint32_t cp = 0;
    while (text.len) {
        size_t n = mail_utf8_take(text, &cp);
        if (n == 0 || cp == MAIL_UTF8_BAD)
            return false;
        text = cq_slice_skip(text, n);
    }
    return true;
}

/* windows-1252, the octets 0x80 to 0x9f; those it leaves out stay controls. */
static const uint16_t CP1252[32] = {
    0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8d,   0x017d, 0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178,
};

void mail_utf8_clean(struct cq_slice text, struct cq_buf *out)
{
    if (mail_is_utf8(text)) {
        cq_buf_slice_add(out, text);
        return;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i], utf8[4];
        uint32_t cp = c >= 0x80 && c < 0xa0 ? CP1252[c - 0x80] : c;
        cq_buf_add(out, utf8, mail_utf8_put(cp, utf8));
    }
}

/* One encoded word (RFC 2047 2), found at the start of a text. */
struct word {
    struct cq_slice charset, text;
    bool base64;
    size_t len; /* of all of it */
};

static bool take_word(struct cq_slice s, struct word *w)
{
    if (!cq_slice_starts(s, CQ_SLICE("=?")))
        return false;
    struct cq_slice rest = cq_slice_skip(s, 2);
    size_t n = cq_slice_find(cq_slice_sub(rest, 0, CHARSET_NAME_MAX + 1), '?');
    w->charset = cq_slice_sub(rest, 0, n);
    rest = cq_slice_skip(rest, n);
    if (n == 0 || rest.len < 4 || rest.data[0] != '?' || rest.data[2] != '?')
        return false;
    uint8_t how = cq_ascii_lower(rest.data[1]);
    if (how != 'b' && how != 'q')
        return false;
    w->base64 = how == 'b';
    rest = cq_slice_skip(rest, 3);
    n = cq_slice_find(rest, '?');
    w->text = cq_slice_sub(rest, 0, n);
    rest = cq_slice_skip(rest, n);
    if (rest.len < 2 || rest.data[1] != '=')
        return false;
    w->charset = cq_slice_sub(w->charset, 0, cq_slice_find(w->charset, '*')); /* RFC 2231 5: charset*language */
    w->len = (size_t)(rest.data + 2 - s.data);
    return true;
}

/* The converters of one value. Adjacent words of one charset share its state: characters may be split over them. */
struct converters {
    struct mail_charset *list[CHARSETS_MAX];
    size_t count;
    struct mail_charset *now; /* of the word before, when only blanks stood between */
};

static struct mail_charset *converter(struct converters *c, struct cq_slice name)
{
    for (size_t i = 0; i < c->count; i++)
        if (mail_charset_is(c->list[i], name))
            return c->list[i];
    if (c->count == CHARSETS_MAX || !mail_charset_known(name))
        return NULL;
    return c->list[c->count++] = mail_charset_new(name);
}

static void converter_end(struct converters *c, struct cq_buf *out)
{
    if (c->now)
        mail_charset_finish(c->now, out);
    c->now = NULL;
}

static void decode_text(const struct word *w, struct mail_charset *cs, struct cq_buf *out)
{
    struct mail_transfer t;
    struct cq_buf octets;
    cq_buf_init(&octets, PIECE_MAX + MAIL_TRANSFER_PENDING_MAX + 8);
    mail_transfer_init(&t, w->base64 ? MAIL_ENCODING_BASE64 : MAIL_ENCODING_QP);
    for (size_t at = 0; at <= w->text.len; at += PIECE_MAX) {
        cq_buf_reset(&octets, SIZE_MAX);
        mail_transfer_decode(&t, cq_slice_sub(w->text, at, PIECE_MAX), &octets);
        if (at + PIECE_MAX > w->text.len)
            mail_transfer_finish(&t, &octets);
        mail_charset_decode(cs, cq_buf_slice(&octets), out);
    }
    cq_buf_fini(&octets);
}

/* RFC 2047 4.2: "_" is a blank; unlike quoted-printable there are no line ends to care for. */
static void decode_q(struct cq_slice text, struct mail_charset *cs, struct cq_buf *out)
{
    uint8_t piece[256];
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i] == '_' ? ' ' : text.data[i];
        if (c == '=' && text.len - i > 2 && mail_lex_hex(text.data[i + 1]) >= 0 &&
            mail_lex_hex(text.data[i + 2]) >= 0) {
            c = (uint8_t)(mail_lex_hex(text.data[i + 1]) << 4 | mail_lex_hex(text.data[i + 2]));
            i += 2;
        }
        piece[n++] = c;
        if (n == sizeof piece) {
            mail_charset_decode(cs, cq_slice_of(piece, n), out);
            n = 0;
        }
    }
    mail_charset_decode(cs, cq_slice_of(piece, n), out);
}

static bool all_blanks(struct cq_slice s)
{
    return cq_slice_trim(s).len == 0;
}

static void decode_words(struct cq_slice s, struct cq_buf *out)
{
    struct converters c = {.count = 0};
    size_t done = 0, at = 0;
    while (at < s.len) {
        struct word w;
        at += cq_slice_find(cq_slice_skip(s, at), '=');
        if (at == s.len)
            break;
        struct mail_charset *cs = take_word(cq_slice_skip(s, at), &w) ? converter(&c, w.charset) : NULL;
        if (!cs) {
            at++;
            continue;
        }
        struct cq_slice gap = cq_slice_sub(s, done, at - done);
        bool adjacent = c.now && all_blanks(gap);
        if (!adjacent || c.now != cs)
            converter_end(&c, out);
        if (!adjacent)
            mail_utf8_clean(gap, out);
        c.now = cs;
        if (w.base64)
            decode_text(&w, cs, out);
        else
            decode_q(w.text, cs, out);
        done = at += w.len;
    }
    converter_end(&c, out);
    mail_utf8_clean(cq_slice_skip(s, done), out);
    for (size_t i = 0; i < c.count; i++)
        mail_charset_free(&c.list[i]);
}

void mail_word_decode(struct cq_slice value, struct cq_buf *out)
{
    size_t start = out->len;
    struct cq_buf flat;
    cq_buf_init(&flat, value.len);
    mail_header_unfold(value, &flat);
    bool words = flat.len && memmem(flat.data, flat.len, "=?", 2);
    if (!words && mail_is_ascii(cq_buf_slice(&flat)))
        cq_buf_slice_add(out, cq_buf_slice(&flat));
    else
        decode_words(cq_buf_slice(&flat), out);
    cq_buf_fini(&flat);
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] == '\r' || out->data[i] == '\n' || out->data[i] == '\0')
            out->data[i] = ' ';
}

static bool q_plain(uint8_t c)
{
    return cq_ascii_digit(c) || (cq_ascii_lower(c) >= 'a' && cq_ascii_lower(c) <= 'z') ||
           (c && strchr("!*+-/", c)); /* RFC 2047 5 (3): safe in phrases too */
}

static size_t q_length(struct cq_slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += q_plain(s.data[i]) || s.data[i] == ' ' ? 1 : 3;
    return n;
}

static void q_write(struct cq_slice s, struct cq_buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        if (q_plain(s.data[i]) || s.data[i] == ' ')
            cq_buf_byte(out, s.data[i] == ' ' ? '_' : s.data[i]);
        else
            cq_buf_printf(out, "=%02X", s.data[i]);
    }
}

static bool needs_encoding(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 32 || s.data[i] > 126)
            return true;
    return s.len && memmem(s.data, s.len, "=?", 2);
}

/* How much of s fits one word, whole characters, at least one. */
static size_t word_fit(struct cq_slice s, bool base64)
{
    size_t at = 0, q = 0;
    while (at < s.len) {
        uint32_t cp;
        size_t n = mail_utf8_take(cq_slice_skip(s, at), &cp);
        n = n ? n : 1;
        q += q_length(cq_slice_sub(s, at, n));
        size_t length = base64 ? (at + n + 2) / 3 * 4 : q;
        if (at && length > WORD_TEXT_MAX)
            break;
        at += n;
    }
    return at;
}

void mail_word_encode(struct cq_slice utf8, struct cq_buf *out)
{
    if (!needs_encoding(utf8)) {
        cq_buf_slice_add(out, utf8);
        return;
    }
    bool base64 = q_length(utf8) >= 2 * utf8.len; /* half of it would be codes: no longer readable, and longer */
    for (bool first = true; utf8.len; first = false) {
        struct cq_slice piece = cq_slice_sub(utf8, 0, word_fit(utf8, base64));
        cq_buf_cstr(out, first ? "=?utf-8?" : " =?utf-8?");
        cq_buf_cstr(out, base64 ? "B?" : "Q?");
        if (base64)
            mail_base64_write(piece, 0, out);
        else
            q_write(piece, out);
        cq_buf_cstr(out, "?=");
        utf8 = cq_slice_skip(utf8, piece.len);
    }
}
