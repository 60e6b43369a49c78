#include "mail/mail_dsn.h"

#include "mail/mail_header.h"
#include "mail/mail_word.h"
#include "mail/mail_write.h"

#include <stdio.h>

#define BOUNDARY_SIZE 40
#define DIAGNOSTIC_MAX 1024 /* octets of a remote server's answer that are shown */

static const struct {
    const char *action, *subject, *sentence;
} ACTIONS[] = {
    [MAIL_DSN_FAILED] =
        {"failed", "Undelivered mail: it could not be delivered",
         "Your message could not be delivered to the following recipient(s), and will not be tried again."},
    [MAIL_DSN_DELAYED] =
        {"delayed", "Delayed mail: it is still being tried",
         "Your message could not be delivered yet. It is still being tried; you need not send it again."},
    [MAIL_DSN_DELIVERED] = {"delivered", "Delivered mail", "Your message was delivered to the following recipient(s)."},
    [MAIL_DSN_RELAYED] = {"relayed", "Relayed mail",
                          "Your message was passed on to a system that sends no delivery reports."},
    [MAIL_DSN_EXPANDED] = {"expanded", "Expanded mail",
                           "Your message was delivered to a list and passed on from there."},
};

/* One field of the report: RFC 3464 2.1; nothing for an empty value. */
static void field(const char *name, const char *type, struct cq_slice value, struct cq_buf *out)
{
    struct cq_buf text;
    if (value.len == 0)
        return;
    cq_buf_init(&text, value.len + 32);
    cq_buf_cstr(&text, type);
    cq_buf_slice_add(&text, value);
    mail_write_field(cq_slice_cstr(name), cq_buf_slice(&text), out);
    cq_buf_fini(&text);
}

static void date_field(const char *name, struct mail_time time, struct cq_buf *out)
{
    if (time.utc_s == 0)
        return;
    cq_buf_printf(out, "%s: ", name);
    mail_date_write(time, out);
    cq_buf_cstr(out, "\r\n");
}

/* RFC 6533: the global types when an address is not ASCII. */
static bool is_global(const struct mail_dsn *dsn)
{
    for (size_t i = 0; i < dsn->recipient_count; i++)
        if (!mail_is_ascii(dsn->recipients[i].recipient))
            return true;
    return false;
}

static void head(const struct mail_dsn *dsn, enum mail_dsn_action action, const char *boundary, struct cq_buf *out)
{
    struct cq_slice domain = dsn->from;
    cq_slice_cut(&domain, '@');
    struct cq_buf from;
    cq_buf_init(&from, dsn->from.len + 64);
    cq_buf_cstr(&from, "Mail Delivery System <");
    cq_buf_slice_add(&from, dsn->from);
    cq_buf_byte(&from, '>');
    field("From", "", cq_buf_slice(&from), out);
    cq_buf_fini(&from);
    field("To", "", dsn->to, out);
    field("Subject", "", cq_slice_cstr(ACTIONS[action].subject), out);
    mail_write_date(dsn->now, out);
    mail_write_message_id(dsn->now, dsn->random, domain.len ? domain : dsn->reporting_mta, out);
    cq_buf_cstr(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"); /* RFC 3834 5 */
    cq_buf_printf(out, "Content-Type: multipart/report; report-type=%sdelivery-status;\r\n boundary=\"%s\"\r\n\r\n",
                  is_global(dsn) ? "global-" : "", boundary);
}

/* For people. */
static void explanation(const struct mail_dsn *dsn, enum mail_dsn_action action, struct cq_buf *out)
{
    cq_buf_cstr(out, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    cq_buf_printf(out, "This is the mail system at %.*s.\r\n\r\n%s\r\n", CQ_SLICE_ARG(dsn->reporting_mta),
                  ACTIONS[action].sentence);
    for (size_t i = 0; i < dsn->recipient_count; i++) {
        const struct mail_dsn_recipient *r = &dsn->recipients[i];
        struct cq_slice diagnostic = cq_slice_sub(r->diagnostic, 0, DIAGNOSTIC_MAX);
        cq_buf_cstr(out, "\r\n");
        field("  Recipient", "", r->recipient, out);
        field("  Status", "", r->status, out);
        field("  Server", "", r->remote_mta, out);
        field("  Its answer", "", diagnostic, out);
    }
}

static void report(const struct mail_dsn *dsn, struct cq_buf *out)
{
    const char *type = is_global(dsn) ? "utf-8; " : "rfc822; ";
    cq_buf_printf(out, "Content-Type: message/%sdelivery-status\r\n%s\r\n", is_global(dsn) ? "global-" : "",
                  is_global(dsn) ? "Content-Transfer-Encoding: 8bit\r\n" : "");
    field("Reporting-MTA", "dns; ", dsn->reporting_mta, out);
    field("Original-Envelope-Id", "", dsn->envelope_id, out);
    date_field("Arrival-Date", dsn->arrival, out);
    for (size_t i = 0; i < dsn->recipient_count; i++) {
        const struct mail_dsn_recipient *r = &dsn->recipients[i];
        cq_buf_cstr(out, "\r\n");
        field("Original-Recipient", "", r->original_recipient, out);
        field("Final-Recipient", type, r->recipient, out);
        field("Action", "", cq_slice_cstr(ACTIONS[r->action].action), out);
        field("Status", "", r->status, out);
        field("Remote-MTA", "dns; ", r->remote_mta, out);
        field("Diagnostic-Code", "smtp; ", cq_slice_sub(r->diagnostic, 0, DIAGNOSTIC_MAX), out);
        date_field("Last-Attempt-Date", r->last_attempt, out);
        date_field("Will-Retry-Until", r->will_retry_until, out);
    }
}

static void original(const struct mail_dsn *dsn, struct cq_buf *out)
{
    struct cq_slice text = dsn->original;
    if (!dsn->return_full)
        text = cq_slice_sub(text, 0, mail_header_length(text));
    bool ascii = mail_is_ascii(text);
    cq_buf_printf(out, "Content-Type: %s\r\n%s\r\n", dsn->return_full ? "message/rfc822" : "text/rfc822-headers",
                  ascii ? "" : "Content-Transfer-Encoding: 8bit\r\n");
    cq_buf_slice_add(out, text);
}

void mail_dsn_write(const struct mail_dsn *dsn, struct cq_buf *out)
{
    char boundary[BOUNDARY_SIZE] = "dsn-";
    for (unsigned i = 0; i < 16; i++)
        snprintf(boundary + 4 + 2 * i, 3, "%02x", dsn->random[i]);
    enum mail_dsn_action action = dsn->recipient_count ? dsn->recipients[0].action : MAIL_DSN_FAILED;
    head(dsn, action, boundary, out);
    cq_buf_printf(out, "--%s\r\n", boundary);
    explanation(dsn, action, out);
    cq_buf_printf(out, "\r\n--%s\r\n", boundary);
    report(dsn, out);
    cq_buf_printf(out, "\r\n--%s\r\n", boundary);
    original(dsn, out);
    cq_buf_printf(out, "\r\n--%s--\r\n", boundary);
}
