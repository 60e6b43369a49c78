/* USER and PASS, AUTH PLAIN (RFC 5034), and the making of the maildrop. */
#include "pop3/pop3_session.h"

#include "base/cq_b64.h"
#include "base/cq_mem.h"
#include "core/front_login.h"

#include <stdio.h>
#include <stdlib.h>

#define DROP_POOL (16u << 10)

static enum cq_rc add_records(struct pop3_session *session, struct cq_slice records, size_t *cap)
{
    struct fetch_record record;
    enum cq_rc rc;
    while ((rc = fetch_record_next(&records, &record)) == CQ_OK && session->count < POP3_MAILDROP_MAX) {
        if (session->count == *cap) {
            *cap *= 2;
            session->messages = cq_realloc(session->messages, *cap * sizeof *session->messages);
        }
        session->messages[session->count++] =
            (struct pop3_message){.uid = record.uid, .size = record.size, .email = record.email};
    }
    return rc == CQ_E_EOF || rc == CQ_OK ? CQ_OK : rc;
}

static enum cq_rc find_inbox(struct pop3_session *session, struct cq_pool *pool, struct cq_err *err)
{
    struct mail_mailbox_list list;
    enum cq_rc rc = mailstore_list(session->pump.front.worker->mailstore, &session->account, pool, &list, err);
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < list.count; i++)
        if (list.mailboxes[i].use == MAIL_USE_INBOX) {
            session->mailbox = list.mailboxes[i].id;
            session->uidvalidity = list.mailboxes[i].uidvalidity;
            return CQ_OK;
        }
    return CQ_FAIL(err, CQ_E_NO_MAILBOX, "the account has no INBOX");
}

static enum cq_rc load(struct pop3_session *session, struct cq_pool *pool, struct cq_err *err)
{
    struct mail_records batch = {.next_uid = 1};
    size_t cap = 64;
    enum cq_rc rc = find_inbox(session, pool, err);
    session->messages = cq_malloc(cap * sizeof *session->messages);
    while (rc == CQ_OK && batch.next_uid) {
        struct uid_range all = {batch.next_uid, UINT32_MAX};
        const struct uidset uids = {&all, 1};
        struct cq_pool *scratch = cq_pool_new(DROP_POOL);
        rc = mailstore_fetch(session->pump.front.worker->mailstore, &session->account, session->mailbox, &uids, false,
                             scratch, &batch, err);
        if (rc == CQ_OK)
            rc = add_records(session, batch.records, &cap);
        cq_pool_free(&scratch);
    }
    return rc;
}

static void enter(struct pop3_session *session, const char *mechanism, struct cq_slice user, struct cq_slice password)
{
    struct cq_err err = {0};
    enum cq_rc rc = front_login(&session->pump.front, DIR_POP, mechanism, user, password, &err);
    if (rc != CQ_OK) {
        pop3_say_error(session, rc);
        return;
    }
    struct cq_pool *pool = cq_pool_new(DROP_POOL);
    session->account = (struct mailstore_account){.id = session->pump.front.account};
    rc = load(session, pool, &err);
    cq_pool_free(&pool);
    if (rc == CQ_OK) {
        io_conn_printf(session->pump.front.conn, "+OK %zu messages\r\n", session->count);
        return;
    }
    /* Never an empty maildrop for one that could not be read: the client would forget its mail. */
    pop3_say_error(session, CQ_E_UNAVAILABLE);
    session->pump.closing = true;
}

static bool refuse_in_clear(struct pop3_session *session)
{
    if (pop3_may_auth(session))
        return false;
    pop3_say(session, "-ERR [AUTH] Encryption is required: STLS first");
    return true;
}

void pop3_cmd_user(struct pop3_session *session, struct cq_slice rest)
{
    rest = cq_slice_trim(rest);
    if (refuse_in_clear(session))
        return;
    if (!rest.len || rest.len >= sizeof session->user) {
        pop3_say(session, "-ERR Which user?");
        return;
    }
    snprintf(session->user, sizeof session->user, "%.*s", CQ_SLICE_ARG(rest));
    pop3_say(session, "+OK"); /* whether the user exists or not */
}

void pop3_cmd_pass(struct pop3_session *session, struct cq_slice rest)
{
    if (refuse_in_clear(session))
        return;
    if (!session->user[0]) {
        pop3_say(session, "-ERR USER first");
        return;
    }
    enter(session, "PASS", cq_slice_cstr(session->user), rest);
    session->user[0] = '\0';
}

static void auth_plain(struct pop3_session *session, struct cq_slice response)
{
    struct cq_buf message;
    struct cq_slice user, password;
    cq_buf_init(&message, POP3_AUTH_LINE_MAX);
    if (cq_slice_eq(response, CQ_SLICE("*")))
        pop3_say(session, "-ERR Cancelled");
    else if (!cq_b64_decode(&message, response, CQ_B64_STD) ||
             !front_sasl_plain(cq_buf_slice(&message), &user, &password))
        pop3_say(session, "-ERR That is not a PLAIN response");
    else
        enter(session, "PLAIN", user, password);
    if (message.data)
        cq_wipe(message.data, message.cap);
    cq_buf_fini(&message);
}

void pop3_cmd_auth(struct pop3_session *session, struct cq_slice rest)
{
    struct cq_slice mechanism = cq_slice_cut(&rest, ' '), response = cq_slice_trim(rest);
    if (!mechanism.len) { /* RFC 5034 errata: a list of mechanisms, as old clients ask */
        io_conn_printf(session->pump.front.conn, "+OK\r\n%s.\r\n", pop3_may_auth(session) ? "PLAIN\r\n" : "");
        return;
    }
    if (!cq_slice_caseeq(mechanism, CQ_SLICE("PLAIN"))) {
        pop3_say(session, "-ERR Mechanisms: PLAIN");
        return;
    }
    if (refuse_in_clear(session))
        return;
    struct cq_pool *pool = cq_pool_new(DROP_POOL);
    enum cq_rc rc = CQ_OK;
    if (!response.len) {
        io_conn_write_cstr(session->pump.front.conn, "+ \r\n");
        rc = front_pump_read_line(&session->pump, POP3_AUTH_LINE_MAX, pool, &response);
    }
    if (rc == CQ_OK) {
        auth_plain(session, response);
    } else {
        pop3_say(session, "-ERR Line too long, or no answer");
        session->pump.closing = true;
    }
    cq_pool_free(&pool);
}
