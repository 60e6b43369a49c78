/* The command table, and the commands that need no file of their own. */
#include "smtp/smtp_session.h"

#define MX (1u << SMTP_MX)
#define SUB (1u << SMTP_SUBMISSION)
#define LMTP (1u << SMTP_LMTP)
#define ALL (MX | SUB | LMTP)

static void rset(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    smtp_transaction_end(session);
    smtp_say(session, 250, "2.0.0", "Reset");
}

static void noop(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    smtp_say(session, 250, "2.0.0", "OK");
}

static void quit(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    smtp_say(session, 221, "2.0.0", "Bye");
    session->pump.closing = true;
}

/* RFC 5321 3.5.3: neither confirmed nor denied. */
static void vrfy(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    smtp_say(session, 252, "2.5.1", "Send mail to find out");
}

static void help(struct smtp_session *session, struct cq_slice rest)
{
    (void)rest;
    smtp_say(session, 214, "2.0.0", "RFC 5321");
}

const struct smtp_verb smtp_verbs[] = {
    {"EHLO", "ehlo", MX | SUB, SMTP_NO_TRANSACTION, smtp_cmd_hello_check, smtp_cmd_ehlo},
    {"HELO", "ehlo", MX | SUB, SMTP_NO_TRANSACTION, smtp_cmd_hello_check, smtp_cmd_helo},
    {"LHLO", "ehlo", LMTP, SMTP_NO_TRANSACTION, smtp_cmd_hello_check, smtp_cmd_ehlo},
    {"MAIL", "mail", ALL, SMTP_NEEDS_HELO | SMTP_NEEDS_AUTH | SMTP_NO_TRANSACTION, NULL, smtp_cmd_mail},
    {"RCPT", "rcpt", ALL, SMTP_NEEDS_HELO | SMTP_NEEDS_AUTH | SMTP_NEEDS_MAIL, NULL, smtp_cmd_rcpt},
    {"DATA", "data", ALL, SMTP_NEEDS_MAIL | SMTP_NEEDS_RCPT | SMTP_NO_ARGUMENT, NULL, smtp_cmd_data},
    {"RSET", NULL, ALL, SMTP_NO_ARGUMENT, NULL, rset},
    {"NOOP", NULL, ALL, 0, NULL, noop},
    {"QUIT", NULL, ALL, SMTP_NO_ARGUMENT, NULL, quit},
    {"VRFY", NULL, ALL, 0, NULL, vrfy},
    {"HELP", NULL, ALL, 0, NULL, help},
    {"STARTTLS", NULL, ALL, SMTP_NO_ARGUMENT | SMTP_NO_TRANSACTION, smtp_cmd_starttls_check, smtp_cmd_starttls},
    {"AUTH", NULL, SUB, SMTP_NEEDS_HELO | SMTP_NO_TRANSACTION, smtp_cmd_auth_check, smtp_cmd_auth},
};
const size_t smtp_verb_count = sizeof smtp_verbs / sizeof *smtp_verbs;

static const struct {
    enum cq_rc rc;
    struct smtp_reply reply;
} outcomes[] = {
    {CQ_OK, {250, "2.0.0", "Stored"}},
    {CQ_E_OVER_QUOTA, {552, "5.2.2", "Mailbox full"}},
    {CQ_E_TOO_BIG, {552, "5.3.4", "Message too big"}},
    {CQ_E_CONFLICT, {554, "5.4.6", "Mail loop: delivered to this address before"}},
    {CQ_E_NO_SPACE, {452, "4.3.1", "Too little storage, please try again"}},
    {CQ_E_OVERLOADED, {451, "4.3.2", "Too busy, please try again"}},
};

struct smtp_reply smtp_reply_for(enum cq_rc rc)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        if (outcomes[i].rc == rc)
            return outcomes[i].reply;
    return (struct smtp_reply){451, "4.3.2", "Storage is unavailable, please try again"};
}

const struct cq_limit smtp_session_limit_rows[] = {SMTP_SESSION_LIMITS(CQ_LIMIT_ROW_) CQ_LIMIT_ROW_(
    FRONT_RECEIVED_MAX, FRONT_RECEIVED_MAX, "fields", "Received fields of a message (RFC 5321 6.3)", "554 5.4.6")};
const size_t smtp_session_limit_row_count = sizeof smtp_session_limit_rows / sizeof *smtp_session_limit_rows;
