#include "imap/imap_reply.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_time.h"
#include "imap/imap_write.h"

/* ---- Results ---- */

static void set(struct imap_run *run, enum imap_result result, const char *code, const char *text)
{
    run->result = result;
    run->code = code;
    run->text = text;
}

void imap_ok(struct imap_run *run, const char *code, const char *text)
{
    set(run, IMAP_RESULT_OK, code, text);
}

void imap_no(struct imap_run *run, const char *code, const char *text)
{
    set(run, IMAP_RESULT_NO, code, text);
}

void imap_bad(struct imap_run *run, const char *text)
{
    set(run, IMAP_RESULT_BAD, NULL, text);
}

/* RFC 5530, RFC 9051 7.1. `ours`: the log tells, as the client cannot. */
static const struct {
    enum cq_rc rc;
    const char *code, *text;
    bool ours;
} failures[] = {
    {CQ_E_AUTH, "AUTHENTICATIONFAILED", "User name or password is wrong", false},
    {CQ_E_DENIED, "NOPERM", "That is not allowed", false},
    {CQ_E_NO_MAILBOX, "NONEXISTENT", "No such mailbox", false},
    {CQ_E_NOT_FOUND, "NONEXISTENT", "It is not there", false},
    {CQ_E_EXISTS, "ALREADYEXISTS", "There is one of that name already", false},
    {CQ_E_INVALID, "CANNOT", "That cannot be done", false},
    {CQ_E_CONFLICT, "INUSE", "It is in use", false},
    {CQ_E_OVER_QUOTA, "OVERQUOTA", "Over quota", false},
    {CQ_E_NO_SPACE, "UNAVAILABLE", "Too little storage for that at present; deleting works", true},
    {CQ_E_TOO_BIG, "TOOBIG", "Too big", false},
    {CQ_E_LIMIT, "LIMIT", "Over a limit", false},
    {CQ_E_RATE, "LIMIT", "Too many, please wait", false},
    {CQ_E_UNKNOWN_OUTCOME, "UNAVAILABLE", "Storage did not answer; it may or may not have happened", true},
    {CQ_E_CORRUPT, "CORRUPTION", "Stored data is damaged", true},
    {CQ_E_INTERNAL, "SERVERBUG", "Internal error", true},
    {CQ_E_CANCELLED, "UNAVAILABLE", "Cancelled", false},
};

enum cq_rc imap_fail(struct imap_run *run, enum cq_rc rc, const struct cq_err *err)
{
    bool ours = true;
    imap_no(run, "UNAVAILABLE", "Storage is unavailable, please try again");
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (failures[i].rc == rc) {
            imap_no(run, failures[i].code, failures[i].text);
            ours = failures[i].ours;
            break;
        }
    }
    if (ours)
        cq_log_limited(10, CQ_WARN, "imap.command_failed", CQ_F_STR("session", run->session->id),
                       CQ_F_ACCOUNT(run->session->account.id), CQ_F_STR("command", imap_verb_name(run->command.verb)),
                       CQ_F_ERR(err), CQ_F_RC(rc));
    return rc;
}

void imap_reply_send(struct imap_run *run)
{
    static const char *const names[] = {"OK", "NO", "BAD"};
    struct cq_buf *out = &run->out;
    cq_buf_slice_add(out, run->command.tag);
    cq_buf_printf(out, " %s ", names[run->result]);
    if (run->code)
        cq_buf_printf(out, "[%s] ", run->code);
    if (run->text)
        cq_buf_cstr(out, run->text);
    else
        cq_buf_printf(out, "%s completed", imap_verb_name(run->command.verb));
    cq_buf_cstr(out, "\r\n");
    imap_out_send(run);
}

/* ---- Output ---- */

void imap_out_send(struct imap_run *run)
{
    CQ_ASSERT(cq_buf_ok(&run->out));
    if (run->out.len)
        io_conn_write(run->session->conn, cq_buf_slice(&run->out));
    cq_buf_reset(&run->out, 2 * IMAP_OUT_FLUSH);
}

enum cq_rc imap_out_flush(struct imap_run *run)
{
    struct imap_session *session = run->session;
    if (run->out.len >= IMAP_OUT_FLUSH)
        imap_out_send(run);
    if (session->closed || io_fiber_cancelled())
        return CQ_E_CANCELLED;
    enum cq_rc rc = io_conn_flush(session->conn, imap_session_deadline(session, IMAP_STALL_S));
    if (rc != CQ_E_TIMEOUT)
        return rc;
    io_conn_abort(session->conn, rc, "the client does not read");
    return CQ_E_CANCELLED;
}

enum cq_rc imap_breathe(struct imap_run *run)
{
    uint64_t now = cq_time_mono_us();
    if (run->turn_us == 0)
        run->turn_us = now;
    if (now - run->turn_us < IMAP_BREATHE_US)
        return io_fiber_cancelled() ? CQ_E_CANCELLED : CQ_OK;
    enum cq_rc rc = io_fiber_yield();
    run->turn_us = cq_time_mono_us();
    return rc;
}

void imap_out_add(struct imap_run *run, struct cq_slice text)
{
    if (text.len < IMAP_OUT_FLUSH) {
        cq_buf_slice_add(&run->out, text);
        return;
    }
    imap_out_send(run);
    io_conn_write(run->session->conn, text);
}

void imap_out_give(struct imap_run *run, struct cq_slice octets, struct body_piece **held)
{
    if (octets.len < IMAP_OUT_FLUSH || !*held) {
        imap_out_add(run, octets);
        body_piece_unref(held);
        return;
    }
    imap_out_send(run);
    io_conn_write_owned(run->session->conn, octets, body_piece_release, *held);
    *held = NULL;
}

/* ---- Flags ---- */

void imap_write_flags(struct cq_buf *out, const struct fetch_record *record, const struct mail_records *table,
                      bool recent)
{
    cq_buf_byte(out, '(');
    bool any = imap_write_system_flags(out, (uint8_t)(record->flags | (recent ? IMAP_RECENT : 0)), true);
    for (unsigned i = 0; i < table->keyword_count; i++) {
        if (!fetch_record_has_keyword(record, i))
            continue;
        if (any)
            cq_buf_byte(out, ' ');
        cq_buf_slice_add(out, table->keywords[i]);
        any = true;
    }
    cq_buf_byte(out, ')');
}

static void write_keywords(struct cq_buf *out, const struct cq_slice *keywords, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cq_buf_byte(out, ' ');
        cq_buf_slice_add(out, keywords[i]);
    }
}

void imap_write_flag_names(struct cq_buf *out, const struct cq_slice *keywords, size_t count, bool read_only)
{
    cq_buf_cstr(out, "* FLAGS (");
    imap_write_system_flags(out, MAIL_FLAGS_ALL, true);
    write_keywords(out, keywords, count);
    cq_buf_cstr(out, ")\r\n* OK [PERMANENTFLAGS (");
    if (!read_only) {
        imap_write_system_flags(out, MAIL_FLAGS_ALL, true);
        write_keywords(out, keywords, count);
        cq_buf_cstr(out, count < FETCH_RECORD_KEYWORDS_MAX ? " \\*" : "");
    }
    cq_buf_cstr(out, ")] These flags last\r\n");
}
