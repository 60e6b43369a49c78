/* Whole POP3 sessions: connect, TLS, USER, PASS, STAT, UIDL, RETR of the newest messages, QUIT; nothing is deleted. One
 * operation: a session, and under its own kind each RETR. */
#include "scenarios.h"

#include <stdlib.h>

#define RETRIEVED_MAX 20 /* messages of one session */

static enum cq_rc retrieve(struct load_session *session, uint64_t from, uint64_t count, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (uint64_t i = from; i > 0 && i + count > from && rc == CQ_OK; i--) {
        uint64_t start = load_now_us();
        rc = load_pop_command(&session->client, true, err, "RETR %llu", (unsigned long long)i);
        if (rc == CQ_OK)
            load_done(session->run, "RETR", start, session->client.pop.octets);
    }
    return rc;
}

static enum cq_rc one_session(struct load_session *session, const struct load_account *account, struct cq_err *err)
{
    struct load_client *c = &session->client;
    enum cq_rc rc =
        load_pop_login(c, &session->run->options->pop3, session->number, account->address, account->password, err);
    if (rc == CQ_OK)
        rc = load_pop_command(c, false, err, "STAT");
    if (rc != CQ_OK)
        return rc;
    uint64_t messages = strtoull((const char *)c->pop.line.head + sizeof "+OK", NULL, 10);
    rc = load_pop_command(c, true, err, "UIDL");
    if (rc == CQ_OK)
        rc = retrieve(session, messages, RETRIEVED_MAX, err);
    return rc == CQ_OK ? load_pop_command(c, false, err, "QUIT") : rc;
}

void scenario_pop3(struct load_session *session)
{
    struct load_run *run = session->run;
    struct cq_err err = {0};
    /* One mailbox is open in one session at a time: each session keeps to accounts of its own. */
    for (size_t turn = load_ready(session) ? 1 : 0; turn && load_going(session); turn++) {
        const struct load_account *account = load_account(session, session->number + turn * run->sessions);
        uint64_t start = load_now_us();
        if (one_session(session, account, &err) == CQ_OK)
            load_note(run, "session", start);
        else
            load_failed(run, "pop3", &err);
        load_client_close(&session->client);
    }
}
