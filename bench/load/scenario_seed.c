/* Fills a mailbox by APPEND: --operations messages in all, shared out over the sessions; each account in turn, or one
 * account when there is one. With --multiappend (RFC 3502) a command carries up to BATCH messages. CREATE comes first;
 * "exists" is no error. */
#include "scenarios.h"

#define BATCH 50

static enum cq_rc prepare(struct load_session *session, struct cq_err *err)
{
    const struct load_options *options = session->run->options;
    const struct load_account *account = load_account(session, session->number);
    enum cq_rc rc = load_imap_login(&session->client, &options->imap, session->number, NULL, NULL, account->address,
                                    account->password, err);
    if (rc != CQ_OK)
        return rc;
    rc = load_imap_command(&session->client, NULL, "CREATE \"%s\"", options->mailbox);
    return rc == CQ_E_DENIED ? CQ_OK : rc;
}

static size_t append(struct load_session *session, size_t batch, struct cq_err *err)
{
    struct load_client *c = &session->client;
    size_t octets = 0;
    load_imap_tag(c);
    io_conn_printf(c->conn, "APPEND \"%s\"", session->run->options->mailbox);
    for (size_t i = 0; i < batch; i++) {
        const struct load_letter letter = load_next_letter(session);
        struct cq_slice message = load_letter_stamp(&letter);
        io_conn_printf(c->conn, " (%s) {%zu+}\r\n", cq_prng_below(&session->prng, 4) ? "\\Seen" : "\\Flagged",
                       message.len);
        io_conn_write(c->conn, message);
        octets += message.len;
    }
    io_conn_write(c->conn, CQ_SLICE("\r\n"));
    return load_imap_wait(c, LOAD_OK, err) == CQ_OK ? octets : 0;
}

void scenario_seed(struct load_session *session)
{
    struct load_run *run = session->run;
    struct cq_err err = {0};
    if (prepare(session, &err) != CQ_OK) {
        load_failed(run, "preparing", &err);
        return;
    }
    for (bool go = load_ready(session); go && load_going(session);) {
        size_t batch = 1;
        while (run->options->multiappend && batch < BATCH && load_going(session))
            batch++;
        uint64_t start = load_now_us();
        size_t octets = append(session, batch, &err);
        if (octets)
            load_done(run, NULL, start, octets);
        else
            load_failed(run, "append", &err);
        go = octets || err.rc == CQ_E_DENIED;
    }
}
