/* COPY and MOVE. The new messages share body and summary with the old ones. Each gets the next UID in the order of the
 * source UIDs; flags, keywords, internal date, email and thread ids stay, the save date is now (RFC 8514). Source and
 * destination may be the same mailbox. */
#include "base/cq_planted.h"
#include "state/mail_private.h"

enum cq_rc apply_load_ends(struct apply *a, uint64_t from, uint64_t to, struct ends *ends)
{
    *ends = (struct ends){.from_id = from, .to_id = to};
    ends->from = &ends->from_record;
    ends->to = from == to ? &ends->from_record : &ends->to_record;
    enum cq_rc rc = mail_load_mailbox(&a->v, from, ends->from);
    return rc == CQ_OK && from != to ? mail_load_mailbox(&a->v, to, ends->to) : rc;
}

enum cq_rc apply_map_keywords(struct apply *a, struct ends *ends, struct cq_slice bitmap, struct cq_slice *bitmap_r)
{
    uint8_t bits[KEYWORD_BITMAP_MAX] = {0};
    *bitmap_r = bitmap;
    if (ends->from_id == ends->to_id || bitmap.len == 0)
        return CQ_OK;
    enum cq_rc rc = CQ_OK;
    if (!ends->from_table)
        rc = mail_load_keywords(&a->v, ends->from_id, &ends->from_table);
    if (rc == CQ_OK && !ends->to_table)
        rc = mail_load_keywords(&a->v, ends->to_id, &ends->to_table);
    for (size_t i = 0; i < bitmap.len * 8 && rc == CQ_OK; i++) {
        size_t index;
        if (!(bitmap.data[i / 8] >> i % 8 & 1) || i >= ends->from_table->count)
            continue;
        rc = keyword_add(&a->v, ends->to_table, ends->from_table->names[i], true, &index, &ends->table_grown);
        if (rc == CQ_OK)
            bits[index / 8] |= (uint8_t)(1u << index % 8);
    }
    *bitmap_r = keywords_trim(a->v.pool, bits);
    return rc;
}

static enum cq_rc add_copies(struct apply *a, struct ends *ends, const struct pick *pick)
{
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < pick->count && rc == CQ_OK; i++) {
        struct message_record message = pick->rows[i].message;
        rc = apply_map_keywords(a, ends, message.keywords, &message.keywords);
        message.modseq = apply_modseq(a);
        message.save_date = (int64_t)(a->now / 1000000);
        if (rc == CQ_OK)
            apply_add_message(a, ends->to_id, ends->to, ends->to->uidnext++, &message);
    }
    return rc;
}

static enum cq_rc share_bodies(struct apply *a, const struct pick *pick)
{
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < pick->count && rc == CQ_OK; i++)
        rc = apply_share_email(a, pick->rows[i].message.email);
    return rc;
}

struct uidset apply_picked_uids(struct apply *a, const struct pick *pick)
{
    struct uidset_builder uids;
    uidset_builder_init(&uids, a->v.pool);
    for (size_t i = 0; i < pick->count; i++)
        uidset_builder_add(&uids, pick->rows[i].uid, pick->rows[i].uid);
    return uidset_builder_finish(&uids);
}

static enum cq_rc remove_sources(struct apply *a, struct ends *ends, const struct pick *pick, const struct uidset *uids)
{
    for (size_t i = 0; i < pick->count; i++)
        apply_remove_message(a, ends->from_id, ends->from, pick->rows[i].uid, &pick->rows[i].message);
    return apply_vanished(a, ends->from_id, ends->from, uids);
}

static void save_ends(struct apply *a, struct ends *ends, bool from_changed)
{
    if (ends->table_grown)
        mail_save_keywords(&a->v, ends->to_id, ends->to_table);
    mail_save_mailbox(&a->v, ends->to_id, ends->to);
    apply_changed(a, ends->to_id);
    if (!from_changed || ends->from_id == ends->to_id)
        return;
    mail_save_mailbox(&a->v, ends->from_id, ends->from);
    apply_changed(a, ends->from_id);
}

static uint64_t picked_bytes(const struct pick *pick)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pick->count; i++)
        bytes += pick->rows[i].message.size;
    return bytes;
}

/* New ones first, then the old ones go: so the order within one modseq does not matter to anybody. */
static enum cq_rc transfer(struct apply *a, struct ends *ends, const struct uidset *set, bool move,
                           struct moved *moved_r)
{
    struct pick pick;
    enum cq_rc rc = mail_pick(&a->v, ends->from_id, set, STATE_EFFECTS_MAX, &pick);
    if (rc == CQ_E_LIMIT)
        return copy_job_start(a, ends, set, move);
    if (rc == CQ_OK && pick.count >= UINT32_MAX - ends->to->uidnext)
        rc = CQ_FAIL(a->v.err, CQ_E_LIMIT, "mailbox is out of UIDs");
    if (rc == CQ_OK && pick.count && !move && !planted(PLANT_FREE_COPY))
        rc = apply_quota(a, picked_bytes(&pick), pick.count);
    if (rc != CQ_OK)
        return rc;
    *moved_r = (struct moved){ends->to->uidvalidity, ends->to->uidnext, apply_picked_uids(a, &pick)};
    if (pick.count == 0)
        return CQ_OK;
    rc = add_copies(a, ends, &pick);
    if (rc == CQ_OK)
        rc = move ? remove_sources(a, ends, &pick, &moved_r->sources) : share_bodies(a, &pick);
    if (rc == CQ_OK)
        save_ends(a, ends, move);
    return rc;
}

enum cq_rc apply_move(struct apply *a, uint64_t from, uint64_t to, const struct uidset *set, struct moved *moved_r)
{
    struct ends ends;
    enum cq_rc rc = apply_load_ends(a, from, to, &ends);
    return rc == CQ_OK ? transfer(a, &ends, set, true, moved_r) : rc;
}

struct cq_slice apply_copy_reply(struct apply *a, uint32_t uidvalidity, uint32_t first_uid, const struct uidset *copied)
{
    Chasqui__Mail__CopyReply reply = CHASQUI__MAIL__COPY_REPLY__INIT;
    Chasqui__Mail__UidSet wire;
    mail_uidset_put(a->v.pool, copied, &wire);
    reply.uidvalidity = uidvalidity;
    reply.first_uid = copied->count ? first_uid : 0;
    reply.copied = &wire;
    reply.modseq = a->modseq;
    return mail_pack(a->v.pool, &reply.base);
}

static enum cq_rc copy_or_move(struct apply *a, const Chasqui__Mail__Copy *copy, bool move, struct cq_slice *reply_r)
{
    struct ends ends;
    struct uidset set;
    struct moved moved;
    enum cq_rc rc = apply_load_ends(a, copy->from, copy->to, &ends);
    if (rc == CQ_OK)
        rc = mail_uidset(&a->v, copy->uids, &set);
    if (rc == CQ_OK)
        rc = transfer(a, &ends, &set, move, &moved);
    if (rc != CQ_OK)
        return rc;
    apply_quota_events(a);
    *reply_r = apply_copy_reply(a, moved.uidvalidity, moved.first_uid, &moved.sources);
    return CQ_OK;
}

COMMAND(cmd_copy)
{
    return copy_or_move(a, message, false, reply_r);
}

COMMAND(cmd_move)
{
    return copy_or_move(a, message, true, reply_r);
}
