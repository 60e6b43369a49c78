/* STARTTLS (RFC 3207). What the client sent in clear behind it would be read as if it had come by TLS (CVE-2011-0411
 * and forty others): then the connection is closed. */
#include "smtp/smtp_session.h"

struct smtp_reply smtp_cmd_starttls_check(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    if (!session->service->tls)
        return (struct smtp_reply){502, "5.5.1", "STARTTLS is not offered here"};
    if (smtp_is_tls(session))
        return (struct smtp_reply){503, "5.5.1", "TLS is active"};
    return SMTP_GO_ON;
}

void smtp_cmd_starttls(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    /* Pipelined behind STARTTLS, the same as sent in its packet: never answered. */
    if (!io_conn_input(session->pump.front.conn).len)
        smtp_say(session, 220, "2.0.0", "Go ahead");
    /* RFC 3207 4.2: what was learnt in clear is forgotten. */
    session->helo[0] = '\0';
    session->junk = session->errors = 0;
    front_pump_start_tls(&session->pump, session->service->tls);
}
