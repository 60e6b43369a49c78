/* Log-ins: connect, TLS (resumed from the session's previous connection with --resume), greeting, LOGIN, OK; then the
 * connection is closed without waiting. One operation: from connect to OK. Kinds tell resumed handshakes apart. */
#include "scenarios.h"

static enum cq_rc one_login(struct load_session *session, struct io_tls_session **kept, bool *resumed_r,
                            struct cq_err *err)
{
    const struct load_options *options = session->run->options;
    const struct load_account *account = load_account(session, session->number);
    struct load_client *c = &session->client;
    enum cq_rc rc =
        load_imap_login(c, &options->imap, session->number, NULL, *kept, account->address, account->password, err);
    if (rc != CQ_OK)
        return rc;
    const struct io_tls_info *info = io_conn_tls(c->conn);
    *resumed_r = info && info->resumed;
    io_tls_session_free(kept);
    if (options->resume)
        *kept = io_conn_tls_session(c->conn);
    return CQ_OK;
}

void scenario_login(struct load_session *session)
{
    struct load_run *run = session->run;
    struct io_tls_session *kept = NULL;
    struct cq_err err = {0};
    bool resumed = false;
    enum cq_rc rc = one_login(session, &kept, &resumed, &err); /* warms the credentials, and gets a ticket */
    load_client_close(&session->client);
    if (rc != CQ_OK)
        load_failed(run, "preparing", &err);
    for (bool go = rc == CQ_OK && load_ready(session); go && load_going(session);) {
        uint64_t start = load_now_us();
        if (one_login(session, &kept, &resumed, &err) == CQ_OK)
            load_done(run, resumed ? "resumed" : "full", start, 0);
        else
            load_failed(run, "login", &err);
        load_client_close(&session->client);
    }
    io_tls_session_free(&kept);
}
