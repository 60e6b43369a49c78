/* RETR and TOP: the message in pieces, never the whole of it in memory. */
#include "pop3/pop3_session.h"

#define PIECE (512u << 10) /* whole chunks: none is read and verified twice */

static enum cq_rc send_piece(struct pop3_session *session, struct pop3_stuffer *stuffer, struct cq_slice octets)
{
    struct cq_buf out;
    cq_buf_init(&out, 2 * octets.len + 8);
    pop3_stuff(stuffer, octets, &out);
    io_conn_write(session->pump.front.conn, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return io_conn_flush(session->pump.front.conn, front_pump_deadline(&session->pump));
}

/* After "+OK" an error cannot be told any more: the connection is closed, so that half a message is never taken for a
 * whole one. */
static void send_message(struct pop3_session *session, const struct pop3_message *message, bool limited, uint64_t lines)
{
    struct mailstore *store = session->pump.front.worker->mailstore;
    struct pop3_stuffer stuffer;
    struct cq_err err = {0};
    enum cq_rc rc = CQ_OK;
    uint64_t at = 0;
    pop3_stuffer_init(&stuffer, limited, lines);
    do {
        struct cq_pool *pool = cq_pool_new(1024);
        struct cq_slice octets = CQ_SLICE_NONE;
        rc = mailstore_read_body(store, &session->account, message->email, at, PIECE, pool, &octets, &err);
        if (rc == CQ_OK && octets.len == 0 && at < message->size)
            rc = CQ_E_CORRUPT;
        if (rc == CQ_OK && at == 0)
            io_conn_printf(session->pump.front.conn, "+OK %u octets\r\n", message->size);
        at += octets.len;
        if (rc == CQ_OK)
            rc = send_piece(session, &stuffer, octets);
        cq_pool_free(&pool);
    } while (rc == CQ_OK && at < message->size && !stuffer.done);
    if (rc == CQ_OK) {
        struct cq_buf end;
        cq_buf_init(&end, 16);
        pop3_stuff_end(&stuffer, &end);
        io_conn_write(session->pump.front.conn, cq_buf_slice(&end));
        cq_buf_fini(&end);
        return;
    }
    if (at == 0)
        pop3_say_error(session, rc);
    else
        session->pump.closing = true;
}

void pop3_cmd_retr(struct pop3_session *session, struct cq_slice rest)
{
    const struct pop3_message *message = pop3_find(session, rest);
    if (message)
        send_message(session, message, false, 0);
}

void pop3_cmd_top(struct pop3_session *session, struct cq_slice rest)
{
    uint32_t number;
    uint64_t lines;
    if (!pop3_number_and_count(rest, (uint32_t)session->count, &number, &lines) ||
        session->messages[number - 1].deleted) {
        pop3_say(session, "-ERR No such message, or TOP without a number of lines");
        return;
    }
    send_message(session, &session->messages[number - 1], true, lines);
}
