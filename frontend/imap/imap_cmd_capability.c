/* CAPABILITY (RFC 3501 6.1.1), NOOP and CHECK, ID (RFC 2971), NAMESPACE (RFC 2342), ENABLE (RFC 5161): what a session
 * is and can. */
#include "base/cq_log.h"
#include "imap/imap_reply.h"
#include "imap/imap_write.h"

#include <stdio.h>

/* LITERAL- before login, LITERAL+ after, never both (RFC 7888 4). */
void imap_write_capability(struct cq_buf *out, const struct imap_session *session)
{
    cq_buf_cstr(out, "CAPABILITY IMAP4rev1 ID");
    if (session->state != IMAP_NOT_AUTHENTICATED) {
        cq_buf_cstr(out, " LITERAL+ ENABLE IDLE NAMESPACE CHILDREN SPECIAL-USE UIDPLUS MOVE UNSELECT CONDSTORE");
        return;
    }
    cq_buf_cstr(out, " LITERAL- SASL-IR");
    if (session->service->starttls && !io_conn_tls(session->conn))
        cq_buf_cstr(out, " STARTTLS");
    cq_buf_cstr(out, imap_session_is_private(session) ? " AUTH=PLAIN" : " LOGINDISABLED");
}

void imap_cmd_capability(struct imap_run *run)
{
    cq_buf_cstr(&run->out, "* ");
    imap_write_capability(&run->out, run->session);
    cq_buf_cstr(&run->out, "\r\n");
}

void imap_cmd_noop(struct imap_run *run)
{
    (void)run; /* its row asks for changes */
}

void imap_cmd_namespace(struct imap_run *run)
{
    cq_buf_cstr(&run->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
}

/* Remembers "name version" of the client for logs and lists of sessions. */
static void remember_client(struct imap_run *run)
{
    struct cq_slice name = CQ_SLICE_NONE, version = CQ_SLICE_NONE;
    struct imap_session *session = run->session;
    for (size_t i = 0; i < run->command.u.id.count; i++) {
        const struct imap_id_field *field = &run->command.u.id.fields[i];
        if (cq_slice_caseeq(field->name, CQ_SLICE("name")))
            name = field->value;
        else if (cq_slice_caseeq(field->name, CQ_SLICE("version")))
            version = field->value;
    }
    struct cq_buf text;
    cq_buf_init(&text, 4096);
    imap_write_text(&text, name);
    if (version.len) {
        cq_buf_byte(&text, ' ');
        imap_write_text(&text, version);
    }
    if (text.len)
        snprintf(session->client, sizeof session->client, "%.*s", CQ_SLICE_ARG(cq_buf_slice(&text)));
    cq_buf_fini(&text);
}

/* No version and no host name: they would help nobody but an attacker. */
void imap_cmd_id(struct imap_run *run)
{
    remember_client(run);
    if (run->session->client[0])
        cq_log(CQ_INFO, "imap.client", CQ_F_STR("session", run->session->id), CQ_F_STR("client", run->session->client));
    cq_buf_cstr(&run->out, "* ID (\"name\" \"Chasqui\")\r\n");
}

void imap_cmd_enable(struct imap_run *run)
{
    bool condstore = false;
    for (size_t i = 0; i < run->command.u.enable.count; i++)
        condstore |= cq_slice_caseeq(run->command.u.enable.names[i], CQ_SLICE("CONDSTORE"));
    run->session->condstore |= condstore;
    cq_buf_printf(&run->out, "* ENABLED%s\r\n", condstore ? " CONDSTORE" : "");
}
