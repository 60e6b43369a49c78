/* EHLO, HELO, LHLO (RFC 5321 4.1.1.1, RFC 2033 4.1). */
#include "smtp/smtp_session.h"

#include <stdio.h>

struct smtp_reply smtp_cmd_hello_check(struct smtp_session *session, struct cq_slice rest)
{
    (void)session;
    if (rest.len > SMTP_DOMAIN_MAX || !smtp_domain_ok(rest))
        return (struct smtp_reply){501, "5.5.4", "A host name or an address literal, please"};
    return SMTP_GO_ON;
}

static void remember(struct smtp_session *session, struct cq_slice name, bool esmtp)
{
    snprintf(session->helo, sizeof session->helo, "%.*s", CQ_SLICE_ARG(name));
    session->esmtp = esmtp;
}

void smtp_cmd_helo(struct smtp_session *session, struct cq_slice rest)
{
    remember(session, rest, false);
    smtp_say(session, 250, NULL, session->pump.front.worker->hostname);
}

void smtp_cmd_ehlo(struct smtp_session *session, struct cq_slice rest)
{
    remember(session, rest, true);
    io_conn_printf(session->pump.front.conn,
                   "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n",
                   session->pump.front.worker->hostname, (unsigned long long)session->service->size_max);
    if (session->service->tls && !smtp_is_tls(session))
        io_conn_write_cstr(session->pump.front.conn, "250-STARTTLS\r\n");
    if (smtp_may_auth(session))
        io_conn_write_cstr(session->pump.front.conn, "250-AUTH PLAIN LOGIN\r\n");
    io_conn_write_cstr(session->pump.front.conn, "250 ENHANCEDSTATUSCODES\r\n");
}
