/* FETCH and UID FETCH (RFC 3501 6.4.5; CHANGEDSINCE: RFC 7162 3.1.4). Records come in batches, bodies in pieces;
 * nothing holds a message. imap_fetch_octets.c writes sections. */
#include "core/front_ahead.h"
#include "imap/imap_date.h"
#include "imap/imap_fetch_head.h"
#include "imap/imap_message.h"
#include "imap/imap_records.h"
#include "imap/imap_reply.h"
#include "imap/imap_sync.h"

#define SEEN_PIECE 64 /* messages whose \Seen is set before their octets go out */

struct fetching {
    struct imap_run *run;
    const struct imap_fetch *fetch;
    struct cq_pool *pool; /* of one message */
    struct uidset_builder unseen;
    struct uidset seen; /* of the present piece: we have set \Seen */
    struct imap_own_changes own;
    uint32_t summary; /* what each record brings of it, as in mailstore_fetch */
    bool uid, known, some_gone;
    enum cq_rc damaged; /* the first message that could not be read */
};

struct message {
    struct fetching *f;
    const struct fetch_record *record;
    const struct mail_records *table;
    struct mail_summary summary;
    bool flags_changed; /* by setting \Seen */
    const char *before; /* between items */
};

/* ---- Items ---- */

static struct cq_buf *begin(struct message *m)
{
    struct cq_buf *out = &m->f->run->out;
    cq_buf_cstr(out, m->before);
    m->before = " ";
    return out;
}

static void write_uid(struct message *m)
{
    cq_buf_printf(begin(m), "UID %u", m->record->uid);
}

static void write_flags(struct message *m)
{
    cq_buf_cstr(begin(m), "FLAGS ");
    imap_write_flags(&m->f->run->out, m->record, m->table,
                     imap_view_is_recent(m->f->run->session->view, m->record->uid));
}

static void write_modseq(struct message *m)
{
    cq_buf_printf(begin(m), "MODSEQ (%llu)", (unsigned long long)m->record->modseq);
}

static void write_structure(struct message *m, bool extended)
{
    struct cq_buf *out = begin(m);
    cq_buf_cstr(out, extended ? "BODYSTRUCTURE " : "BODY ");
    if (extended)
        imap_out_add(m->f->run, mail_summary_bodystructure(&m->summary, false));
    else
        mail_summary_body(&m->summary, false, out);
}

static void write_simple(struct message *m, enum imap_fetch_kind kind)
{
    struct cq_buf *out = &m->f->run->out;
    switch (kind) {
    case IMAP_FETCH_UID:
        write_uid(m);
        break;
    case IMAP_FETCH_FLAGS:
        write_flags(m);
        break;
    case IMAP_FETCH_INTERNALDATE:
        cq_buf_cstr(begin(m), "INTERNALDATE ");
        imap_write_date_time(out, m->record->internal_date);
        break;
    case IMAP_FETCH_SIZE:
        cq_buf_printf(begin(m), "RFC822.SIZE %u", m->record->size);
        break;
    case IMAP_FETCH_ENVELOPE:
        cq_buf_cstr(begin(m), "ENVELOPE ");
        imap_out_add(m->f->run, mail_summary_envelope(&m->summary, false));
        break;
    case IMAP_FETCH_STRUCTURE:
    case IMAP_FETCH_BODYSTRUCTURE:
        write_structure(m, kind == IMAP_FETCH_BODYSTRUCTURE);
        break;
    case IMAP_FETCH_MODSEQ:
        write_modseq(m);
        break;
    case IMAP_FETCH_OCTETS:
        break;
    }
}

/* Items that the client did not name but must get: UID in UID FETCH, FLAGS that \Seen changed, MODSEQ beside FLAGS once
 * CONDSTORE is on (RFC 7162 3.2). */
static void write_unasked(struct message *m)
{
    uint32_t kinds = m->f->fetch->kinds;
    bool flags = kinds & IMAP_FETCH_FLAGS || m->flags_changed;
    bool modseq = m->f->run->session->condstore && (flags || m->f->fetch->has_changed_since);
    if (m->f->uid && !(kinds & IMAP_FETCH_UID))
        write_uid(m);
    if (m->flags_changed && !(kinds & IMAP_FETCH_FLAGS))
        write_flags(m);
    if (modseq && !(kinds & IMAP_FETCH_MODSEQ))
        write_modseq(m);
}

static enum cq_rc write_items(struct message *m, struct imap_octets *octets, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < m->f->fetch->count && rc == CQ_OK; i++) {
        const struct imap_fetch_item *item = &m->f->fetch->items[i];
        if (item->kind != IMAP_FETCH_OCTETS) {
            write_simple(m, item->kind);
            continue;
        }
        begin(m);
        rc = imap_octets_write(m->f->run, octets++, err);
    }
    return rc;
}

/* ---- One message ---- */

/* Before the first byte is written all that can fail for this message has been tried: its summary, and the beginning of
 * each section. */
static enum cq_rc prepare(struct message *m, struct imap_octets **octets_r, struct cq_err *err)
{
    struct fetching *f = m->f;
    enum cq_rc rc = CQ_OK;
    *octets_r = NULL;
    if (f->summary)
        rc = imap_message_summary(f->run, m->record, f->pool, &m->summary, err);
    if (rc == CQ_OK && f->fetch->kinds & IMAP_FETCH_OCTETS)
        rc = imap_octets_prepare(f->run, f->fetch, m->record, f->summary ? &m->summary : NULL, f->pool, octets_r, err);
    return rc;
}

/* A damaged message does not keep the client from the others; it hears of it in the tagged answer. */
static enum cq_rc skip_message(struct fetching *f, enum cq_rc rc)
{
    if (rc == CQ_E_NOT_FOUND) { /* expunged between the record and its octets */
        f->some_gone = true;
        return CQ_OK;
    }
    if (rc != CQ_E_CORRUPT && rc != CQ_E_VERSION)
        return rc;
    if (f->damaged == CQ_OK)
        f->damaged = CQ_E_CORRUPT;
    return CQ_OK;
}

static enum cq_rc write_message(struct message *m, struct imap_octets *octets)
{
    struct imap_run *run = m->f->run;
    struct cq_err err = {0};
    cq_buf_printf(&run->out, "* %u FETCH (", imap_view_seq(run->session->view, m->record->uid));
    write_unasked(m);
    enum cq_rc rc = write_items(m, octets, &err);
    if (rc != CQ_OK) {
        /* In the middle of a literal whose length was promised: there is nothing else to say any more. */
        if (!run->session->closed)
            io_conn_abort(run->session->conn, rc, "FETCH: %s", err.text);
        return CQ_E_CANCELLED;
    }
    cq_buf_cstr(&run->out, ")\r\n");
    return CQ_OK;
}

static enum cq_rc fetch_message(void *ctx, const struct fetch_record *record, const struct mail_records *table);

/* Its header is longer than what is read of a known message: with record and summary, as any other. */
static enum cq_rc fetch_unknown(struct fetching *f, uint32_t uid)
{
    struct uid_range range = {uid, uid};
    const struct uidset one = {&range, 1};
    struct cq_err err = {0};
    f->known = false;
    f->summary = MAIL_FETCH_SUMMARY;
    enum cq_rc rc = imap_each_record(f->run, &one, f->summary, fetch_message, f, NULL, &err);
    f->known = true;
    f->summary = MAIL_FETCH_NO_SUMMARY;
    return rc;
}

static enum cq_rc fetch_message(void *ctx, const struct fetch_record *record, const struct mail_records *table)
{
    struct fetching *f = ctx;
    struct cq_err err = {0};
    struct imap_octets *octets;
    struct message m = {.f = f, .record = record, .table = table, .before = ""};
    if (f->fetch->has_changed_since && record->modseq <= f->fetch->changed_since)
        return CQ_OK;
    cq_pool_clear(f->pool);
    m.flags_changed = uidset_contains(&f->seen, record->uid); /* the record was read after that */
    enum cq_rc rc = prepare(&m, &octets, &err);
    bool unknown = rc == CQ_E_LIMIT && f->known;
    if (!unknown)
        rc = rc == CQ_OK ? write_message(&m, octets) : skip_message(f, rc);
    imap_octets_release(f->fetch, octets);
    return unknown ? fetch_unknown(f, record->uid) : rc;
}

/* ---- The set ---- */

static enum cq_rc collect_unseen(void *ctx, const struct fetch_record *record, const struct mail_records *table)
{
    struct fetching *f = ctx;
    (void)table;
    if (!(record->flags & MAIL_SEEN))
        uidset_builder_add(&f->unseen, record->uid, record->uid);
    return CQ_OK;
}

/* \Seen is set first, so that the flags that go out with the octets are the flags in the store. */
static enum cq_rc set_seen(struct fetching *f, const struct uidset *uids, struct cq_err *err)
{
    struct imap_session *session = f->run->session;
    struct uidset modified;
    uint64_t modseq = 0;
    uidset_builder_init(&f->unseen, f->run->pool);
    enum cq_rc rc = imap_each_record(f->run, uids, MAIL_FETCH_NO_SUMMARY, collect_unseen, f, NULL, err);
    f->seen = uidset_builder_finish(&f->unseen);
    if (rc != CQ_OK || f->seen.count == 0)
        return rc;
    const struct mail_store change = {
        .mailbox = session->view->mailbox, .uids = &f->seen, .mode = MAIL_STORE_ADD, .flags = MAIL_SEEN};
    rc = mailstore_store(session->service->store, &session->account, &change, f->run->pool, &modified, &modseq, err);
    imap_own_changes_add(&f->own, &f->seen, modseq);
    session->view->dirty = true;
    return rc;
}

static enum cq_rc fetch_seen_pieces(struct fetching *f, const struct uidset *uids, struct cq_err *err)
{
    uint32_t next = 1;
    enum cq_rc rc = CQ_OK;
    imap_own_changes_begin(f->run, &f->own);
    while (rc == CQ_OK && next) {
        struct uidset piece = imap_view_piece(f->run->session->view, uids, next, SEEN_PIECE, f->run->pool, &next);
        if (piece.count == 0)
            break;
        rc = set_seen(f, &piece, err);
        if (rc == CQ_OK)
            rc = imap_each_record(f->run, &piece, f->summary, fetch_message, f, NULL, err);
    }
    imap_own_changes_end(f->run, &f->own);
    return rc;
}

/* With CHANGEDSINCE the change feed says which messages to look at: nothing is scanned. */
static enum cq_rc only_changed(struct fetching *f, struct uidset *uids, struct cq_err *err)
{
    struct imap_session *session = f->run->session;
    struct uidset_builder changed;
    struct mail_changes batch = {.until_modseq = f->fetch->changed_since};
    struct cq_pool *pool = cq_pool_new(4096);
    enum cq_rc rc = CQ_OK;
    uidset_builder_init(&changed, f->run->pool);
    do {
        struct fetch_record record;
        uint64_t since = batch.until_modseq;
        cq_pool_clear(pool);
        rc = mailstore_changes(session->service->store, &session->account, session->view->mailbox, since, pool, &batch,
                               err);
        struct cq_slice rest = rc == CQ_OK ? batch.records.records : CQ_SLICE_NONE;
        while (rc == CQ_OK && (rc = fetch_record_next(&rest, &record)) == CQ_OK)
            if (uidset_contains(uids, record.uid))
                uidset_builder_add(&changed, record.uid, record.uid);
        rc = rc == CQ_E_EOF ? CQ_OK : rc;
    } while (rc == CQ_OK && batch.more && !batch.mailbox_gone);
    cq_pool_free(&pool);
    *uids = uidset_builder_finish(&changed);
    return rc;
}

/* ---- Known messages ---- */

#define NEVER_CHANGES ((uint32_t)IMAP_FETCH_UID | IMAP_FETCH_INTERNALDATE | IMAP_FETCH_SIZE | IMAP_FETCH_OCTETS)

static size_t width(const struct uidset *uids)
{
    size_t n = 0;
    for (size_t i = 0; i < uids->count && n <= IMAP_KNOWN_MAX; i++)
        n += (size_t)(uids->ranges[i].last - uids->ranges[i].first) + 1;
    return n;
}

/* Can all that is asked for be said without the messages' records? Then they are put into records_r, by UID. */
static bool are_known(const struct fetching *f, const struct uidset *uids,
                      struct fetch_record records_r[static IMAP_KNOWN_MAX], size_t *count_r)
{
    const struct imap_view *view = f->run->session->view;
    *count_r = 0;
    if (f->fetch->kinds & ~NEVER_CHANGES || width(uids) > IMAP_KNOWN_MAX || !imap_head_is_enough(f->fetch))
        return false;
    for (size_t i = 0; i < uids->count; i++) {
        for (uint64_t uid = uids->ranges[i].first; uid <= uids->ranges[i].last; uid++) {
            if (imap_view_seq(view, (uint32_t)uid) == 0 || imap_view_is_gone(view, (uint32_t)uid))
                continue;
            if (!imap_known_find(view->known, (uint32_t)uid, &records_r[(*count_r)++]))
                return false;
        }
    }
    return true;
}

/* Octets never change, and no other message ever has the UID; one that is no more has no octets. */
static enum cq_rc fetch_known(struct fetching *f, const struct fetch_record *records, size_t count)
{
    const struct mail_records nothing = {0};
    enum cq_rc rc = CQ_OK;
    f->known = true;
    f->summary = MAIL_FETCH_NO_SUMMARY;
    for (size_t i = 0; i < count && rc == CQ_OK; i++)
        rc = fetch_message(f, &records[i], &nothing);
    return rc;
}

static enum cq_rc fetch_set(struct fetching *f, struct uidset *uids, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    if (f->fetch->has_changed_since)
        rc = only_changed(f, uids, err);
    if (rc != CQ_OK || uids->count == 0)
        return rc;
    if (f->fetch->sets_seen && !f->run->session->view->read_only)
        return fetch_seen_pieces(f, uids, err);
    struct fetch_record known[IMAP_KNOWN_MAX];
    size_t known_count;
    if (!f->fetch->has_changed_since && are_known(f, uids, known, &known_count))
        return fetch_known(f, known, known_count);
    if (f->fetch->kinds & IMAP_FETCH_FLAGS) /* the feed need not bring these flags again */
        f->run->told.uids = *uids;
    return imap_each_record(f->run, uids, f->summary, fetch_message, f, &f->run->told.upto, err);
}

static void answer(struct fetching *f, enum cq_rc rc, const struct cq_err *err)
{
    struct imap_run *run = f->run;
    if (rc == CQ_OK)
        rc = f->damaged;
    if (rc != CQ_OK) {
        run->told = (struct imap_told){0}; /* not all of it has been told */
        imap_fail(run, rc, err);
    }
    if (f->some_gone)
        run->session->view->dirty = true;
}

/* No more of the summaries than the items are made of: the rest would go through three processes for nothing. */
static uint32_t summary_wanted(const struct imap_fetch *fetch)
{
    uint32_t data = 0;
    if (fetch->kinds & IMAP_FETCH_ENVELOPE)
        data |= MAIL_SUMMARY_DATA_ENVELOPE;
    if (fetch->kinds & (IMAP_FETCH_STRUCTURE | IMAP_FETCH_BODYSTRUCTURE))
        data |= MAIL_SUMMARY_DATA_STRUCTURE;
    if (fetch->kinds & IMAP_FETCH_STRUCTURE)
        data |= MAIL_SUMMARY_DATA_CUTS;
    if (imap_octets_need_summary(fetch))
        data |= MAIL_SUMMARY_DATA_PARTS;
    return mail_fetch_summary_of(data);
}

void imap_cmd_fetch(struct imap_run *run)
{
    struct imap_session *session = run->session;
    const struct imap_fetch *fetch = &run->command.u.fetch;
    struct fetching f = {
        .run = run,
        .fetch = fetch,
        .uid = run->command.verb == IMAP_UID_FETCH,
        .summary = summary_wanted(fetch),
    };
    struct uidset uids;
    struct cq_err err = {0};
    session->condstore |= fetch->has_changed_since || fetch->kinds & IMAP_FETCH_MODSEQ;
    if (!imap_view_resolve(session->view, &run->command.set, f.uid, run->pool, &uids)) {
        imap_bad(run, "There is no message of that number");
        return;
    }
    if (uids.count == 0)
        return;
    f.pool = cq_pool_new(4096);
    if (fetch->kinds & IMAP_FETCH_OCTETS)
        run->ahead = front_ahead_new(session->service->loop, session->service->store, &session->account,
                                     session->service->ahead_octets);
    answer(&f, fetch_set(&f, &uids, &err), &err);
    front_ahead_free(&run->ahead);
    cq_pool_free(&f.pool);
}
