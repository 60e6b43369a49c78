#include "load_message.h"

#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#define LINE_MAX_OCTETS 76
#define BASE64_LINE 78 /* 76 digits and CRLF */

/* ---- Sizes: a table of quantiles, straight lines between them ---- */

struct quantile {
    uint32_t below; /* of 10,000 */
    uint32_t size;
};

static const struct quantile quantiles[] = {
    {0, LOAD_MESSAGE_MIN}, {1000, 4096},   {2500, 8192},   {5000, 16384},  {7500, 32768},
    {9000, 65536},         {9500, 131072}, {9900, 393216}, {9990, 786432}, {10000, LOAD_MESSAGE_MAX},
};

size_t load_message_size(struct cq_prng *prng)
{
    uint32_t at = cq_prng_below(prng, 10000);
    size_t i = 1;
    while (at >= quantiles[i].below)
        i++;
    const struct quantile *a = &quantiles[i - 1], *b = &quantiles[i];
    return a->size + (uint64_t)(b->size - a->size) * (at - a->below) / (b->below - a->below);
}

/* ---- Words ---- */

static const char *const words[] = {
    "account",  "after",   "agenda",  "already", "answer",  "archive", "because",  "before",   "between",  "budget",
    "bridge",   "call",    "chasqui", "coming",  "company", "confirm", "contract", "could",    "customer", "date",
    "decide",   "deliver", "detail",  "draft",   "evening", "every",   "figure",   "final",    "follow",   "forward",
    "from",     "garden",  "harvest", "have",    "herald",  "invoice", "island",   "journey",  "kitchen",  "knot",
    "later",    "letter",  "list",    "meeting", "message", "minutes", "morning",  "mountain", "never",    "number",
    "office",   "often",   "order",   "other",   "page",    "payment", "people",   "plan",     "please",   "project",
    "question", "quipu",   "rather",  "reader",  "reply",   "report",  "river",    "road",     "runner",   "schedule",
    "second",   "send",    "signed",  "small",   "soon",    "stone",   "summer",   "table",    "thank",    "that",
    "their",    "there",   "these",   "third",   "ticket",  "today",   "together", "tomorrow", "travel",   "under",
    "until",    "valley",  "version", "village", "waiting", "weather", "week",     "with",     "would",    "yesterday",
};

static const char *const people[][2] = {
    {"Ana Quispe", "ana"},  {"Ben Arden", "ben"},        {"Chen Wei", "chen"},
    {"Dora Lindt", "dora"}, {"Emil Noor", "emil"},       {"=?utf-8?q?Fran=C3=A7oise_Roy?=", "francoise"},
    {"Gita Rao", "gita"},   {"\"Huber, Hans\"", "hans"},
};

static const char *word(struct cq_prng *prng)
{
    return words[cq_prng_below(prng, sizeof words / sizeof *words)];
}

/* One line of n octets, its CRLF not counted: words and single spaces. */
static void put_line(struct cq_buf *out, struct cq_prng *prng, size_t n)
{
    for (size_t left = n; left;) {
        const char *w = word(prng);
        size_t len = strlen(w);
        len = len < left ? len : left;
        cq_buf_add(out, w, len);
        left -= len;
        if (left > 1)
            cq_buf_byte(out, ' '), left--;
        else if (left)
            cq_buf_byte(out, 's'), left--;
    }
    cq_buf_cstr(out, "\r\n");
}

/* Exactly n octets of text (n is at least 2). */
static void put_text(struct cq_buf *out, struct cq_prng *prng, size_t n)
{
    while (n > LINE_MAX_OCTETS + 2) {
        size_t line = 56 + cq_prng_below(prng, 16);
        if (n - line - 2 < 2)
            line -= 2;
        put_line(out, prng, line);
        n -= line + 2;
    }
    put_line(out, prng, n - 2);
}

static void put_base64(struct cq_buf *out, struct cq_prng *prng, size_t lines)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (lines--) {
        uint8_t line[BASE64_LINE];
        uint64_t bits = 0;
        for (size_t i = 0; i < BASE64_LINE - 2; i++, bits >>= 6) {
            if (i % 10 == 0)
                bits = cq_prng_next(prng);
            line[i] = (uint8_t)digits[bits & 63];
        }
        memcpy(line + BASE64_LINE - 2, "\r\n", 2);
        cq_buf_add(out, line, sizeof line);
    }
}

/* ---- Kinds of body. Each fills what is left of the message, to the octet. ---- */

struct making {
    struct cq_buf *out;
    struct cq_prng *prng;
    size_t end; /* length of out when the message is complete */
};

static size_t left(const struct making *m)
{
    return m->end - m->out->len;
}

static void body_plain(struct making *m)
{
    cq_buf_cstr(m->out, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    put_text(m->out, m->prng, left(m));
}

/* A part's head, text that leaves `reserve` octets free, and what ends it. */
static void text_part(struct making *m, const char *head, size_t octets)
{
    cq_buf_cstr(m->out, head);
    put_text(m->out, m->prng, octets);
}

static const char plain_head[] = "--knot\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
static const char html_head[] = "\r\n--knot\r\nContent-Type: text/html; charset=utf-8\r\n"
                                "Content-Transfer-Encoding: 7bit\r\n\r\n<html><body><p>\r\n";
static const char html_tail[] = "</p></body></html>\r\n\r\n--knot--\r\n";

static void body_alternative(struct making *m)
{
    cq_buf_cstr(m->out, "Content-Type: multipart/alternative; boundary=\"knot\"\r\n\r\n");
    size_t rest = left(m) - (sizeof plain_head - 1) - (sizeof html_head - 1) - (sizeof html_tail - 1);
    text_part(m, plain_head, rest / 3);
    text_part(m, html_head, rest - rest / 3);
    cq_buf_cstr(m->out, html_tail);
}

static const char attachment_head[] =
    "\r\n--knot\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n"
    "Content-Disposition: attachment; filename=\"report.pdf\"\r\n\r\n";
static const char last_line[] = "\r\n--knot--\r\n";

static void body_attachment(struct making *m)
{
    cq_buf_cstr(m->out, "Content-Type: multipart/mixed; boundary=\"knot\"\r\n\r\n");
    size_t rest = left(m) - (sizeof plain_head - 1) - (sizeof attachment_head - 1) - (sizeof last_line - 1);
    size_t lines = rest / 4 * 3 / BASE64_LINE;
    text_part(m, plain_head, rest - lines * BASE64_LINE);
    cq_buf_cstr(m->out, attachment_head);
    put_base64(m->out, m->prng, lines);
    cq_buf_cstr(m->out, last_line);
}

static const char forwarded_head[] =
    "\r\n--knot\r\nContent-Type: message/rfc822\r\n\r\nFrom: Emil Noor <emil@load.test>\r\n"
    "To: \"Huber, Hans\" <hans@load.test>\r\nSubject: the first runner\r\nDate: Mon, 02 Nov 2020 08:15:00 +0100\r\n"
    "Message-ID: <inner@load.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n";

static void body_forwarded(struct making *m)
{
    cq_buf_cstr(m->out, "Content-Type: multipart/mixed; boundary=\"knot\"\r\n\r\n");
    size_t rest = left(m) - (sizeof plain_head - 1) - (sizeof forwarded_head - 1) - (sizeof last_line - 1);
    text_part(m, plain_head, rest / 4);
    text_part(m, forwarded_head, rest - rest / 4);
    cq_buf_cstr(m->out, last_line);
}

static void (*const bodies[])(struct making *m) = {
    body_plain, body_alternative, body_attachment, body_alternative, body_attachment, body_plain, body_forwarded,
};

/* ---- The head ---- */

static void put_person(struct cq_buf *out, struct cq_prng *prng, const char *field)
{
    const char *const *who = people[cq_prng_below(prng, sizeof people / sizeof *people)];
    cq_buf_printf(out, "%s: %s <%s@load.test>\r\n", field, who[0], who[1]);
}

static void put_subject(struct cq_buf *out, struct cq_prng *prng)
{
    const char *re = cq_prng_below(prng, 3) == 0 ? "Re: " : "";
    if (cq_prng_below(prng, 8) == 0)
        cq_buf_printf(out, "Subject: %s=?utf-8?q?%s_caf=C3=A9_%s?=\r\n", re, word(prng), word(prng));
    else
        cq_buf_printf(out, "Subject: %s%s %s %s %s\r\n", re, word(prng), word(prng), word(prng), word(prng));
}

static void put_date(struct cq_buf *out, struct cq_prng *prng)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    unsigned day = 1 + cq_prng_below(prng, 28), month = cq_prng_below(prng, 12), year = 2015 + cq_prng_below(prng, 10);
    unsigned second = cq_prng_below(prng, 86400);
    cq_buf_printf(out, "Date: %u %s %u %02u:%02u:%02u +0000\r\n", day, months[month], year, second / 3600,
                  second / 60 % 60, second % 60);
}

/* Octets from the message's beginning to the token. */
static size_t put_head(struct cq_buf *out, struct cq_prng *prng, uint64_t index)
{
    size_t begin = out->len;
    for (unsigned hops = 1 + cq_prng_below(prng, 3); hops; hops--)
        cq_buf_printf(out,
                      "Received: from relay%u.load.test (relay%u.load.test [192.0.2.%u])\r\n"
                      "\tby mx.load.test with ESMTPS id %08x; Mon, 02 Nov 2020 08:15:0%u +0000\r\n",
                      hops, hops, hops, (unsigned)cq_prng_next(prng), hops);
    cq_buf_cstr(out, "Message-ID: <");
    size_t token_at = out->len - begin;
    cq_buf_printf(out, "0000000000000000.%llu@load.test>\r\n", (unsigned long long)index);
    put_person(out, prng, "From");
    put_person(out, prng, "To");
    for (unsigned more = cq_prng_below(prng, 3); more == 2; more--)
        put_person(out, prng, "Cc");
    put_subject(out, prng);
    put_date(out, prng);
    if (cq_prng_below(prng, 3) == 0)
        cq_buf_printf(out, "In-Reply-To: <%016llx@load.test>\r\n", (unsigned long long)cq_prng_next(prng));
    cq_buf_cstr(out, "User-Agent: bench\r\nMIME-Version: 1.0\r\n");
    return token_at;
}

void load_message_make(uint64_t seed, uint64_t index, size_t size, struct cq_buf *out, size_t *token_at_r)
{
    struct cq_prng prng = {seed * UINT64_C(0x9e3779b97f4a7c15) + index};
    size_t begin = out->len, drawn = load_message_size(&prng);
    size = size ? size : drawn;
    struct making making = {out, &prng, begin + (size > LOAD_MESSAGE_MIN ? size : LOAD_MESSAGE_MIN)};
    *token_at_r = put_head(out, &prng, index);
    bodies[cq_prng_below(&prng, sizeof bodies / sizeof *bodies)](&making);
    CQ_ASSERT(cq_buf_ok(out) && out->len == making.end);
}

void load_token_write(uint8_t *at, uint64_t number)
{
    for (size_t i = LOAD_TOKEN_SIZE; i--; number >>= 4)
        at[i] = (uint8_t) "0123456789abcdef"[number & 15];
}

struct cq_slice load_letter_stamp(const struct load_letter *letter)
{
    load_token_write(letter->message->octets + letter->message->token_at, letter->token);
    return cq_slice_of(letter->message->octets, letter->message->len);
}

void load_messages_init(struct load_messages *messages, uint64_t seed, size_t count, size_t size)
{
    messages->items = cq_calloc(count, sizeof *messages->items);
    messages->count = count;
    for (size_t i = 0; i < count; i++) {
        struct cq_buf buf;
        cq_buf_init(&buf, LOAD_MESSAGE_BUF > size ? LOAD_MESSAGE_BUF : size);
        load_message_make(seed, i, size, &buf, &messages->items[i].token_at);
        messages->items[i].octets = cq_buf_take(&buf, &messages->items[i].len);
    }
}

void load_messages_fini(struct load_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++)
        free(messages->items[i].octets);
    free(messages->items);
}
