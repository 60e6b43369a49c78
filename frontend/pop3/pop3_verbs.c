/* The command table, CAPA, STLS, and the commands over the list: STAT, LIST, UIDL, DELE, RSET. */
#include "pop3/pop3_session.h"

static void noop(struct pop3_session *session, struct cq_slice rest)
{
    (void)rest;
    pop3_say(session, "+OK");
}

const struct pop3_verb pop3_verbs[] = {
    {"CAPA", POP3_AUTHORIZATION | POP3_TRANSACTION, POP3_NO_ARGUMENT, pop3_cmd_capa},
    {"STLS", POP3_AUTHORIZATION, POP3_NO_ARGUMENT, pop3_cmd_stls},
    {"USER", POP3_AUTHORIZATION, 0, pop3_cmd_user},
    {"PASS", POP3_AUTHORIZATION, 0, pop3_cmd_pass},
    {"AUTH", POP3_AUTHORIZATION, 0, pop3_cmd_auth},
    {"STAT", POP3_TRANSACTION, POP3_NO_ARGUMENT, pop3_cmd_stat},
    {"LIST", POP3_TRANSACTION, 0, pop3_cmd_list},
    {"UIDL", POP3_TRANSACTION, 0, pop3_cmd_uidl},
    {"RETR", POP3_TRANSACTION, 0, pop3_cmd_retr},
    {"TOP", POP3_TRANSACTION, 0, pop3_cmd_top},
    {"DELE", POP3_TRANSACTION, 0, pop3_cmd_dele},
    {"NOOP", POP3_TRANSACTION, POP3_NO_ARGUMENT, noop},
    {"RSET", POP3_TRANSACTION, POP3_NO_ARGUMENT, pop3_cmd_rset},
    {"QUIT", POP3_AUTHORIZATION | POP3_TRANSACTION, POP3_NO_ARGUMENT, pop3_cmd_quit},
};
const size_t pop3_verb_count = sizeof pop3_verbs / sizeof *pop3_verbs;

/* RFC 2449; what is offered before and after TLS differs. */
void pop3_cmd_capa(struct pop3_session *session, struct cq_slice rest)
{
    (void)rest;
    struct io_conn *conn = session->pump.front.conn;
    io_conn_write_cstr(conn,
                       "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n");
    if (session->service->tls && !io_conn_tls(conn))
        io_conn_write_cstr(conn, "STLS\r\n");
    if (pop3_may_auth(session))
        io_conn_write_cstr(conn, "USER\r\nSASL PLAIN\r\n");
    io_conn_write_cstr(conn, "IMPLEMENTATION Chasqui\r\n.\r\n");
}

/* RFC 2595 4. */
void pop3_cmd_stls(struct pop3_session *session, struct cq_slice rest)
{
    (void)rest;
    struct io_conn *conn = session->pump.front.conn;
    if (!session->service->tls || io_conn_tls(conn)) {
        pop3_say(session, "-ERR TLS is active, or not offered here");
        return;
    }
    if (!io_conn_input(conn).len)
        pop3_say(session, "+OK Begin TLS");
    session->user[0] = '\0';
    session->junk = 0;
    front_pump_start_tls(&session->pump, session->service->tls);
}

static void totals(const struct pop3_session *session, uint64_t *count_r, uint64_t *size_r)
{
    *count_r = *size_r = 0;
    for (size_t i = 0; i < session->count; i++)
        if (!session->messages[i].deleted) {
            ++*count_r;
            *size_r += session->messages[i].size;
        }
}

void pop3_cmd_stat(struct pop3_session *session, struct cq_slice rest)
{
    (void)rest;
    uint64_t count, size;
    totals(session, &count, &size);
    io_conn_printf(session->pump.front.conn, "+OK %llu %llu\r\n", (unsigned long long)count, (unsigned long long)size);
}

typedef void item_fn(struct pop3_session *session, size_t index, const char *prefix);

static void list_item(struct pop3_session *session, size_t index, const char *prefix)
{
    io_conn_printf(session->pump.front.conn, "%s%zu %u\r\n", prefix, index + 1, session->messages[index].size);
}

/* Unique for ever: UIDVALIDITY and UID never repeat within an account (RFC 1939 7: 1 to 70 characters). */
static void uidl_item(struct pop3_session *session, size_t index, const char *prefix)
{
    io_conn_printf(session->pump.front.conn, "%s%zu %08x%08x\r\n", prefix, index + 1, session->uidvalidity,
                   session->messages[index].uid);
}

/* One line for a message that was named, or a line each. */
static void one_or_all(struct pop3_session *session, struct cq_slice rest, item_fn *item)
{
    if (cq_slice_trim(rest).len) {
        const struct pop3_message *message = pop3_find(session, rest);
        if (message)
            item(session, (size_t)(message - session->messages), "+OK ");
        return;
    }
    pop3_say(session, "+OK");
    for (size_t i = 0; i < session->count; i++) {
        if (!session->messages[i].deleted)
            item(session, i, "");
        if (io_conn_output_full(session->pump.front.conn) &&
            io_conn_flush(session->pump.front.conn, front_pump_deadline(&session->pump)) != CQ_OK)
            return;
    }
    pop3_say(session, ".");
}

void pop3_cmd_list(struct pop3_session *session, struct cq_slice rest)
{
    one_or_all(session, rest, list_item);
}

void pop3_cmd_uidl(struct pop3_session *session, struct cq_slice rest)
{
    one_or_all(session, rest, uidl_item);
}

void pop3_cmd_dele(struct pop3_session *session, struct cq_slice rest)
{
    struct pop3_message *message = pop3_find(session, rest);
    if (!message)
        return;
    message->deleted = true;
    pop3_say(session, "+OK Deleted at QUIT");
}

void pop3_cmd_rset(struct pop3_session *session, struct cq_slice rest)
{
    (void)rest;
    for (size_t i = 0; i < session->count; i++)
        session->messages[i].deleted = false;
    pop3_say(session, "+OK");
}

const struct cq_limit pop3_session_limit_rows[] = CQ_LIMITS_ROWS(POP3_SESSION_LIMITS);
const size_t pop3_session_limit_row_count = sizeof pop3_session_limit_rows / sizeof *pop3_session_limit_rows;
