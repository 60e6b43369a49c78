#include "mail/mail_envelope.h"

#include "mail/mail_address.h"
#include "mail/mail_word.h"

/* Past a string at the start of *s; its value's raw octets (between quotes, or the literal's). */
static bool take_string(struct cq_slice *s, struct cq_slice *inside_r, bool *quoted_r)
{
    struct cq_slice rest = cq_slice_skip(*s, 1);
    size_t n = 0;
    *quoted_r = s->len && s->data[0] == '"';
    if (*quoted_r) {
        while (n < rest.len && rest.data[n] != '"')
            n += rest.data[n] == '\\' ? 2 : 1;
        if (n >= rest.len)
            return false;
        *inside_r = cq_slice_sub(rest, 0, n);
        *s = cq_slice_skip(rest, n + 1);
        return true;
    }
    uint64_t len;
    n = cq_slice_find(rest, '}');
    if (s->len == 0 || s->data[0] != '{' || !cq_slice_u64(cq_slice_sub(rest, 0, n), SIZE_MAX, &len))
        return false;
    rest = cq_slice_skip(rest, n + 1);
    if (!cq_slice_starts(rest, CQ_SLICE("\r\n")) || rest.len - 2 < len)
        return false;
    *inside_r = cq_slice_sub(rest, 2, (size_t)len);
    *s = cq_slice_skip(rest, 2 + (size_t)len);
    return true;
}

/* Past NIL, a string or a list at the start of *s. */
static bool take_member(struct cq_slice *s, struct cq_slice *member_r)
{
    struct cq_slice at = *s, inside;
    size_t depth = 0;
    bool quoted;
    do {
        if (at.len == 0)
            return false;
        uint8_t c = at.data[0];
        if (c == '"' || c == '{') {
            if (!take_string(&at, &inside, &quoted))
                return false;
            continue;
        }
        if (c == ')' && depth == 0)
            return false;
        depth += c == '(';
        depth -= c == ')';
        bool nil = cq_slice_starts(at, CQ_SLICE("NIL"));
        if (!nil && c != '(' && c != ')' && (c != ' ' || depth == 0))
            return false;
        at = cq_slice_skip(at, nil ? 3 : 1);
    } while (depth);
    *member_r = cq_slice_sub(*s, 0, s->len - at.len);
    *s = at;
    return true;
}

static bool take_byte(struct cq_slice *s, uint8_t c)
{
    if (s->len == 0 || s->data[0] != c)
        return false;
    *s = cq_slice_skip(*s, 1);
    return true;
}

bool mail_envelope_split(struct cq_slice envelope, struct cq_slice members_r[static MAIL_ENVELOPE_FIELDS])
{
    if (!take_byte(&envelope, '('))
        return false;
    for (unsigned i = 0; i < MAIL_ENVELOPE_FIELDS; i++)
        if ((i > 0 && !take_byte(&envelope, ' ')) || !take_member(&envelope, &members_r[i]))
            return false;
    return take_byte(&envelope, ')') && envelope.len == 0;
}

static bool is_nil(struct cq_slice member)
{
    return cq_slice_eq(member, CQ_SLICE("NIL"));
}

/* Appends a string's value; false for NIL. */
static bool string_value(struct cq_slice member, struct cq_buf *out)
{
    struct cq_slice inside;
    bool quoted;
    if (is_nil(member) || !take_string(&member, &inside, &quoted))
        return false;
    for (size_t i = 0; i < inside.len; i++) {
        if (quoted && inside.data[i] == '\\' && i + 1 < inside.len)
            i++;
        cq_buf_byte(out, inside.data[i]);
    }
    return true;
}

/* Takes the next "(name route local host)" off a list without its outer parenthesis. */
static bool take_address(struct cq_slice *s, struct cq_slice parts_r[4])
{
    if (!take_byte(s, '('))
        return false;
    for (unsigned i = 0; i < 4; i++)
        if ((i > 0 && !take_byte(s, ' ')) || !take_member(s, &parts_r[i]))
            return false;
    return take_byte(s, ')');
}

/* "name <local@domain>", decoded; a group's name alone. */
static void address_text(struct cq_slice parts[4], struct cq_buf *out)
{
    struct cq_buf name, local, domain;
    size_t max = parts[0].len + parts[2].len + parts[3].len + 16;
    cq_buf_init(&name, max);
    cq_buf_init(&local, max);
    cq_buf_init(&domain, max);
    bool has_local = string_value(parts[2], &local);
    if (string_value(parts[0], &name)) {
        mail_word_decode(cq_buf_slice(&name), out);
        cq_buf_byte(out, ' ');
    }
    if (has_local && string_value(parts[3], &domain)) {
        struct mail_address a = {.local = cq_buf_slice(&local), .domain = cq_buf_slice(&domain)};
        cq_buf_byte(out, '<');
        mail_address_write(&a, out);
        cq_buf_byte(out, '>');
    } else if (has_local) {
        mail_word_decode(cq_buf_slice(&local), out);
        cq_buf_byte(out, ':');
    }
    cq_buf_fini(&name);
    cq_buf_fini(&local);
    cq_buf_fini(&domain);
}

static void list_text(struct cq_slice list, struct cq_buf *out)
{
    struct cq_slice parts[4];
    bool first = true;
    while (take_address(&list, parts)) {
        if (is_nil(parts[2]))
            continue; /* a group's end */
        if (!first)
            cq_buf_cstr(out, ", ");
        first = false;
        address_text(parts, out);
    }
}

bool mail_envelope_text(struct cq_slice member, struct cq_buf *out)
{
    if (member.len && member.data[0] == '(') {
        list_text(cq_slice_skip(member, 1), out);
        return true;
    }
    struct cq_buf value;
    cq_buf_init(&value, member.len);
    bool has = string_value(member, &value);
    if (has)
        mail_word_decode(cq_buf_slice(&value), out);
    cq_buf_fini(&value);
    return has;
}

bool mail_envelope_first_local(struct cq_slice member, struct cq_buf *out)
{
    struct cq_slice parts[4];
    if (!take_byte(&member, '('))
        return false;
    while (take_address(&member, parts))
        if (!is_nil(parts[2]) && !is_nil(parts[3]))
            return string_value(parts[2], out);
    return false;
}

bool mail_envelope_contains(struct cq_slice envelope, enum mail_envelope_field field, const struct mail_needle *needle)
{
    struct cq_slice members[MAIL_ENVELOPE_FIELDS];
    struct cq_buf text;
    if (!mail_envelope_split(envelope, members))
        return false;
    cq_buf_init(&text, 8 * members[field].len + 64);
    bool found = mail_envelope_text(members[field], &text) && mail_needle_in(needle, cq_buf_slice(&text));
    cq_buf_fini(&text);
    return found;
}
