/* MAIL FROM (RFC 5321 4.1.1.2, RFC 1870, RFC 6531). */
#include "smtp/smtp_session.h"

static struct smtp_reply parse_reply(enum smtp_parse parse)
{
    switch (parse) {
    case SMTP_PARSE_OK:
        return SMTP_GO_ON;
    case SMTP_PARSE_ADDRESS:
        return (struct smtp_reply){553, "5.1.7", "That address is malformed"};
    case SMTP_PARSE_PARAM:
        return (struct smtp_reply){555, "5.5.4", "Parameter not recognised"};
    default:
        return (struct smtp_reply){501, "5.5.4", "MAIL FROM:<address>"};
    }
}

/* At submission the sender must be an identity of the account; the null path is for notifications (RFC 8098). */
static struct smtp_reply may_send(struct smtp_session *session)
{
    struct smtp_transaction *t = &session->transaction;
    struct cq_err err = {0};
    if (session->service->kind != SMTP_SUBMISSION || t->mail.from.null)
        return SMTP_GO_ON;
    enum cq_rc rc =
        directory_may_send_as(session->pump.front.worker->directory, session->pump.front.account, t->from, &err);
    if (rc == CQ_OK)
        return SMTP_GO_ON;
    if (rc == CQ_E_DENIED)
        return (struct smtp_reply){553, "5.7.1", "You may not send as that address"};
    return (struct smtp_reply){451, "4.3.0", "The directory is unavailable, please try again"};
}

static struct smtp_reply judge(struct smtp_session *session)
{
    struct smtp_transaction *t = &session->transaction;
    if (t->mail.has_size && t->mail.size > session->service->size_max)
        return (struct smtp_reply){552, "5.3.4", "Message too big"};
    if (t->mail.from.utf8 && !t->mail.smtputf8)
        return (struct smtp_reply){553, "5.6.7", "That address needs SMTPUTF8"};
    return may_send(session);
}

void smtp_cmd_mail(struct smtp_session *session, struct cq_slice rest)
{
    struct cq_slice param;
    smtp_transaction_begin(session);
    struct smtp_transaction *t = &session->transaction;
    /* The line's memory ends with this command, the transaction's does not. */
    rest = cq_pool_slice(t->pool, rest);
    struct smtp_reply reply = parse_reply(smtp_parse_mail(rest, t->pool, &t->mail, &param));
    if (!reply.code) {
        t->from = smtp_path_text(&t->mail.from, t->pool);
        reply = judge(session);
    }
    if (reply.code) {
        smtp_answer(session, reply);
        smtp_transaction_end(session);
        return;
    }
    t->open = true;
    smtp_say(session, 250, "2.1.0", "Sender OK");
}
