#include "mail/mail_header.h"

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* The first line of s with its line end. */
static struct cq_slice first_line(struct cq_slice s)
{
    size_t at = cq_slice_find(s, '\n');
    return cq_slice_sub(s, 0, at < s.len ? at + 1 : at);
}

static size_t line_end_length(struct cq_slice line)
{
    if (line.len == 0 || line.data[line.len - 1] != '\n')
        return 0;
    return line.len > 1 && line.data[line.len - 2] == '\r' ? 2 : 1;
}

static bool is_empty_line(struct cq_slice line)
{
    return line.len > 0 && line_end_length(line) == line.len;
}

size_t mail_header_name_length(struct cq_slice line, size_t *value_r)
{
    size_t n = 0, at;
    line = cq_slice_sub(line, 0, MAIL_HEADER_NAME_MAX);
    while (n < line.len && line.data[n] > 32 && line.data[n] < 127 && line.data[n] != ':')
        n++;
    for (at = n; at < line.len && is_blank(line.data[at]);)
        at++; /* obsolete: blanks before the colon, RFC 5322 4.5 */
    if (n == 0 || at == line.len || line.data[at] != ':')
        return 0;
    *value_r = at + 1;
    return n;
}

void mail_header_iter_init(struct mail_header_iter *iter, struct cq_slice header)
{
    iter->rest = header;
}

bool mail_header_next(struct mail_header_iter *iter, struct mail_header_field *field_r)
{
    struct cq_slice line = first_line(iter->rest);
    if (line.len == 0 || is_empty_line(line))
        return false;
    struct cq_slice raw = line, rest = cq_slice_skip(iter->rest, line.len);
    while (rest.len && is_blank(rest.data[0])) {
        struct cq_slice more = first_line(rest);
        raw.len += more.len;
        rest = cq_slice_skip(rest, more.len);
    }
    iter->rest = rest;
    size_t value_at = 0, name_len = mail_header_name_length(line, &value_at);
    field_r->raw = raw;
    field_r->name = cq_slice_sub(raw, 0, name_len);
    field_r->value = cq_slice_skip(raw, value_at);
    field_r->value.len -= line_end_length(field_r->value);
    return true;
}

bool mail_header_find(struct cq_slice header, struct cq_slice name, struct mail_header_field *field_r)
{
    struct mail_header_iter iter;
    mail_header_iter_init(&iter, header);
    while (mail_header_next(&iter, field_r))
        if (field_r->name.len && cq_slice_caseeq(field_r->name, name))
            return true;
    return false;
}

size_t mail_header_length(struct cq_slice octets)
{
    size_t at = 0;
    while (at < octets.len) {
        struct cq_slice line = first_line(cq_slice_skip(octets, at));
        at += line.len;
        if (is_empty_line(line))
            break;
    }
    return at;
}

void mail_header_unfold(struct cq_slice value, struct cq_buf *out)
{
    value = cq_slice_trim(value);
    size_t from = 0;
    for (size_t i = 0; i <= value.len; i++) {
        if (i < value.len && value.data[i] != '\r' && value.data[i] != '\n' && value.data[i] != '\0')
            continue;
        cq_buf_slice_add(out, cq_slice_sub(value, from, i - from));
        from = i + 1;
    }
}

static bool in_list(struct cq_slice name, const struct cq_slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cq_slice_caseeq(name, names[i]))
            return true;
    return false;
}

void mail_header_filter(struct cq_slice header, const struct cq_slice *names, size_t count, bool without,
                        struct cq_buf *out)
{
    struct mail_header_iter iter;
    struct mail_header_field field;
    mail_header_iter_init(&iter, header);
    while (mail_header_next(&iter, &field)) {
        if ((field.name.len && in_list(field.name, names, count)) == without)
            continue;
        cq_buf_slice_add(out, field.raw);
        if (line_end_length(field.raw) == 0)
            cq_buf_cstr(out, "\r\n");
    }
    cq_buf_cstr(out, "\r\n");
}
