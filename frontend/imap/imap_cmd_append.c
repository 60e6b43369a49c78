/* APPEND (RFC 3501 6.3.11, RFC 4315). The literal is never held as a whole: while it arrives its summary is built, and
 * what is larger than an inline body is staged in the shard piece by piece. */
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "imap/imap_mailboxes.h"
#include "imap/imap_reply.h"
#include "mail/mail_build.h"

_Static_assert((int)IMAP_SEEN == (int)MAIL_SEEN && (int)IMAP_DRAFT == (int)MAIL_DRAFT, "one set of bits");

struct incoming {
    struct imap_run *run;
    uint64_t left;
    struct mail_builder *builder;
    struct cq_buf piece; /* octets that are not staged yet */
    struct mail_stage stage;
    bool staged;
    enum cq_rc rc; /* the first failure; then the rest is only read */
    struct cq_err err;
};

static void flush_piece(struct incoming *in)
{
    struct imap_session *session = in->run->session;
    struct cq_slice octets = cq_buf_slice(&in->piece);
    if (!in->staged) {
        uint8_t random[16];
        cq_rand_bytes(random, sizeof random);
        mailstore_stage_init(&in->stage, random);
        in->staged = true;
    }
    in->rc = mailstore_stage(session->service->store, &session->account, &in->stage, &octets, 1, &in->err);
    in->piece.len = 0;
}

/* Does not suspend: the octets are the connection's. */
static void take(struct incoming *in, struct cq_slice octets)
{
    in->left -= octets.len;
    if (in->rc != CQ_OK)
        return;
    if (cq_slice_find(octets, 0) < octets.len) {
        in->rc = CQ_E_PROTO; /* a literal has no NUL (RFC 3501 CHAR8) */
        return;
    }
    mail_builder_feed(in->builder, octets);
    cq_buf_slice_add(&in->piece, octets);
}

/* What the piece has room for of what has arrived; after a failure everything is taken, and forgotten. */
static struct cq_slice arrived(const struct incoming *in)
{
    size_t room = in->rc == CQ_OK ? MAIL_STAGE_PIECE_MAX - in->piece.len : SIZE_MAX;
    if (room > in->left)
        room = (size_t)in->left;
    return cq_slice_sub(io_conn_input(in->run->session->conn), 0, room);
}

/* CQ_OK: the whole literal has been read, whatever in->rc says of it. */
static enum cq_rc receive(struct incoming *in)
{
    struct imap_session *session = in->run->session;
    while (in->left) {
        struct cq_slice octets = arrived(in);
        if (octets.len == 0) {
            enum cq_rc rc = io_conn_read_more(session->conn, imap_session_deadline(session, IMAP_STALL_S));
            if (rc != CQ_OK)
                return rc;
            continue;
        }
        take(in, octets);
        io_conn_consume(session->conn, octets.len);
        if (in->rc == CQ_OK && in->left && in->piece.len == MAIL_STAGE_PIECE_MAX)
            flush_piece(in);
    }
    return CQ_OK;
}

/* The command's end, which must come right behind the message. */
static enum cq_rc read_end(struct incoming *in)
{
    struct imap_session *session = in->run->session;
    while (!imap_session_feed(session)) {
        enum cq_rc rc = io_conn_read_more(session->conn, imap_session_deadline(session, IMAP_STALL_S));
        if (rc != CQ_OK)
            return rc;
    }
    if (session->event == IMAP_READ_CLOSE)
        return CQ_E_PROTO;
    if (session->event != IMAP_READ_COMMAND || imap_reader_text(&session->reader).len)
        in->rc = CQ_E_PROTO;
    return CQ_OK;
}

static void store(struct incoming *in, uint64_t mailbox)
{
    struct imap_run *run = in->run;
    struct imap_session *session = run->session;
    struct mail_appended appended = {0};
    struct cq_slice octets = cq_buf_slice(&in->piece);
    struct cq_buf summary;
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    mail_builder_finish(in->builder);
    mail_builder_summary(in->builder, 0, &summary);
    const struct mail_new_message message = {
        .flags = run->command.u.append.flags.system,
        .keywords = run->command.u.append.flags.keywords,
        .keyword_count = run->command.u.append.flags.keyword_count,
        .internal_date =
            run->command.u.append.has_date ? run->command.u.append.date : (int64_t)(cq_time_wall_us() / CQ_US_PER_S),
        .summary = cq_buf_slice(&summary),
        .octets = &octets,
        .octet_count = 1,
        .stage = in->staged ? &in->stage : NULL,
    };
    in->rc = mailstore_append(session->service->store, &session->account, mailbox, &message, 1, &appended, &in->err);
    cq_buf_fini(&summary);
    if (in->rc == CQ_OK)
        imap_ok(run, cq_pool_printf(run->pool, "APPENDUID %u %u", appended.uidvalidity, appended.first_uid), NULL);
    if (session->view && session->view->mailbox == mailbox)
        session->view->dirty = true;
}

static void answer_failure(struct incoming *in)
{
    if (in->rc == CQ_E_PROTO)
        imap_bad(in->run, "A message has no NUL, and nothing follows it");
    else if (in->rc != CQ_OK)
        imap_fail(in->run, in->rc, &in->err);
    if (in->rc == CQ_E_NO_MAILBOX)
        imap_no(in->run, "TRYCREATE", "No such mailbox");
}

static void append(struct imap_run *run, uint64_t mailbox)
{
    struct imap_session *session = run->session;
    struct incoming in = {.run = run, .left = run->command.u.append.size, .builder = mail_builder_new(NULL)};
    cq_buf_init(&in.piece, MAIL_STAGE_PIECE_MAX);
    io_conn_set_input_max(session->conn, IMAP_APPEND_INPUT_MAX);
    if (!run->command.u.append.plus)
        cq_buf_cstr(&run->out, "+ Go on\r\n");
    imap_out_send(run);
    imap_reader_stream_append(&session->reader);
    enum cq_rc rc = receive(&in);
    if (rc == CQ_OK)
        rc = read_end(&in);
    if (rc == CQ_OK && in.rc == CQ_OK && in.staged && in.piece.len)
        flush_piece(&in);
    if (rc == CQ_OK && in.rc == CQ_OK)
        store(&in, mailbox);
    answer_failure(&in);
    if (rc != CQ_OK) {
        imap_bad(run, "The message did not come to its end");
        imap_session_bye(session, NULL, "The message did not come to its end");
    }
    io_conn_set_input_max(session->conn, IMAP_INPUT_MAX);
    cq_buf_fini(&in.piece);
    mail_builder_free(&in.builder);
}

/* What is refused here is refused before the message is sent, or its octets are thrown away by the reader. */
void imap_cmd_append(struct imap_run *run)
{
    const struct mail_mailbox *mailbox;
    if (run->command.u.append.size == 0)
        imap_no(run, "CANNOT", "A message has at least one octet");
    else if (run->command.u.append.size > run->session->service->config->message_max)
        imap_no(run, "TOOBIG", "The message is too big");
    else if (imap_find_mailbox(run, run->command.u.append.mailbox, "TRYCREATE", &mailbox))
        append(run, mailbox->id);
}
