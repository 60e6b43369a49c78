#include "imap/imap_message.h"

#include "base/cq_log.h"
#include "core/front_ahead.h"
#include "mail/mail_build.h"

_Static_assert(IMAP_BODY_PIECE == MAIL_BODY_PIECE, "a piece is a chunk");

bool imap_message_ahead(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len)
{
    return run->ahead && front_ahead_ask(run->ahead, body, off, len);
}

enum cq_rc imap_message_piece(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len,
                              struct body_piece **held_r, struct cq_slice *octets_r, struct cq_err *err)
{
    struct imap_session *session = run->session;
    struct mailstore *store = session->service->store;
    const struct front_piece piece = front_piece_at(body, off, len);
    enum cq_rc rc = CQ_OK;
    *octets_r = CQ_SLICE_NONE;
    *held_r = NULL;
    if (len == 0 || (run->ahead && front_ahead_take(run->ahead, &piece, held_r, octets_r, &rc, err)))
        return rc;
    if (mailstore_body_cached(store, &session->account, body, off, piece.len, held_r, octets_r))
        return CQ_OK;
    return mailstore_body(store, &session->account, body, off, piece.len, held_r, octets_r, err);
}

/* Calls back with the pieces in order. */
static enum cq_rc each_piece(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len,
                             void (*take)(void *arg, struct cq_slice octets), void *arg, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && len) {
        struct body_piece *held;
        struct cq_slice octets;
        rc = imap_message_piece(run, body, off, len, &held, &octets, err);
        if (rc == CQ_OK)
            take(arg, octets);
        off += octets.len;
        len -= octets.len;
        body_piece_unref(&held);
    }
    return rc;
}

static void take_into_buf(void *arg, struct cq_slice octets)
{
    cq_buf_slice_add(arg, octets);
}

enum cq_rc imap_message_read(struct imap_run *run, const struct mail_body *body, uint64_t off, uint64_t len,
                             struct cq_buf *out, struct cq_err *err)
{
    enum cq_rc rc = each_piece(run, body, off, len, take_into_buf, out, err);
    return rc == CQ_OK && !cq_buf_ok(out) ? CQ_FAIL(err, CQ_E_LIMIT, "%llu octets", (unsigned long long)len) : rc;
}

/* ---- Summaries ---- */

static void take_into_builder(void *arg, struct cq_slice octets)
{
    mail_builder_feed(arg, octets);
}

static enum cq_rc build_again(struct imap_run *run, const struct fetch_record *record, struct cq_pool *pool,
                              struct mail_summary *summary_r, struct cq_err *err)
{
    struct mail_builder *builder = mail_builder_new(NULL);
    const struct mail_body body = mail_body_of(record);
    struct cq_buf encoded;
    cq_buf_init(&encoded, MAIL_SUMMARY_MAX);
    enum cq_rc rc = each_piece(run, &body, 0, record->size, take_into_builder, builder, err);
    if (rc == CQ_OK) {
        mail_builder_finish(builder);
        mail_builder_summary(builder, 0, &encoded);
        rc = mail_summary_open(cq_pool_slice(pool, cq_buf_slice(&encoded)), summary_r, err);
    }
    cq_buf_fini(&encoded);
    mail_builder_free(&builder);
    return rc;
}

enum cq_rc imap_message_summary(struct imap_run *run, const struct fetch_record *record, struct cq_pool *pool,
                                struct mail_summary *summary_r, struct cq_err *err)
{
    enum cq_rc rc = mail_summary_open(record->summary, summary_r, err);
    if (rc == CQ_OK && summary_r->size == record->size)
        return CQ_OK;
    cq_log_limited(1, CQ_WARN, "imap.summary_rebuilt", CQ_F_STR("session", run->session->id),
                   CQ_F_ACCOUNT(run->session->account.id), CQ_F_HEX64("email", record->email), CQ_F_ERR(err));
    cq_err_clear(err);
    return build_again(run, record, pool, summary_r, err);
}
