/* LOGIN (RFC 3501 6.2.3), AUTHENTICATE PLAIN (RFC 4616, RFC 4959), STARTTLS, LOGOUT. */
#include "base/cq_b64.h"
#include "base/cq_mem.h"
#include "imap/imap_recent.h"
#include "imap/imap_reply.h"

/* ---- Log-in ---- */

static void welcome(struct imap_run *run, const struct imap_identity *identity)
{
    struct imap_session *session = run->session;
    struct cq_buf code;
    session->account = (struct mailstore_account){.id = identity->account};
    session->state = IMAP_AUTHENTICATED;
    session->junk = 0;
    imap_reader_set_limits(&session->reader, &imap_reader_auth);
    cq_buf_init(&code, 1024);
    imap_write_capability(&code, session);
    /* In the tagged OK too: some clients look nowhere else. */
    imap_ok(run, cq_pool_cstr(run->pool, cq_buf_slice(&code)), "Logged in");
    cq_buf_fini(&code);
}

/* One answer for an unknown user and a wrong password. */
static void refuse(struct imap_run *run, enum cq_rc rc, const struct cq_err *err)
{
    struct imap_session *session = run->session;
    imap_fail(run, rc, err);
    if (rc == CQ_E_DENIED)
        imap_no(run, "AUTHORIZATIONFAILED", "This account may not use IMAP");
    if (rc == CQ_E_LIMIT)
        imap_no(run, "LIMIT", "Too many connections of this account");
    if (rc != CQ_E_AUTH && rc != CQ_E_DENIED)
        return;
    if (++session->login_failures >= IMAP_LOGIN_FAILURES_MAX)
        imap_session_bye(session, NULL, "Too many failed log-ins");
}

static void log_in(struct imap_run *run, const struct imap_login *login)
{
    struct imap_session *session = run->session;
    struct imap_identity identity = {0};
    struct cq_err err = {0};
    enum cq_rc rc = session->service->ops->login(session->host, session, login, &identity, &err);
    if (rc == CQ_OK)
        welcome(run, &identity);
    else
        refuse(run, rc, &err);
}

void imap_cmd_login(struct imap_run *run)
{
    const struct imap_login login = {
        .mechanism = "LOGIN",
        .user = run->command.u.login.user,
        .password = run->command.u.login.password,
    };
    log_in(run, &login);
}

/* ---- AUTHENTICATE ---- */

/* [authzid] NUL authcid NUL passwd; an authzid must be the authcid. */
static bool split_plain(struct cq_slice message, struct imap_login *login)
{
    struct cq_slice rest = message;
    if (cq_slice_find(rest, 0) == rest.len)
        return false;
    struct cq_slice authzid = cq_slice_cut(&rest, 0);
    if (cq_slice_find(rest, 0) == rest.len)
        return false;
    login->user = cq_slice_cut(&rest, 0);
    login->password = rest;
    if (login->user.len == 0 || cq_slice_find(rest, 0) < rest.len)
        return false;
    return authzid.len == 0 || cq_slice_eq(authzid, login->user);
}

static void log_in_plain(struct imap_run *run, struct cq_slice response)
{
    struct imap_login login = {.mechanism = "PLAIN"};
    struct cq_buf message;
    cq_buf_init(&message, IMAP_AUTHENTICATE_MAX);
    bool decoded = cq_slice_eq(response, CQ_SLICE("=")) || cq_b64_decode(&message, response, CQ_B64_STD);
    if (decoded && split_plain(cq_buf_slice(&message), &login))
        log_in(run, &login);
    else
        imap_bad(run, "That is no response of PLAIN");
    if (message.data)
        cq_wipe(message.data, message.cap);
    cq_buf_fini(&message);
}

/* "*" cancels (RFC 3501 6.2.2). */
void imap_cmd_authenticate(struct imap_run *run)
{
    struct imap_session *session = run->session;
    struct cq_slice response = run->command.u.authenticate.initial;
    if (!cq_slice_caseeq(run->command.u.authenticate.mechanism, CQ_SLICE("PLAIN"))) {
        imap_no(run, "CANNOT", "Mechanisms: PLAIN");
        return;
    }
    if (!run->command.u.authenticate.has_initial) {
        cq_buf_cstr(&run->out, "+ \r\n");
        imap_out_send(run);
        enum cq_rc rc = imap_session_read_line(session, &response);
        if (rc != CQ_OK) {
            imap_bad(run, "No answer");
            imap_session_bye(session, NULL, "Nothing was heard for too long");
            return;
        }
    }
    if (cq_slice_eq(response, CQ_SLICE("*")))
        imap_bad(run, "Cancelled");
    else
        log_in_plain(run, response);
}

/* ---- The ends of a phase ---- */

void imap_cmd_starttls(struct imap_run *run)
{
    struct imap_session *session = run->session;
    if (!session->service->starttls || io_conn_tls(session->conn)) {
        imap_bad(run, "There is no STARTTLS here");
        return;
    }
    run->start_tls = true;
    imap_ok(run, NULL, "Begin TLS now");
}

void imap_cmd_logout(struct imap_run *run)
{
    imap_recent_leave(run->session);
    cq_buf_cstr(&run->out, "* BYE Logging out\r\n");
    run->session->closing = true;
}
