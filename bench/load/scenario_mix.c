/* What mail clients do all day, 50 of them: each session has INBOX of an account selected and draws commands from a
 * table of weights. One operation: a command until its OK; its name is its kind. */
#include "scenarios.h"

struct act {
    const char *kind;
    uint32_t weight; /* of 100 */
    enum cq_rc (*act)(struct load_session *session, struct cq_err *err);
};

/* One of the mailbox's messages, the newer ones more often. */
static unsigned long long some_message(struct load_session *session)
{
    uint32_t exists = (uint32_t)session->client.imap.exists;
    uint32_t a = cq_prng_below(&session->prng, exists), b = cq_prng_below(&session->prng, exists);
    return (a > b ? a : b) + 1ULL;
}

static enum cq_rc fetch_list(struct load_session *session, struct cq_err *err)
{
    unsigned long long last = some_message(session), first = last > 50 ? last - 49 : 1;
    return load_imap_command(&session->client, err, "FETCH %llu:%llu (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
                             first, last);
}

static enum cq_rc fetch_flags(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "FETCH 1:* (UID FLAGS)");
}

static enum cq_rc fetch_body(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "FETCH %llu (UID BODY.PEEK[])", some_message(session));
}

static enum cq_rc fetch_part(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "FETCH %llu (BODYSTRUCTURE BODY.PEEK[1]<0.2048>)",
                             some_message(session));
}

static enum cq_rc store(struct load_session *session, struct cq_err *err)
{
    static const char *const flags[] = {"+FLAGS (\\Seen)", "-FLAGS (\\Seen)", "+FLAGS (\\Flagged)",
                                        "-FLAGS (\\Flagged)"};
    return load_imap_command(&session->client, err, "STORE %llu %s", some_message(session),
                             flags[cq_prng_below(&session->prng, 4)]);
}

static enum cq_rc noop(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "NOOP");
}

static enum cq_rc status(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "STATUS Sent (MESSAGES UIDNEXT UNSEEN)");
}

static enum cq_rc list(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "LIST \"\" \"*\"");
}

static enum cq_rc select_again(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "SELECT INBOX");
}

static enum cq_rc search(struct load_session *session, struct cq_err *err)
{
    return load_imap_command(&session->client, err, "UID SEARCH UNSEEN");
}

static enum cq_rc append(struct load_session *session, struct cq_err *err)
{
    struct load_client *c = &session->client;
    const struct load_letter letter = load_next_letter(session);
    struct cq_slice message = load_letter_stamp(&letter);
    load_imap_tag(c);
    io_conn_printf(c->conn, "APPEND Sent (\\Seen) {%zu+}\r\n", message.len);
    io_conn_write(c->conn, message);
    io_conn_write(c->conn, CQ_SLICE("\r\n"));
    return load_imap_wait(c, LOAD_OK, err);
}

static const struct act acts[] = {
    {"FETCH envelopes of 50", 20, fetch_list},
    {"FETCH flags of all", 8, fetch_flags},
    {"FETCH body", 20, fetch_body},
    {"FETCH structure and part", 8, fetch_part},
    {"STORE", 12, store},
    {"NOOP", 14, noop},
    {"STATUS", 6, status},
    {"LIST", 2, list},
    {"SELECT", 4, select_again},
    {"SEARCH UNSEEN", 3, search},
    {"APPEND", 3, append},
};

static const struct act *draw(struct load_session *session)
{
    uint32_t at = cq_prng_below(&session->prng, 100);
    const struct act *act = acts;
    for (; at >= act->weight; act++)
        at -= act->weight;
    return act;
}

static enum cq_rc prepare(struct load_session *session, struct cq_err *err)
{
    const struct load_account *account = load_account(session, session->number);
    struct load_client *c = &session->client;
    enum cq_rc rc = load_imap_login(c, &session->run->options->imap, session->number, NULL, NULL, account->address,
                                    account->password, err);
    if (rc == CQ_OK && load_imap_command(c, NULL, "CREATE Sent") == CQ_E_EOF)
        rc = CQ_E_EOF;
    if (rc == CQ_OK)
        rc = load_imap_command(c, err, "SELECT INBOX");
    if (rc == CQ_OK && !c->imap.exists)
        rc = CQ_FAIL(err, CQ_E_INVALID, "INBOX is empty: it is seeded first");
    return rc;
}

void scenario_mix(struct load_session *session)
{
    struct cq_err err = {0};
    if (prepare(session, &err) != CQ_OK) {
        load_failed(session->run, "preparing", &err);
        return;
    }
    for (bool go = load_ready(session); go && load_going(session);) {
        const struct act *act = draw(session);
        uint64_t start = load_now_us();
        enum cq_rc rc = act->act(session, &err);
        if (rc == CQ_OK)
            load_done(session->run, act->kind, start, session->client.imap.octets);
        else
            load_failed(session->run, act->kind, &err);
        go = rc == CQ_OK || rc == CQ_E_DENIED;
    }
}
