/* RCPT TO (RFC 5321 4.1.1.3): who gets it is found here, so that an unknown user is refused before the message comes.
 */
#include "smtp/smtp_session.h"

#include "core/front_metrics.h"

static struct smtp_reply parse_reply(enum smtp_parse parse)
{
    switch (parse) {
    case SMTP_PARSE_OK:
        return SMTP_GO_ON;
    case SMTP_PARSE_ADDRESS:
        return (struct smtp_reply){553, "5.1.3", "That address is malformed"};
    case SMTP_PARSE_PARAM:
        return (struct smtp_reply){555, "5.5.4", "Parameter not recognised"};
    default:
        return (struct smtp_reply){501, "5.5.4", "RCPT TO:<address>"};
    }
}

static const struct smtp_reply answers[] = {
    [DIR_FOUND] = {0, NULL, NULL},
    [DIR_NO_USER] = {550, "5.1.1", "No such user here"},
    [DIR_NO_DOMAIN] = {550, "5.7.1", "Not a domain of ours: relaying is denied"},
    [DIR_USER_DISABLED] = {550, "5.2.1", "That mailbox is disabled"},
};

static void *grow(struct cq_pool *pool, const void *old, size_t count, size_t *cap, size_t size)
{
    *cap = *cap ? *cap * 2 : 8;
    void *next = cq_pool_alloc(pool, *cap * size);
    if (count)
        memcpy(next, old, count * size);
    return next;
}

/* An account gets one copy of a transaction, however many recipients lead to it. */
static bool has_target(const struct smtp_transaction *t, uint64_t account, size_t *at_r)
{
    for (size_t i = 0; i < t->target_count; i++)
        if (t->targets[i].account == account) {
            *at_r = i;
            return true;
        }
    return false;
}

static void add_target(struct smtp_transaction *t, uint64_t account, const struct smtp_recipient *recipient)
{
    if (t->target_count == t->target_cap)
        t->targets = grow(t->pool, t->targets, t->target_count, &t->target_cap, sizeof *t->targets);
    t->targets[t->target_count++] = (struct front_target){
        .account = account,
        .address = recipient->canonical,
        .original = recipient->text,
        .rc = CQ_E_AGAIN,
    };
}

/* The recipient with the run of its targets; one that leads nowhere new shares the run of whom it repeats. */
static void add_recipient(struct smtp_transaction *t, struct smtp_recipient recipient,
                          const struct dir_resolution *found)
{
    size_t at = 0;
    recipient.first = t->target_count;
    for (size_t i = 0; i < found->account_count; i++)
        if (!has_target(t, found->accounts[i].id, &at))
            add_target(t, found->accounts[i].id, &recipient);
    recipient.count = t->target_count - recipient.first;
    if (!recipient.count) {
        recipient.first = at;
        recipient.count = 1;
    }
    if (t->recipient_count == t->recipient_cap)
        t->recipients = grow(t->pool, t->recipients, t->recipient_count, &t->recipient_cap, sizeof *t->recipients);
    t->recipients[t->recipient_count++] = recipient;
}

static struct smtp_reply resolve(struct smtp_session *session, struct cq_slice text)
{
    struct smtp_transaction *t = &session->transaction;
    struct smtp_recipient recipient = {.text = text};
    struct dir_resolution found;
    struct cq_err err = {0};
    enum cq_rc rc = directory_resolve(session->pump.front.worker->directory, recipient.text, t->pool, &found, &err);
    if (rc == CQ_E_INVALID)
        return (struct smtp_reply){550, "5.1.1", "No such user here"};
    if (rc != CQ_OK)
        return (struct smtp_reply){451, "4.3.0", "The directory is unavailable, please try again"};
    if (answers[found.answer].code)
        return answers[found.answer];
    if (t->target_count + found.account_count > SMTP_TARGETS_MAX)
        return (struct smtp_reply){452, "4.5.3", "Too many mailboxes behind these recipients"};
    recipient.canonical = found.address.text;
    add_recipient(t, recipient, &found);
    return (struct smtp_reply){250, "2.1.5", "Recipient OK"};
}

static void answer(struct smtp_session *session, struct smtp_reply reply)
{
    front_count_recipient(reply.code, reply.code >= 400 ? smtp_refusal_reason(session->verb, &reply) : NULL);
    smtp_answer(session, reply);
}

void smtp_cmd_rcpt(struct smtp_session *session, struct cq_slice rest)
{
    struct smtp_transaction *t = &session->transaction;
    struct smtp_rcpt rcpt;
    struct cq_slice param;
    if (t->recipient_count >= session->service->recipients_max) {
        answer(session, (struct smtp_reply){452, "4.5.3", "Too many recipients"});
        return;
    }
    rest = cq_pool_slice(t->pool, rest);
    struct smtp_reply reply = parse_reply(smtp_parse_rcpt(rest, t->pool, &rcpt, &param));
    if (!reply.code)
        session->concerning = smtp_path_text(&rcpt.to, t->pool);
    if (!reply.code && rcpt.to.utf8 && !t->mail.smtputf8)
        reply = (struct smtp_reply){553, "5.6.7", "That address needs SMTPUTF8"};
    if (!reply.code)
        reply = resolve(session, session->concerning);
    answer(session, reply);
}
