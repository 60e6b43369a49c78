/* AUTH PLAIN (RFC 4616) and LOGIN (what Outlook and scripts send), RFC 4954. */
#include "smtp/smtp_session.h"

#include "base/cq_b64.h"
#include "base/cq_mem.h"
#include "core/front_login.h"

#include <stdlib.h>

#define AUTH_POOL 4096

/* The secrets of one exchange; wiped at its end. */
struct exchange {
    struct cq_pool *pool;
    uint8_t decoded[2][AUTH_PASSWORD_MAX + 2 * DIR_INPUT_MAX + 2];
};

struct smtp_reply smtp_cmd_auth_check(struct smtp_session *session, struct cq_slice rest)
{
    if (session->pump.front.account)
        return (struct smtp_reply){503, "5.5.1", "Authenticated already"};
    if (!smtp_may_auth(session))
        return (struct smtp_reply){538, "5.7.11", "Encryption is required: STARTTLS first"};
    if (!rest.len)
        return (struct smtp_reply){501, "5.5.4", "Which mechanism?"};
    return SMTP_GO_ON;
}

/* One client response: what stands behind the mechanism, or the next line after "334 CHALLENGE". "*" cancels. */
static struct smtp_reply response(struct smtp_session *session, struct exchange *x, struct cq_slice initial,
                                  const char *challenge, unsigned slot, struct cq_slice *value_r)
{
    struct cq_slice line = initial;
    if (!initial.len) {
        io_conn_printf(session->pump.front.conn, "334 %s\r\n", challenge);
        enum cq_rc rc = front_pump_read_line(&session->pump, SMTP_AUTH_LINE_MAX, x->pool, &line);
        if (rc == CQ_E_LIMIT || rc == CQ_E_PROTO) {
            session->pump.closing = true;
            return (struct smtp_reply){500, "5.5.6", "Line too long"};
        }
        if (rc != CQ_OK) {
            session->pump.closing = true;
            return (struct smtp_reply){421, "4.4.2", "No answer"};
        }
    }
    if (cq_slice_eq(line, CQ_SLICE("*")))
        return (struct smtp_reply){501, "5.0.0", "Cancelled"};
    if (initial.len && cq_slice_eq(line, CQ_SLICE("=")))
        line.len = 0; /* RFC 4954 4: an empty initial response */
    struct cq_buf out;
    cq_buf_init(&out, sizeof x->decoded[slot]);
    bool ok = cq_b64_decode(&out, line, CQ_B64_STD);
    if (ok) {
        memcpy(x->decoded[slot], out.data ? out.data : (uint8_t *)"", out.len);
        *value_r = cq_slice_of(x->decoded[slot], out.len);
    }
    if (out.data)
        cq_wipe(out.data, out.cap);
    cq_buf_fini(&out);
    return ok ? SMTP_GO_ON : (struct smtp_reply){501, "5.5.2", "That is not base64"};
}

static struct smtp_reply plain(struct smtp_session *session, struct exchange *x, struct cq_slice initial,
                               struct cq_slice *login_r, struct cq_slice *password_r)
{
    struct cq_slice message;
    struct smtp_reply reply = response(session, x, initial, "", 0, &message);
    if (!reply.code && !front_sasl_plain(message, login_r, password_r))
        reply = (struct smtp_reply){501, "5.5.2", "That is not a PLAIN response"};
    return reply;
}

static struct smtp_reply login(struct smtp_session *session, struct exchange *x, struct cq_slice initial,
                               struct cq_slice *login_r, struct cq_slice *password_r)
{
    struct smtp_reply reply = response(session, x, initial, "VXNlcm5hbWU6", 0, login_r);
    if (!reply.code)
        reply = response(session, x, CQ_SLICE_NONE, "UGFzc3dvcmQ6", 1, password_r);
    return reply;
}

static const struct {
    const char *name;
    struct smtp_reply (*exchange)(struct smtp_session *, struct exchange *, struct cq_slice initial,
                                  struct cq_slice *login_r, struct cq_slice *password_r);
} mechanisms[] = {{"PLAIN", plain}, {"LOGIN", login}};

static const struct {
    enum cq_rc rc;
    struct smtp_reply reply;
} outcomes[] = {
    {CQ_OK, {235, "2.7.0", "Welcome"}},
    {CQ_E_AUTH, {535, "5.7.8", "User name or password is wrong"}},
    {CQ_E_DENIED, {535, "5.7.8", "This account may not submit mail"}},
    {CQ_E_RATE, {454, "4.7.0", "Too many attempts, please wait"}},
};

static struct smtp_reply reply_for(enum cq_rc rc)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        if (outcomes[i].rc == rc)
            return outcomes[i].reply;
    return (struct smtp_reply){454, "4.7.0", "Authentication is unavailable, please try again"};
}

void smtp_cmd_auth(struct smtp_session *session, struct cq_slice rest)
{
    struct cq_slice name = cq_slice_cut(&rest, ' '), initial = cq_slice_trim(rest), user, password;
    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
        if (!cq_slice_caseeq(name, cq_slice_cstr(mechanisms[i].name)))
            continue;
        struct exchange *x = cq_new(struct exchange);
        struct cq_err err = {0};
        x->pool = cq_pool_new(AUTH_POOL);
        struct smtp_reply reply = mechanisms[i].exchange(session, x, initial, &user, &password);
        if (!reply.code)
            reply = reply_for(front_login(&session->pump.front, DIR_SMTP, mechanisms[i].name, user, password, &err));
        cq_pool_free(&x->pool);
        cq_wipe(x, sizeof *x);
        free(x);
        smtp_answer(session, reply);
        return;
    }
    smtp_say(session, 504, "5.5.4", "Mechanisms: PLAIN LOGIN");
}
