/* SEARCH and UID SEARCH (RFC 3501 6.4.4; MODSEQ: RFC 7162 3.1.5, 3.1.6). */
#include "base/cq_log.h"
#include "imap/imap_records.h"
#include "imap/imap_reply.h"
#include "imap/imap_search_eval.h"

struct searching {
    struct imap_run *run;
    struct imap_eval *eval;
    struct uidset_builder hits, open; /* decided, and those that must be looked into */
    uint64_t modseq;                  /* the highest of the hits */
    enum cq_rc rc;                    /* of the pass by UID */
};

static void hit(struct searching *s, uint32_t uid, uint64_t modseq)
{
    uidset_builder_add(&s->hits, uid, uid);
    if (modseq > s->modseq)
        s->modseq = modseq;
}

/* ---- The passes, each over what the one before left open ---- */

static void sort_in(struct searching *s, enum imap_answer answer, uint32_t uid, uint64_t modseq)
{
    if (answer == IMAP_HIT)
        hit(s, uid, modseq);
    else if (answer == IMAP_UNDECIDED)
        uidset_builder_add(&s->open, uid, uid);
}

static bool by_uid(uint32_t uid, void *ctx)
{
    struct searching *s = ctx;
    if (!imap_view_is_gone(s->run->session->view, uid))
        sort_in(s, imap_eval_uid(s->eval, uid), uid, 0);
    s->rc = imap_breathe(s->run); /* nobody else touches the view while a command runs */
    return s->rc == CQ_OK;
}

static enum cq_rc by_record(void *ctx, const struct fetch_record *record, const struct mail_records *table)
{
    struct searching *s = ctx;
    sort_in(s, imap_eval_record(s->eval, record, table), record->uid, record->modseq);
    return CQ_OK;
}

/* A message that is damaged, or went while it was looked into, is no hit and keeps nobody from the others. */
static enum cq_rc by_message(void *ctx, const struct fetch_record *record, const struct mail_records *table)
{
    struct searching *s = ctx;
    struct cq_err err = {0};
    bool found = false;
    enum cq_rc rc = imap_eval_message(s->eval, record, table, &found, &err);
    if (rc == CQ_E_CORRUPT)
        cq_log_limited(1, CQ_WARN, "imap.search_skipped", CQ_F_STR("session", s->run->session->id),
                       CQ_F_ACCOUNT(s->run->session->account.id), CQ_F_HEX64("email", record->email), CQ_F_ERR(&err));
    else if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    if (found)
        hit(s, record->uid, record->modseq);
    return CQ_OK;
}

static struct uidset take_open(struct searching *s)
{
    struct uidset open = uidset_builder_finish(&s->open);
    uidset_builder_init(&s->open, s->run->pool);
    return open;
}

static enum cq_rc search(struct searching *s, struct cq_err *err)
{
    struct imap_view *view = s->run->session->view;
    bool wants_modseq = imap_search_has(&s->run->command.u.search, IMAP_SEARCH_MODSEQ);
    if (wants_modseq) /* also of the hits that the view alone decides */
        uidset_builder_add(&s->open, 1, view->uidnext);
    else
        roaring_iterate(view->uids, by_uid, s);
    struct uidset open = take_open(s);
    enum cq_rc rc = s->rc;
    if (rc == CQ_OK && open.count)
        rc = imap_each_record(s->run, &open, MAIL_FETCH_NO_SUMMARY, by_record, s, NULL, err);
    open = take_open(s);
    if (rc == CQ_OK && open.count)
        rc = imap_each_record(s->run, &open, MAIL_FETCH_SUMMARY, by_message, s, NULL, err);
    return rc;
}

/* ---- The answer ---- */

static enum cq_rc write_hits(struct searching *s)
{
    struct imap_run *run = s->run;
    struct uidset hits = uidset_builder_finish(&s->hits);
    bool uid = run->command.verb == IMAP_UID_SEARCH;
    cq_buf_cstr(&run->out, "* SEARCH");
    for (size_t i = 0; i < hits.count; i++) {
        for (uint32_t n = hits.ranges[i].first; n && n <= hits.ranges[i].last; n++) {
            cq_buf_byte(&run->out, ' ');
            cq_buf_u64(&run->out, uid ? n : imap_view_seq(run->session->view, n));
            if (run->out.len >= IMAP_OUT_FLUSH && imap_out_flush(run) != CQ_OK)
                return CQ_E_CANCELLED;
        }
    }
    if (imap_search_has(&run->command.u.search, IMAP_SEARCH_MODSEQ) && hits.count)
        cq_buf_printf(&run->out, " (MODSEQ %llu)", (unsigned long long)s->modseq);
    cq_buf_cstr(&run->out, "\r\n");
    return CQ_OK;
}

/* Nothing is answered before all is known: half a result would look like a whole one. */
void imap_cmd_search(struct imap_run *run)
{
    const struct imap_search *program = &run->command.u.search;
    struct searching s = {.run = run, .eval = imap_eval_new(run, program)};
    struct cq_err err = {0};
    if (!s.eval)
        return;
    run->session->condstore |= imap_search_has(program, IMAP_SEARCH_MODSEQ);
    uidset_builder_init(&s.hits, run->pool);
    uidset_builder_init(&s.open, run->pool);
    enum cq_rc rc = search(&s, &err);
    if (rc == CQ_OK)
        write_hits(&s);
    else
        imap_fail(run, rc, &err);
    imap_eval_free(&s.eval);
}
