/* What the outside is told of refused mail: the event message.rejected, and why in one word. */
#include "smtp/smtp_session.h"

#include "core/front_events.h"

/* RFC 3463 codes as our answers use them; the first row that fits. */
static const struct {
    const char *stage; /* NULL: any */
    const char *enhanced;
    const char *reason;
} reasons[] = {
    {NULL, "5.1.1", "unknown_user"},         {NULL, "5.1.3", "malformed_address"},
    {NULL, "5.1.7", "malformed_address"},    {NULL, "5.6.7", "malformed_address"},
    {NULL, "5.2.1", "mailbox_disabled"},     {NULL, "5.2.2", "over_quota"},
    {"rcpt", "5.7.1", "relay_denied"},       {"mail", "5.7.1", "sender_not_allowed"},
    {"data", "5.7.1", "sender_not_allowed"}, {NULL, "5.7.0", "auth_required"},
    {NULL, "4.5.3", "too_many_recipients"},  {NULL, "5.3.4", "too_big"},
    {NULL, "5.4.5", "daily_limit"},          {NULL, "5.4.6", "mail_loop"},
    {"data", "5.5.2", "bare_newline"},       {NULL, "5.6.0", "nul"},
    {NULL, "4.3.0", "unavailable"},          {NULL, "4.3.1", "unavailable"},
    {NULL, "4.3.2", "unavailable"},          {NULL, "4.4.2", "incomplete"},
};

const char *smtp_refusal_reason(const struct smtp_verb *verb, const struct smtp_reply *reply)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reply->enhanced && strcmp(reasons[i].enhanced, reply->enhanced) == 0 &&
            (!reasons[i].stage || (verb->stage && strcmp(reasons[i].stage, verb->stage) == 0)))
            return reasons[i].reason;
    return "protocol";
}

void smtp_tell_refusal(struct smtp_session *session, const struct smtp_reply *reply)
{
    const struct smtp_transaction *t = &session->transaction;
    if (!session->verb || !session->verb->stage)
        return;
    const struct front_rejection rejection = {
        .stage = session->verb->stage,
        .reason = smtp_refusal_reason(session->verb, reply),
        .code = reply->code,
        .enhanced = reply->enhanced,
        .verb = session->verb->name,
        .text = reply->text,
        .ehlo = session->helo,
        .message_id = t->message_id,
        .envelope_from = t->from,
        .recipient = session->concerning,
        .recipients = (uint32_t)t->recipient_count,
        .size = session->message_size,
    };
    front_event_rejected(&session->pump.front, &rejection);
}
