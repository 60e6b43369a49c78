#include "mail/mail_address.h"

#include "mail_lex_private.h"

void mail_address_parser_init(struct mail_address_parser *p, struct cq_slice value)
{
    *p = (struct mail_address_parser){.in = value};
    struct cq_buf *bufs[] = {&p->name, &p->route, &p->local, &p->domain, &p->comment};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        cq_buf_init(bufs[i], 3 * value.len + 16);
}

void mail_address_parser_fini(struct mail_address_parser *p)
{
    cq_buf_fini(&p->name);
    cq_buf_fini(&p->route);
    cq_buf_fini(&p->local);
    cq_buf_fini(&p->domain);
    cq_buf_fini(&p->comment);
}

/* 0 at the end: a NUL in the text is a blank and never looked at. */
static uint8_t peek(const struct mail_address_parser *p)
{
    return p->at < p->in.len ? p->in.data[p->at] : 0;
}

/* Skips blanks and comments; true when there were any. */
static bool skip_cfws(struct mail_address_parser *p)
{
    size_t from = p->at;
    p->at = mail_lex_cfws(p->in, p->at, &p->comment);
    return p->at > from;
}

static bool ends_atom(uint8_t c)
{
    return mail_lex_is_blank(c) || strchr(",;:<>()\"@\\", c);
}

/* Length of an encoded word (RFC 2047) at s, without blanks in it: it may hold commas and other specials. */
static size_t encoded_word_length(struct cq_slice s)
{
    unsigned marks = 0;
    if (s.len < 2 || s.data[0] != '=' || s.data[1] != '?')
        return 0;
    for (size_t i = 1; i < s.len && !mail_lex_is_blank(s.data[i]) && s.data[i] != '"'; i++)
        if (s.data[i] == '?' && ++marks == 4)
            return i + 1 < s.len && s.data[i + 1] == '=' ? i + 2 : 0;
    return 0;
}

/* An atom, with its dots; at least one octet. */
static struct cq_slice take_atom(struct mail_address_parser *p)
{
    struct cq_slice rest = cq_slice_skip(p->in, p->at);
    size_t n = encoded_word_length(rest);
    n = n ? n : 1;
    while (n < rest.len && !ends_atom(rest.data[n]))
        n++;
    p->at += n;
    return cq_slice_sub(rest, 0, n);
}

/* "[192.0.2.1]", up to its bracket or to what cannot stand in it. */
static void take_literal(struct mail_address_parser *p)
{
    for (bool closed = false; p->at < p->in.len && !closed && !strchr("<>,;", peek(p)); p->at++) {
        closed = peek(p) == ']';
        if (!mail_lex_is_blank(peek(p)))
            cq_buf_byte(&p->domain, peek(p));
    }
}

static void take_domain(struct mail_address_parser *p)
{
    for (;;) {
        bool blank = skip_cfws(p);
        uint8_t c = peek(p);
        if (c == '[') {
            take_literal(p);
            return;
        }
        if (p->at >= p->in.len || ends_atom(c))
            return;
        /* Obsolete: blanks around dots. A word after a blank that no dot joins is the next thing. */
        bool joined = c == '.' || (p->domain.len && p->domain.data[p->domain.len - 1] == '.');
        if (blank && p->domain.len && !joined)
            return;
        cq_buf_slice_add(&p->domain, take_atom(p));
    }
}

/* At "@" after "<": an obsolete source route "@a,@b:" (RFC 5322 4.4). Without its colon it is only a domain. */
static void take_route(struct mail_address_parser *p)
{
    while (peek(p) == '@' || peek(p) == ',') {
        cq_buf_byte(&p->route, peek(p));
        if (p->in.data[p->at++] == '@') {
            cq_buf_reset(&p->domain, SIZE_MAX);
            take_domain(p);
            cq_buf_slice_add(&p->route, cq_buf_slice(&p->domain));
        }
        skip_cfws(p);
    }
    cq_buf_reset(peek(p) == ':' ? &p->domain : &p->route, SIZE_MAX);
    if (peek(p) == ':')
        p->at++;
}

/* "@" behind what is there: with a second one, what was taken for the domain belongs to the local part. */
static void take_at_domain(struct mail_address_parser *p, bool second)
{
    if (second) {
        cq_buf_byte(&p->local, '@');
        cq_buf_slice_add(&p->local, cq_buf_slice(&p->domain));
        cq_buf_reset(&p->domain, SIZE_MAX);
    }
    p->at++;
    take_domain(p);
}

/* After "<": local part and domain, up to ">" or what must stand after it. */
static void take_angle(struct mail_address_parser *p)
{
    cq_buf_reset(&p->local, SIZE_MAX);
    cq_buf_reset(&p->domain, SIZE_MAX);
    p->at++;
    skip_cfws(p);
    if (peek(p) == '@')
        take_route(p);
    for (bool domain = p->domain.len > 0; p->at < p->in.len;) {
        bool blank = skip_cfws(p);
        uint8_t c = peek(p);
        if (p->at == p->in.len || c == ';' || c == '<' || c == ',')
            return;
        if (c == '>') {
            p->at++;
            return;
        }
        if (c == '@') {
            take_at_domain(p, domain);
            domain = true;
        } else if (c == '"') {
            p->at = mail_lex_quoted(p->in, p->at, domain ? NULL : &p->local);
        } else if (c == ')' || c == '\\' || c == ':') {
            p->at++;
        } else {
            struct cq_slice atom = take_atom(p);
            if (domain)
                continue; /* what stands between the domain and ">" is nothing */
            if (blank && p->local.len && c != '.' && p->local.data[p->local.len - 1] != '.')
                cq_buf_byte(&p->local, ' ');
            cq_buf_slice_add(&p->local, atom);
        }
    }
}

/* What stands before "<", ":" or the end: words that are a phrase, the last of which may be a local part. */
struct gather {
    size_t mark; /* length of the name before the words that may be the local part */
    bool domain; /* "@" was seen */
    bool quoted; /* the last word was a quoted string */
};

static void add_word(struct mail_address_parser *p, struct gather *g, struct cq_slice word, bool blank, bool quoted)
{
    bool joined = p->local.len && !blank;
    if (!quoted && p->local.len && blank)
        joined = word.data[0] == '.' || p->local.data[p->local.len - 1] == '.';
    if (!joined) {
        cq_buf_reset(&p->local, SIZE_MAX);
        g->mark = p->name.len;
    }
    if (p->name.len && (blank || quoted || g->quoted))
        cq_buf_byte(&p->name, ' ');
    cq_buf_slice_add(&p->name, word);
    cq_buf_slice_add(&p->local, word);
    g->quoted = quoted;
}

static void add_quoted(struct mail_address_parser *p, struct gather *g, bool blank)
{
    struct cq_buf *text = &p->route; /* free until an angle address fills it */
    cq_buf_reset(text, SIZE_MAX);
    p->at = mail_lex_quoted(p->in, p->at, text);
    add_word(p, g, cq_buf_slice(text), blank, true);
    cq_buf_reset(text, SIZE_MAX);
}

/* "@": the words since the last blank are a local part, not part of the name. */
static void add_domain(struct mail_address_parser *p, struct gather *g)
{
    if (!g->domain)
        p->name.len = g->mark;
    take_at_domain(p, g->domain);
    g->domain = true;
}

/* "joe@example.test <joe@example.test>": what looked like an address is the name. */
static void domain_into_name(struct mail_address_parser *p)
{
    if (p->name.len)
        cq_buf_byte(&p->name, ' ');
    cq_buf_slice_add(&p->name, cq_buf_slice(&p->local));
    cq_buf_byte(&p->name, '@');
    cq_buf_slice_add(&p->name, cq_buf_slice(&p->domain));
}

static struct cq_slice name_or_comment(const struct mail_address_parser *p)
{
    struct cq_slice name = cq_slice_trim(cq_buf_slice(&p->name));
    return name.len ? name : cq_slice_trim(cq_buf_slice(&p->comment));
}

static bool mailbox(struct mail_address_parser *p, struct mail_address *a)
{
    skip_cfws(p); /* a comment behind the address may be its name */
    *a = (struct mail_address){.kind = MAIL_ADDRESS_MAILBOX,
                               .name = name_or_comment(p),
                               .route = cq_buf_slice(&p->route),
                               .local = cq_buf_slice(&p->local),
                               .domain = cq_buf_slice(&p->domain)};
    return true;
}

static bool group_end(struct mail_address_parser *p, struct mail_address *a)
{
    p->in_group = false;
    *a = (struct mail_address){.kind = MAIL_ADDRESS_GROUP_END};
    return true;
}

/* Everything up to the end of one mailbox or of a group's name. */
static bool gather(struct mail_address_parser *p, struct mail_address *a)
{
    struct gather g = {.mark = 0};
    for (bool blank = false;; blank = skip_cfws(p)) {
        uint8_t c = peek(p);
        if (p->at >= p->in.len || c == ',' || c == ';')
            break;
        if (c == '<') {
            if (g.domain)
                domain_into_name(p);
            take_angle(p);
            return mailbox(p, a);
        }
        if (c == '@') {
            add_domain(p, &g);
        } else if (g.domain && c != ':' && c != '>' && c != ')') {
            break; /* a comma is missing */
        } else if (c == ':' && !p->in_group && !g.domain) {
            p->at++;
            p->in_group = true;
            *a = (struct mail_address){.kind = MAIL_ADDRESS_GROUP_START, .name = cq_slice_trim(cq_buf_slice(&p->name))};
            return true;
        } else if (c == '"') {
            add_quoted(p, &g, blank);
        } else if (c == ':' || c == '>' || c == ')' || (c == '\\' && p->at + 1 == p->in.len)) {
            p->at++;
        } else if (c == '\\') {
            add_word(p, &g, cq_slice_sub(p->in, p->at + 1, 1), blank, false);
            p->at += 2;
        } else {
            struct cq_slice atom = take_atom(p);
            add_word(p, &g, atom, blank, false);
        }
    }
    if (!g.domain) { /* no address at all: all of it is the local part */
        cq_buf_reset(&p->local, SIZE_MAX);
        cq_buf_slice_add(&p->local, cq_buf_slice(&p->name));
        cq_buf_reset(&p->name, SIZE_MAX);
    }
    return mailbox(p, a);
}

bool mail_address_next(struct mail_address_parser *p, struct mail_address *address_r)
{
    struct cq_buf *bufs[] = {&p->name, &p->route, &p->local, &p->domain, &p->comment};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        cq_buf_reset(bufs[i], SIZE_MAX);
    for (skip_cfws(p); p->at < p->in.len; skip_cfws(p)) {
        uint8_t c = peek(p);
        if (c == ';' && p->in_group) {
            p->at++;
            return group_end(p, address_r);
        }
        if (c != ',' && c != ';' && c != '>' && c != ')' && (c != ':' || !p->in_group))
            return gather(p, address_r);
        p->at++;
        cq_buf_reset(&p->comment, SIZE_MAX);
    }
    return p->in_group && group_end(p, address_r);
}

static bool is_dot_atom(struct cq_slice s)
{
    if (s.len == 0 || s.data[0] == '.' || s.data[s.len - 1] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= 32 || s.data[i] == 127 || strchr("()<>[]:;@\\,\"", s.data[i]) ||
            (s.data[i] == '.' && s.data[i - 1] == '.'))
            return false;
    return true;
}

void mail_address_write(const struct mail_address *a, struct cq_buf *out)
{
    if (is_dot_atom(a->local)) {
        cq_buf_slice_add(out, a->local);
    } else {
        cq_buf_byte(out, '"');
        for (size_t i = 0; i < a->local.len; i++) {
            if (a->local.data[i] == '"' || a->local.data[i] == '\\')
                cq_buf_byte(out, '\\');
            cq_buf_byte(out, a->local.data[i]);
        }
        cq_buf_byte(out, '"');
    }
    if (a->domain.len) {
        cq_buf_byte(out, '@');
        cq_buf_slice_add(out, a->domain);
    }
}
