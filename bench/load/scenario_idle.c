/* Sessions that are logged in, have selected the mailbox and IDLE. Accounts and source addresses (127.1.x.y) are shared
 * out evenly. When all are there the run says "steady", holds for --seconds, counts who was dropped, and ends. */
#include "scenarios.h"

#include <stdlib.h>

#include "base/cq_mem.h"

static struct io_conn **idling; /* one a session; NULL: it could not be opened */
static size_t dropped;

static void on_closed(struct io_conn *conn, const struct cq_err *why, void *ctx)
{
    (void)conn, (void)ctx, (void)why;
    dropped++;
}

static void on_input(struct io_conn *conn, void *ctx)
{
    (void)ctx;
    io_conn_consume(conn, io_conn_input(conn).len); /* "* OK Still here" */
}

static enum cq_rc begin(struct load_session *session, struct cq_err *err)
{
    const struct load_options *options = session->run->options;
    const struct load_account *account = load_account(session, session->number);
    const struct io_addr from = {
        .family = IO_IPV4,
        .ip = {127, 1, (uint8_t)(session->number / 200 % 250), (uint8_t)(1 + session->number % 200)}};
    enum cq_rc rc = load_imap_login(&session->client, &options->imap, session->number, &from, NULL, account->address,
                                    account->password, err);
    if (rc == CQ_OK)
        rc = load_imap_command(&session->client, err, "SELECT \"%s\"", *options->mailbox ? options->mailbox : "INBOX");
    if (rc != CQ_OK)
        return rc;
    load_imap_tag(&session->client);
    io_conn_write_cstr(session->client.conn, "IDLE\r\n");
    return load_imap_wait(&session->client, LOAD_CONTINUE, err);
}

/* The last session of all holds the run. */
static void hold(struct load_run *run)
{
    load_measure_begin(run);
    load_say("steady");
    io_fiber_sleep((uint64_t)(run->options->seconds * 1000));
    struct cq_err err = {.rc = CQ_E_EOF, .text = "ended by the server"};
    for (size_t i = 0; i < dropped; i++)
        load_failed(run, "idle", &err);
    load_measure_end(run);
    for (size_t i = 0; i < run->sessions; i++)
        if (idling[i])
            io_conn_free(&idling[i]);
    free(idling);
}

void scenario_idle(struct load_session *session)
{
    static const struct io_conn_ops ops = {.on_input = on_input, .on_closed = on_closed};
    struct load_run *run = session->run;
    struct cq_err err = {0};
    if (!idling)
        idling = cq_calloc(run->sessions, sizeof(struct io_conn *));
    uint64_t start = load_now_us();
    if (begin(session, &err) != CQ_OK) {
        load_failed(run, "opening", &err);
    } else {
        load_histogram_record(&run->took_us, load_now_us() - start);
        io_conn_set_ops(session->client.conn, &ops, NULL);
        io_conn_resume(session->client.conn);
        idling[session->number] = session->client.conn; /* the fiber ends, the connection stays */
        session->client.conn = NULL;
    }
    if (run->ended + 1 == run->sessions)
        hold(run);
}
