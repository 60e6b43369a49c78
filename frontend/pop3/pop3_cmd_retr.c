/* RETR and TOP: the message in pieces, never the whole of it in memory. */
#include "pop3/pop3_session.h"

#include "core/front_ahead.h"

#include <stdlib.h>

struct sending {
    struct pop3_session *session;
    struct mail_body body;
    struct front_ahead *ahead; /* NULL: nothing is read ahead */
    struct pop3_stuffer stuffer;
    uint64_t done; /* octets of the body that were read */
};

/* The next piece; those behind it are under way while it is sent. */
static enum cq_rc read_next(struct sending *s, struct body_piece **held_r, struct cq_slice *octets_r,
                            struct cq_err *err)
{
    struct mailstore *store = s->session->pump.front.worker->mailstore;
    uint64_t rest = s->body.size - s->done;
    const struct front_piece piece = front_piece_at(&s->body, s->done, rest);
    enum cq_rc rc = CQ_OK;
    *held_r = NULL;
    *octets_r = CQ_SLICE_NONE;
    if (s->ahead)
        front_ahead_ask(s->ahead, &s->body, s->done, rest);
    if (!s->ahead || !front_ahead_take(s->ahead, &piece, held_r, octets_r, &rc, err))
        rc = mailstore_body(store, &s->session->account, &s->body, piece.off, piece.len, held_r, octets_r, err);
    s->done += octets_r->len;
    return rc;
}

static void write_stuffed(struct sending *s, struct cq_slice octets)
{
    struct cq_buf out;
    size_t len;
    cq_buf_init(&out, 2 * octets.len + 8);
    pop3_stuff(&s->stuffer, octets, &out);
    uint8_t *stuffed = cq_buf_take(&out, &len);
    io_conn_write_owned(s->session->pump.front.conn, cq_slice_of(stuffed, len), free, stuffed);
}

static enum cq_rc send_next(struct sending *s, struct cq_err *err)
{
    struct io_conn *conn = s->session->pump.front.conn;
    struct body_piece *held;
    struct cq_slice octets;
    bool first = s->done == 0;
    enum cq_rc rc = read_next(s, &held, &octets, err);
    if (rc == CQ_OK && first)
        io_conn_printf(conn, "+OK %u octets\r\n", s->body.size);
    if (rc == CQ_OK)
        write_stuffed(s, octets);
    body_piece_unref(&held);
    return rc == CQ_OK ? io_conn_flush(conn, front_pump_deadline(&s->session->pump)) : rc;
}

/* There is nothing to read of an empty message, but it may have gone. */
static enum cq_rc send_empty(struct sending *s, struct cq_err *err)
{
    struct pop3_session *session = s->session;
    struct cq_slice octets;
    struct cq_pool *pool = cq_pool_new(256);
    enum cq_rc rc = mailstore_read_body(session->pump.front.worker->mailstore, &session->account, s->body.email, 0, 1,
                                        pool, &octets, err);
    cq_pool_free(&pool);
    if (rc == CQ_OK)
        io_conn_printf(session->pump.front.conn, "+OK 0 octets\r\n");
    return rc;
}

static enum cq_rc send_all(struct sending *s, struct cq_err *err)
{
    enum cq_rc rc = s->body.size ? CQ_OK : send_empty(s, err);
    while (rc == CQ_OK && s->done < s->body.size && !s->stuffer.done)
        rc = send_next(s, err);
    return rc;
}

static void send_end(struct sending *s)
{
    struct cq_buf end;
    cq_buf_init(&end, 16);
    pop3_stuff_end(&s->stuffer, &end);
    io_conn_write(s->session->pump.front.conn, cq_buf_slice(&end));
    cq_buf_fini(&end);
}

/* After "+OK" an error cannot be told any more: the connection is closed, so that half a message is never taken for a
 * whole one. The list of messages is as old as the session, so the shard is asked for each body: `saved` is left out.
 * TOP wants no more than its lines, and of one piece nothing can be read ahead. */
static void send_message(struct pop3_session *session, const struct pop3_message *message, bool limited, uint64_t lines)
{
    struct front_worker *worker = session->pump.front.worker;
    struct sending s = {.session = session, .body = {.email = message->email, .size = message->size}};
    struct cq_err err = {0};
    pop3_stuffer_init(&s.stuffer, limited, lines);
    if (!limited && message->size > MAIL_BODY_PIECE)
        s.ahead = front_ahead_new(worker->loop, worker->mailstore, &session->account, &worker->ahead_octets);
    enum cq_rc rc = send_all(&s, &err);
    front_ahead_free(&s.ahead);
    if (rc == CQ_OK)
        send_end(&s);
    else if (s.done == 0)
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
