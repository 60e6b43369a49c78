/* From SMTP in until the message can be read in IMAP. Each session has an account of its own, an SMTP connection and an
 * IMAP connection with INBOX selected. One operation: the message is sent; from its 250 on, NOOP until EXISTS grows (at
 * once, then after 1, 2, 4 ... 16 ms); then the Message-ID of the newest message is fetched and must be this one. */
#include "scenarios.h"

#define POLL_MAX_MS 16
#define GIVE_UP_US (60 * UINT64_C(1000000))
#define FIELD_MAX 256

struct e2e {
    struct load_session *session;
    struct load_client smtp;
    const struct load_account *account;
    uint64_t seen; /* messages that are known to be there */
};

static enum cq_rc prepare(struct e2e *e, struct cq_err *err)
{
    const struct load_options *options = e->session->run->options;
    struct load_client *imap = &e->session->client;
    e->smtp = *imap;
    enum cq_rc rc = load_smtp_open(&e->smtp, &options->smtp, e->session->number, false, err);
    if (rc == CQ_OK)
        rc = load_imap_login(imap, &options->imap, e->session->number, NULL, NULL, e->account->address,
                             e->account->password, err);
    if (rc == CQ_OK)
        rc = load_imap_command(imap, err, "SELECT INBOX");
    e->seen = imap->imap.exists;
    return rc;
}

static enum cq_rc wait_until_there(struct e2e *e, struct cq_err *err)
{
    struct load_client *imap = &e->session->client;
    uint64_t pause_ms = 0, give_up = load_now_us() + GIVE_UP_US;
    for (;;) {
        enum cq_rc rc = load_imap_command(imap, err, "NOOP");
        if (rc != CQ_OK || imap->imap.exists > e->seen)
            return rc;
        if (load_now_us() > give_up)
            return CQ_FAIL(err, CQ_E_TIMEOUT, "not in the mailbox after a minute");
        pause_ms = pause_ms ? pause_ms * 2 : 1;
        io_fiber_sleep(pause_ms < POLL_MAX_MS ? pause_ms : POLL_MAX_MS);
    }
}

static enum cq_rc read_it(struct e2e *e, uint64_t token, struct cq_err *err)
{
    struct load_client *imap = &e->session->client;
    uint8_t field[FIELD_MAX + 1] = {0}, wanted[LOAD_TOKEN_SIZE + 1] = {0};
    load_token_write(wanted, token);
    imap->imap.capture = field;
    imap->imap.capture_max = FIELD_MAX;
    enum cq_rc rc = load_imap_command(imap, err, "FETCH %llu (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])",
                                      (unsigned long long)imap->imap.exists);
    imap->imap.capture = NULL;
    e->seen = imap->imap.exists;
    if (rc == CQ_OK && !strstr((const char *)field, (const char *)wanted))
        return CQ_FAIL(err, CQ_E_CORRUPT, "the newest message is not the one that was sent");
    return rc;
}

static enum cq_rc one_message(struct e2e *e, bool *refused_r, struct cq_err *err)
{
    struct load_run *run = e->session->run;
    uint64_t start = load_now_us();
    const struct load_letter letter = load_next_letter(e->session);
    *refused_r = false;
    enum cq_rc rc = load_smtp_send(&e->smtp, "sender@load.test", e->account->address, &letter, refused_r, err);
    if (rc != CQ_OK)
        return rc;
    uint64_t accepted = load_now_us();
    rc = wait_until_there(e, err);
    if (rc == CQ_OK)
        rc = read_it(e, letter.token, err);
    if (rc == CQ_OK) {
        load_done(run, NULL, start, letter.message->len);
        load_note(run, "250 until readable", accepted);
    }
    return rc;
}

void scenario_e2e(struct load_session *session)
{
    struct e2e e = {.session = session, .account = load_account(session, session->number)};
    struct cq_err err = {0};
    bool refused = false;
    enum cq_rc rc = prepare(&e, &err);
    if (rc != CQ_OK)
        load_failed(session->run, "preparing", &err);
    for (bool go = rc == CQ_OK && load_ready(session); go && load_going(session);) {
        if (one_message(&e, &refused, &err) == CQ_OK)
            continue;
        load_failed(session->run, "e2e", &err);
        go = refused;
    }
    load_client_close(&e.smtp);
}
