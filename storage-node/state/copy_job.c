/* COPY and MOVE of more messages than one entry may touch, still all or nothing.
 *
 * The first entry judges everything (quota, UIDs, keywords) and notes the copy in the account. Each later entry of the
 * account, mostly the same request sent again, puts the next 5,000 messages into the destination, at and above its
 * UIDNEXT, where no read looks. The last of these raises UIDNEXT, counters and MODSEQ: then all of them are there at
 * once, and with MOVE the sources are gone in the same moment: reads pass over them (mail_hidden) while further entries
 * remove their rows.
 *
 * Meanwhile no command of the account acts (CQ_E_AGAIN: it is sent again), so what was judged stays true and the copy
 * cannot fail any more; reads see the account as it was before, then as it is after. */
#include "base/cq_assert.h"
#include "state/mail_private.h"

static struct state_key job_key(const struct apply *a)
{
    return mail_key(&a->v, KEY_COPY);
}

static struct state_key uids_key(const struct apply *a)
{
    return mail_key(&a->v, KEY_COPY_UIDS);
}

static void save_job(struct apply *a, struct copy_record *job)
{
    struct state_key key = job_key(a);
    struct cq_buf *out = mail_scratch(a->v.m);
    job->time = a->now;
    copy_record_put(job, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
}

static enum cq_rc load_job(struct apply *a, struct copy_record *job, struct uidset *uids)
{
    struct state_key key = job_key(a), set_key = uids_key(a);
    struct cq_slice bytes, set_bytes;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = db_get(a->v.m->db, &set_key, a->v.pool, &set_bytes);
    if (rc == CQ_E_NOT_FOUND) /* the account says that there is one */
        rc = CQ_E_CORRUPT;
    if (rc == CQ_OK)
        rc = copy_record_get(bytes, job);
    if (rc == CQ_OK)
        rc = uids_record_get(set_bytes, a->v.pool, uids);
    return mail_decoded(&a->v, rc, "copy");
}

/* ---- start ---- */

/* Has the destination's table room for all keywords of these messages? */
static enum cq_rc check_keywords(struct apply *a, struct ends *ends, const struct pick *pick)
{
    uint8_t all[KEYWORD_BITMAP_MAX] = {0};
    struct cq_slice mapped;
    for (size_t i = 0; i < pick->count; i++) {
        struct cq_slice bits = pick->rows[i].message.keywords;
        for (size_t k = 0; k < bits.len; k++)
            all[k] |= bits.data[k];
    }
    return apply_map_keywords(a, ends, keywords_trim(a->v.pool, all), &mapped);
}

static uint64_t total_bytes(const struct pick *pick)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pick->count; i++)
        bytes += pick->rows[i].message.size;
    return bytes;
}

static enum cq_rc judge(struct apply *a, struct ends *ends, const struct uidset *set, bool move, struct pick *pick)
{
    enum cq_rc rc = mail_pick(&a->v, ends->from_id, set, STATE_COPY_MAX, pick);
    if (rc == CQ_OK && pick->count >= UINT32_MAX - ends->to->uidnext)
        rc = CQ_FAIL(a->v.err, CQ_E_LIMIT, "mailbox is out of UIDs");
    if (rc == CQ_OK && !move)
        rc = apply_quota(a, total_bytes(pick), pick->count);
    return rc == CQ_OK ? check_keywords(a, ends, pick) : rc;
}

enum cq_rc copy_job_start(struct apply *a, struct ends *ends, const struct uidset *set, bool move)
{
    struct pick pick;
    bool done;
    enum cq_rc rc = judge(a, ends, set, move, &pick);
    if (rc != CQ_OK)
        return rc;
    struct uidset uids = apply_picked_uids(a, &pick);
    struct state_key key = uids_key(a);
    struct cq_buf *out = mail_scratch(a->v.m);
    uids_record_put(&uids, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    struct copy_record job = {
        .move = move,
        .sequence = a->entry.sequence,
        .from = ends->from_id,
        .to = ends->to_id,
        .modseq = a->v.account.modseq + 1,
        .first_uid = ends->to->uidnext,
        .client = cq_slice_of(a->entry.client, sizeof a->entry.client),
    };
    save_job(a, &job);
    a->v.account.copying = COPY_ADDING;
    a->account_dirty = true;
    apply_expire(a, a->now + STATE_COPY_IDLE_US, a->v.id, KEY_COPY, CQ_SLICE_NONE);
    rc = copy_job_step(a, &done);
    CQ_ASSERT(rc != CQ_OK || !done); /* it has more messages than one step takes */
    if (rc != CQ_OK)
        return rc;
    a->keep = true;
    return CQ_FAIL(a->v.err, CQ_E_AGAIN, "a large COPY has begun");
}

/* ---- pieces ---- */

/* The members of the set from number `skip` on, at most max. */
static struct uidset slice_of_set(struct apply *a, const struct uidset *set, uint64_t skip, uint64_t max)
{
    struct uidset_builder builder;
    uidset_builder_init(&builder, a->v.pool);
    for (size_t i = 0; i < set->count && max; i++) {
        uint64_t size = (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        uint64_t n = size - skip < max ? size - skip : max;
        uint32_t first = set->ranges[i].first + (uint32_t)skip;
        uidset_builder_add(&builder, first, first + (uint32_t)(n - 1));
        skip = 0;
        max -= n;
    }
    return uidset_builder_finish(&builder);
}

static enum cq_rc put_copy(struct apply *a, struct copy_record *job, struct ends *ends, struct message_record message)
{
    enum cq_rc rc = apply_map_keywords(a, ends, message.keywords, &message.keywords);
    if (rc == CQ_OK && !job->move)
        rc = apply_share_email(a, message.email);
    if (rc != CQ_OK)
        return mail_decoded(&a->v, CQ_E_CORRUPT, "copy"); /* it was judged that this cannot be */
    message.modseq = job->modseq;
    message.save_date = (int64_t)(a->now / 1000000);
    apply_put_rows(a, ends->to_id, job->first_uid + job->done++, &message);
    job->unseen += !(message.flags & CHASQUI__MAIL__SYSTEM_FLAG__SEEN);
    job->deleted += (message.flags & CHASQUI__MAIL__SYSTEM_FLAG__DELETED) != 0;
    job->size += message.size;
    return CQ_OK;
}

/* The source messages of the next piece: nothing could go meanwhile. */
static enum cq_rc pick_piece(struct apply *a, const struct copy_record *job, const struct uidset *uids,
                             struct pick *pick)
{
    struct uidset piece = slice_of_set(a, uids, job->done, STATE_EFFECTS_MAX);
    enum cq_rc rc = mail_pick(&a->v, job->from, &piece, STATE_EFFECTS_MAX, pick);
    return rc == CQ_OK && pick->count != uidset_size(&piece) ? mail_decoded(&a->v, CQ_E_CORRUPT, "copy") : rc;
}

static enum cq_rc add_piece(struct apply *a, struct copy_record *job, struct ends *ends, const struct uidset *uids)
{
    struct pick pick;
    enum cq_rc rc = pick_piece(a, job, uids, &pick);
    for (size_t i = 0; i < pick.count && rc == CQ_OK; i++)
        rc = put_copy(a, job, ends, pick.rows[i].message);
    if (rc == CQ_OK && ends->table_grown)
        mail_save_keywords(&a->v, job->to, ends->to_table);
    return rc;
}

static enum cq_rc remove_piece(struct apply *a, struct copy_record *job, const struct uidset *uids)
{
    struct pick pick;
    enum cq_rc rc = pick_piece(a, job, uids, &pick);
    for (size_t i = 0; i < pick.count && rc == CQ_OK; i++)
        apply_remove_rows(a, job->from, pick.rows[i].uid, &pick.rows[i].message);
    job->done += (uint32_t)pick.count;
    return rc;
}

/* ---- the moment when it shows ---- */

/* The mailbox's counters get, or lose, all copied messages. */
static void count_in(struct mailbox_record *mailbox, const struct copy_record *job)
{
    mailbox->messages += job->done;
    mailbox->unseen += job->unseen;
    mailbox->deleted += job->deleted;
    mailbox->size += job->size;
}

static void count_out(struct mailbox_record *mailbox, const struct copy_record *job)
{
    mailbox->messages -= job->done;
    mailbox->unseen -= job->unseen;
    mailbox->deleted -= job->deleted;
    mailbox->size -= job->size;
}

static enum cq_rc show_sources_gone(struct apply *a, const struct copy_record *job, struct ends *ends,
                                    const struct uidset *uids)
{
    count_out(ends->from, job);
    enum cq_rc rc = apply_vanished(a, job->from, ends->from, uids);
    mail_save_mailbox(&a->v, job->from, ends->from);
    uid_cache_drop(a->v.m->uids, a->v.id, job->from);
    apply_changed(a, job->from);
    return rc;
}

static enum cq_rc show(struct apply *a, const struct copy_record *job, struct ends *ends, const struct uidset *uids)
{
    enum cq_rc rc = CQ_OK;
    CQ_ASSERT(apply_modseq(a) == job->modseq);
    ends->to->uidnext += job->done;
    ends->to->highest_modseq = job->modseq;
    count_in(ends->to, job);
    if (job->move) {
        rc = show_sources_gone(a, job, ends, uids);
    } else {
        a->v.account.used_messages += job->done;
        a->v.account.used_bytes += job->size;
        apply_quota_events(a);
    }
    mail_save_mailbox(&a->v, job->to, ends->to);
    uid_cache_drop(a->v.m->uids, a->v.id, job->to);
    apply_changed(a, job->to);
    struct cq_slice reply = apply_copy_reply(a, ends->to->uidvalidity, job->first_uid, uids);
    return rc == CQ_OK ? request_remember_for(a, job->client, job->sequence, reply) : rc;
}

static void remove_job(struct apply *a)
{
    struct state_key key = job_key(a), set_key = uids_key(a);
    db_delete(a->v.m->db, &key);
    db_delete(a->v.m->db, &set_key);
    a->v.account.copying = COPY_NONE;
}

/* ---- steps ---- */

static enum cq_rc step_adding(struct apply *a, struct copy_record *job, const struct uidset *uids, bool *done_r)
{
    struct ends ends;
    enum cq_rc rc = apply_load_ends(a, job->from, job->to, &ends);
    if (rc == CQ_E_NO_MAILBOX)
        rc = mail_decoded(&a->v, CQ_E_CORRUPT, "copy");
    if (rc == CQ_OK)
        rc = add_piece(a, job, &ends, uids);
    if (rc != CQ_OK || job->done < uidset_size(uids))
        return rc;
    rc = show(a, job, &ends, uids);
    *done_r = !job->move;
    job->done = 0;
    a->v.account.copying = COPY_REMOVING;
    return rc;
}

static enum cq_rc step_removing(struct apply *a, struct copy_record *job, const struct uidset *uids, bool *done_r)
{
    enum cq_rc rc = remove_piece(a, job, uids);
    *done_r = job->done == uidset_size(uids);
    return rc;
}

enum cq_rc copy_job_step(struct apply *a, bool *done_r)
{
    struct copy_record job;
    struct uidset uids;
    *done_r = false;
    enum cq_rc rc = load_job(a, &job, &uids);
    if (rc == CQ_OK)
        rc = a->v.account.copying == COPY_ADDING ? step_adding(a, &job, &uids, done_r)
                                                 : step_removing(a, &job, &uids, done_r);
    if (rc != CQ_OK)
        return rc;
    a->account_dirty = true;
    if (*done_r)
        remove_job(a);
    else
        save_job(a, &job);
    return CQ_OK;
}

/* ---- for reads ---- */

enum cq_rc mail_hidden(struct mail_view *v, uint64_t mailbox, struct uidset *hidden_r)
{
    struct copy_record job;
    struct state_key key = mail_key(v, KEY_COPY), set_key = mail_key(v, KEY_COPY_UIDS);
    struct cq_slice bytes, set_bytes;
    *hidden_r = (struct uidset){NULL, 0};
    if (v->account.copying != COPY_REMOVING)
        return CQ_OK;
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    if (rc == CQ_OK)
        rc = db_get(v->m->db, &set_key, v->pool, &set_bytes);
    if (rc == CQ_OK)
        rc = copy_record_get(bytes, &job);
    if (rc == CQ_OK && job.from == mailbox)
        rc = uids_record_get(set_bytes, v->pool, hidden_r);
    return mail_decoded(v, rc == CQ_E_NOT_FOUND ? CQ_E_CORRUPT : rc, "copy");
}
