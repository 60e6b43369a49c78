/* STORE. UIDs that are not there are skipped (RFC 2180 4.2.1); a message that would not change keeps its modseq. */
#include "base/cq_planted.h"
#include "state/mail_private.h"

/* What the command does to a message's flags. */
struct change {
    Chasqui__Mail__Store__Mode mode;
    uint8_t flags;
    uint8_t bits[KEYWORD_BITMAP_MAX];
};

static uint8_t combine(Chasqui__Mail__Store__Mode mode, uint8_t have, uint8_t given)
{
    if (mode == CHASQUI__MAIL__STORE__MODE__ADD && !planted(PLANT_LOSE_FLAG))
        return have | given;
    return mode == CHASQUI__MAIL__STORE__MODE__REMOVE ? (uint8_t)(have & ~given) : given;
}

/* False when nothing changes. */
static bool change_message(struct cq_pool *pool, const struct change *change, const struct message_record *old,
                           struct message_record *new_r)
{
    uint8_t bits[KEYWORD_BITMAP_MAX];
    *new_r = *old;
    new_r->flags = combine(change->mode, old->flags, change->flags);
    keywords_widen(old->keywords, bits);
    for (size_t i = 0; i < sizeof bits; i++)
        bits[i] = combine(change->mode, bits[i], change->bits[i]);
    new_r->keywords = keywords_trim(pool, bits);
    return new_r->flags != old->flags || !cq_slice_eq(new_r->keywords, old->keywords);
}

static enum cq_rc take_change(struct apply *a, const Chasqui__Mail__Store *store, struct change *change,
                              struct keyword_table **table_r, bool *grown_r)
{
    *change = (struct change){.mode = store->mode, .flags = (uint8_t)store->flags};
    *grown_r = false;
    if (store->flags & ~31u || store->mode < CHASQUI__MAIL__STORE__MODE__REPLACE ||
        store->mode > CHASQUI__MAIL__STORE__MODE__REMOVE)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "flags %x, mode %d", store->flags, store->mode);
    if (!store->n_keywords)
        return CQ_OK;
    enum cq_rc rc = mail_load_keywords(&a->v, store->mailbox, table_r);
    if (rc != CQ_OK)
        return rc;
    bool add = store->mode != CHASQUI__MAIL__STORE__MODE__REMOVE;
    return keywords_resolve(&a->v, *table_r, store->keywords, store->n_keywords, add, change->bits, grown_r);
}

/* Changes what may be changed; *modified_r is what the client's UNCHANGEDSINCE forbids. Returns how many changed. */
static size_t change_all(struct apply *a, const Chasqui__Mail__Store *store, const struct change *change,
                         const struct pick *pick, struct mailbox_record *mailbox, struct uidset *modified_r)
{
    struct uidset_builder modified;
    uidset_builder_init(&modified, a->v.pool);
    size_t changed = 0;
    for (size_t i = 0; i < pick->count; i++) {
        const struct picked *row = &pick->rows[i];
        struct message_record message;
        if (store->has_unchanged_since && row->message.modseq > store->unchanged_since) {
            uidset_builder_add(&modified, row->uid, row->uid);
        } else if (change_message(a->v.pool, change, &row->message, &message)) {
            apply_change_message(a, store->mailbox, mailbox, row->uid, &row->message, &message);
            changed++;
        }
    }
    *modified_r = uidset_builder_finish(&modified);
    return changed;
}

COMMAND(cmd_store)
{
    const Chasqui__Mail__Store *store = message;
    struct mailbox_record mailbox;
    struct uidset set, modified;
    struct change change;
    struct keyword_table *table = NULL;
    struct pick pick;
    bool grown;
    enum cq_rc rc = mail_load_mailbox(&a->v, store->mailbox, &mailbox);
    if (rc == CQ_OK)
        rc = mail_uidset(&a->v, store->uids, &set);
    if (rc == CQ_OK)
        rc = take_change(a, store, &change, &table, &grown);
    if (rc == CQ_OK)
        rc = mail_pick(&a->v, store->mailbox, &set, STATE_EFFECTS_MAX, &pick);
    if (rc != CQ_OK)
        return rc;
    if (change_all(a, store, &change, &pick, &mailbox, &modified)) {
        if (grown)
            mail_save_keywords(&a->v, store->mailbox, table);
        mail_save_mailbox(&a->v, store->mailbox, &mailbox);
        apply_changed(a, store->mailbox);
    }
    Chasqui__Mail__StoreReply reply = CHASQUI__MAIL__STORE_REPLY__INIT;
    Chasqui__Mail__UidSet wire;
    mail_uidset_put(a->v.pool, &modified, &wire);
    reply.modseq = a->modseq;
    reply.modified = &wire;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_OK;
}
