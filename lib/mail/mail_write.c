#include "mail/mail_write.h"

#define COLUMNS 78

/* Controls, and what would end a comment or a path, become "?". */
static void add_clean(struct cq_slice text, const char *also, struct cq_buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        cq_buf_byte(out, c < 32 || c == 127 || strchr(also, c) ? '?' : c);
    }
}

void mail_write_field(struct cq_slice name, struct cq_slice value, struct cq_buf *out)
{
    size_t column = name.len + 1;
    add_clean(name, ":", out);
    cq_buf_byte(out, ':');
    while (value.len) {
        size_t n = 0;
        while (n < value.len && value.data[n] == ' ')
            n++;
        n += cq_slice_find(cq_slice_skip(value, n), ' ');
        struct cq_slice word = cq_slice_sub(value, 0, n); /* with the blanks before it */
        bool blank = word.data[0] == ' ' || column == name.len + 1;
        bool only_blanks = cq_slice_trim(word).len == 0;
        if (blank && !only_blanks && column > name.len + 1 && column + word.len > COLUMNS) {
            cq_buf_cstr(out, "\r\n");
            column = 0;
        }
        if (word.data[0] != ' ') {
            cq_buf_byte(out, ' ');
            column++;
        }
        add_clean(word, "", out);
        column += word.len;
        value = cq_slice_skip(value, n);
    }
    cq_buf_cstr(out, "\r\n");
}

/* RFC 5321 4.1.3: an address literal. */
static void add_literal(struct cq_slice ip, struct cq_buf *out)
{
    cq_buf_cstr(out, cq_slice_find(ip, ':') < ip.len ? "[IPv6:" : "[");
    add_clean(ip, "[]()\\", out);
    cq_buf_byte(out, ']');
}

/* from-domain, then what we know of the client ourselves in a comment. */
static void add_from(const struct mail_received *r, struct cq_buf *out)
{
    if (r->helo.len == 0 && r->client_ip.len == 0)
        return;
    cq_buf_cstr(out, " from ");
    add_clean(r->helo.len ? r->helo : CQ_SLICE("unknown"), " ()<>;\\\"", out);
    if (r->client_ip.len) {
        cq_buf_cstr(out, " (");
        if (r->client_name.len) {
            add_clean(r->client_name, " ()<>;\\\"", out);
            cq_buf_byte(out, ' ');
        }
        add_literal(r->client_ip, out);
        cq_buf_byte(out, ')');
    }
    cq_buf_cstr(out, "\r\n\t");
}

void mail_write_received(const struct mail_received *r, struct cq_buf *out)
{
    cq_buf_cstr(out, "Received:");
    add_from(r, out);
    cq_buf_cstr(out, r->helo.len || r->client_ip.len ? "by " : " by ");
    add_clean(r->by, " ()<>;\\\"", out);
    cq_buf_cstr(out, " with ");
    add_clean(r->with, " ()<>;\\\"", out);
    if (r->tls.len) {
        cq_buf_cstr(out, " (");
        add_clean(r->tls, "()\\", out);
        cq_buf_byte(out, ')');
    }
    cq_buf_cstr(out, " id ");
    add_clean(r->id, " ()<>;\\\"", out);
    if (r->recipient.len) {
        cq_buf_cstr(out, "\r\n\tfor <");
        add_clean(r->recipient, "", out);
        cq_buf_byte(out, '>');
    }
    cq_buf_cstr(out, ";\r\n\t");
    mail_date_write(r->date, out);
    cq_buf_cstr(out, "\r\n");
}

void mail_write_return_path(struct cq_slice path, struct cq_buf *out)
{
    cq_buf_cstr(out, "Return-Path: <");
    add_clean(path, "", out); /* "<" and ">" may stand in a quoted local part */
    cq_buf_cstr(out, ">\r\n");
}

void mail_write_delivered_to(struct cq_slice address, struct cq_buf *out)
{
    cq_buf_cstr(out, "Delivered-To: ");
    add_clean(address, "", out);
    cq_buf_cstr(out, "\r\n");
}

void mail_write_date(struct mail_time date, struct cq_buf *out)
{
    cq_buf_cstr(out, "Date: ");
    mail_date_write(date, out);
    cq_buf_cstr(out, "\r\n");
}

void mail_write_message_id(struct mail_time date, const uint8_t random[static 16], struct cq_slice domain,
                           struct cq_buf *out)
{
    cq_buf_printf(out, "Message-ID: <%llx.", (unsigned long long)date.utc_s);
    for (unsigned i = 0; i < 16; i++)
        cq_buf_printf(out, "%02x", random[i]);
    cq_buf_byte(out, '@');
    add_clean(domain, " <>", out);
    cq_buf_cstr(out, ">\r\n");
}
