/* RECLAIM: a bounded piece of what nobody waits for. First what has expired by entry time, then what tombstones left
 * behind. Nothing here is visible to a client, but for the end of a COPY that its own client left. */
#include "base/cq_endian.h"
#include "state/mail_private.h"

#define EFFECTS_DEFAULT 1000

/* How much this entry may still do. */
struct budget {
    size_t left, done;
};

static void spend(struct budget *budget, size_t effects)
{
    budget->done += effects;
    budget->left -= effects < budget->left ? effects : budget->left;
}

/* Keys of a range, at most max; copied to the pool. */
struct found {
    struct cq_slice key, value;
};
static enum cq_rc collect(struct apply *a, struct cq_slice from, struct cq_slice to, size_t max, struct found **rows_r,
                          size_t *count_r)
{
    struct found *rows = *rows_r = cq_pool_calloc(a->v.pool, max, sizeof *rows);
    struct db_iter *iter = db_iter_new(a->v.m->db, from, to);
    enum cq_rc rc = CQ_OK;
    *count_r = 0;
    while (*count_r < max && (rc = db_iter_next(iter)) == CQ_OK) {
        struct found *row = &rows[(*count_r)++];
        row->key = cq_pool_slice(a->v.pool, db_iter_key(iter));
        row->value = cq_pool_slice(a->v.pool, db_iter_value(iter));
    }
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static enum cq_rc collect_prefix(struct apply *a, const struct state_key *prefix, size_t max, struct found **rows_r,
                                 size_t *count_r)
{
    struct state_key after;
    key_after_prefix(prefix, &after);
    return collect(a, key_slice(prefix), key_slice(&after), max, rows_r, count_r);
}

static void delete_found(struct apply *a, const struct found *row)
{
    struct state_key key = {.len = 0};
    key_bytes(&key, row->key.data, row->key.len);
    db_delete(a->v.m->db, &key);
}

/* ---- expiry ---- */

static bool older(const struct apply *a, uint64_t time, uint64_t age)
{
    return a->now > time && a->now - time > age;
}

/* The client's results that are too old for any duplicate, or all of them. */
static enum cq_rc expire_results(struct apply *a, struct cq_slice id, bool all, struct client_record *client,
                                 struct budget *budget)
{
    struct state_key prefix = mail_key_bytes(&a->v, KEY_RESULT, id);
    struct found *rows;
    size_t count;
    enum cq_rc rc = collect_prefix(a, &prefix, STATE_RESULTS_MAX, &rows, &count);
    for (size_t i = 0; i < count && rc == CQ_OK; i++) {
        struct result_record result;
        rc = mail_decoded(&a->v, result_record_get(rows[i].value, &result), "result");
        if (rc != CQ_OK || (!all && !older(a, result.time, STATE_REQUEST_AGE_US)))
            continue;
        delete_found(a, &rows[i]);
        client->results--;
        spend(budget, 1);
    }
    return rc;
}

static enum cq_rc expire_client(struct apply *a, struct cq_slice id, struct budget *budget)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_CLIENT, id);
    struct client_record client;
    struct cq_slice bytes;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, client_record_get(bytes, &client), "client");
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
    bool gone = older(a, client.time, STATE_REQUEST_AGE_US);
    rc = expire_results(a, id, gone, &client, budget);
    if (rc != CQ_OK)
        return rc;
    if (gone) {
        db_delete(a->v.m->db, &key);
        a->v.account.clients--;
        a->account_dirty = true;
        return CQ_OK;
    }
    struct cq_buf *out = mail_scratch(a->v.m);
    client_record_put(&client, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    apply_expire(a, client.time + STATE_REQUEST_AGE_US + 1, a->v.id, KEY_CLIENT, id);
    return CQ_OK;
}

static enum cq_rc expire_delivery_key(struct apply *a, struct cq_slice id, struct budget *budget)
{
    (void)budget;
    struct state_key key = mail_key_bytes(&a->v, KEY_DELIVERY, id);
    struct cq_slice bytes;
    uint64_t kept;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, number_record_get(bytes, &kept), "delivery key");
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
    if (!older(a, kept, STATE_DELIVERY_KEY_AGE_US)) /* kept again: that has its own place in the queue */
        return CQ_OK;
    db_delete(a->v.m->db, &key);
    a->v.account.delivery_keys--;
    a->account_dirty = true;
    return CQ_OK;
}

static enum cq_rc expire_stage(struct apply *a, struct cq_slice id, struct budget *budget)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_STAGE, id);
    struct cq_slice bytes;
    struct stage_record stage;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, stage_record_get(bytes, &stage), "stage");
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
    if (!older(a, stage.time, STATE_STAGE_AGE_US)) {
        apply_expire(a, stage.time + STATE_STAGE_AGE_US + 1, a->v.id, KEY_STAGE, id);
        return CQ_OK;
    }
    spend(budget, stage.pieces);
    return apply_drop_stage(a, id, &stage);
}

static enum cq_rc expire_charges(struct apply *a, struct cq_slice id, struct budget *budget)
{
    (void)id;
    bool more;
    uint32_t before = a->v.account.charges;
    enum cq_rc rc = apply_sweep_charges(a, budget->left ? budget->left : 1, &more);
    spend(budget, before - a->v.account.charges);
    if (rc != CQ_OK || a->v.account.charges == 0)
        return rc;
    struct state_key prefix = mail_key(&a->v, KEY_CHARGE_TIME);
    struct found *rows;
    size_t count;
    rc = collect_prefix(a, &prefix, 1, &rows, &count);
    if (rc == CQ_OK && count) {
        uint64_t due = cq_get_be64(key_rest(rows[0].key).data) + STATE_SENDING_WINDOW_US;
        apply_expire(a, due, a->v.id, KEY_CHARGE_TIME, CQ_SLICE_NONE);
    }
    return rc;
}

/* A copy that nobody asks for any more: a piece now, the next one when RECLAIM comes again. */
static enum cq_rc expire_copy(struct apply *a, struct cq_slice id, struct budget *budget)
{
    (void)id;
    bool done;
    if (!a->v.account.copying)
        return CQ_OK;
    enum cq_rc rc = copy_job_step(a, &done);
    if (rc == CQ_OK && !done)
        apply_expire(a, a->now, a->v.id, KEY_COPY, CQ_SLICE_NONE);
    spend(budget, STATE_EFFECTS_MAX);
    return rc;
}

static const struct {
    enum key_kind kind;
    enum cq_rc (*expire)(struct apply *a, struct cq_slice id, struct budget *budget);
} expiries[] = {
    {KEY_CLIENT, expire_client}, {KEY_DELIVERY, expire_delivery_key},
    {KEY_STAGE, expire_stage},   {KEY_CHARGE_TIME, expire_charges},
    {KEY_COPY, expire_copy},
};

/* Works on one account; its record is saved before the next one is looked at. */
static enum cq_rc expire_one(struct apply *a, const struct found *row, struct budget *budget)
{
    struct cq_slice rest = key_rest(row->key);
    if (rest.len < 17)
        return mail_decoded(&a->v, CQ_E_CORRUPT, "expiry");
    delete_found(a, row);
    spend(budget, 1);
    a->v.id = cq_get_be64(rest.data + 8);
    a->modseq = 0;
    a->account_dirty = false;
    enum cq_rc rc = mail_load_account(&a->v);
    if (rc != CQ_OK) /* its tombstone takes everything */
        return rc == CQ_E_NO_ACCOUNT ? CQ_OK : rc;
    for (size_t i = 0; i < sizeof expiries / sizeof expiries[0]; i++) {
        if (expiries[i].kind == rest.data[16])
            rc = expiries[i].expire(a, cq_slice_skip(rest, 17), budget);
    }
    if (rc == CQ_OK && a->account_dirty)
        mail_save_account(&a->v);
    return rc;
}

static enum cq_rc expire(struct apply *a, struct budget *budget, bool *more_r)
{
    struct state_key from, to;
    struct found *rows;
    size_t count, i = 0;
    key_begin(&from, db_space(a->v.m->db), 0, KEY_EXPIRY);
    to = from;
    key_u64(&to, a->now + 1);
    enum cq_rc rc = collect(a, key_slice(&from), key_slice(&to), budget->left, &rows, &count);
    *more_r = count == budget->left;
    for (; i < count && rc == CQ_OK && budget->left; i++)
        rc = expire_one(a, &rows[i], budget);
    *more_r = *more_r || i < count;
    return rc;
}

/* ---- tombstones ---- */

static enum cq_rc reclaim_message(struct apply *a, uint64_t mailbox, const struct found *row)
{
    struct message_record message;
    uint32_t uid = cq_get_be32(row->key.data + row->key.len - 4);
    enum cq_rc rc = mail_decoded(&a->v, message_record_get(row->value, &message), "message");
    if (rc == CQ_OK)
        rc = apply_release_email(a, message.email);
    if (rc != CQ_OK)
        return rc;
    struct state_key change = mail_key_change(&a->v, mailbox, message.modseq, uid);
    struct state_key deleted = mail_key_uid(&a->v, KEY_DELETED, mailbox, uid);
    delete_found(a, row);
    db_delete(a->v.m->db, &change);
    if (message.flags & CHASQUI__MAIL__SYSTEM_FLAG__DELETED)
        db_delete(a->v.m->db, &deleted);
    return CQ_OK;
}

static enum cq_rc reclaim_mailbox(struct apply *a, uint64_t mailbox, struct budget *budget, bool *more_r)
{
    struct state_key messages = mail_key_u64(&a->v, KEY_MESSAGE, mailbox);
    struct state_key vanished = mail_key_u64(&a->v, KEY_VANISHED, mailbox);
    struct found *rows;
    size_t count;
    enum cq_rc rc = collect_prefix(a, &messages, budget->left, &rows, &count);
    *more_r = count == budget->left;
    for (size_t i = 0; i < count && rc == CQ_OK; i++)
        rc = reclaim_message(a, mailbox, &rows[i]);
    spend(budget, count);
    if (rc != CQ_OK || *more_r)
        return rc;
    rc = collect_prefix(a, &vanished, budget->left, &rows, &count);
    *more_r = count == budget->left;
    for (size_t i = 0; i < count && rc == CQ_OK; i++)
        delete_found(a, &rows[i]);
    spend(budget, count);
    return rc;
}

static enum cq_rc bury_record(struct apply *a, const struct found *row)
{
    struct body_record body;
    struct chunk_ref chunk;
    enum cq_rc rc = CQ_OK;
    switch (row->key.data[STATE_KEY_HEAD - 1]) {
    case KEY_BODY:
        rc = mail_decoded(&a->v, body_record_get(row->value, &body), "body");
        for (uint32_t i = 0; rc == CQ_OK && i < body.chunk_count; i++) {
            chunk_ref_get(body.chunks.data + (size_t)i * BODY_CHUNK_SIZE, &chunk);
            apply_chunk_died(a, &chunk);
        }
        return rc;
    case KEY_PIECE:
        rc = mail_decoded(&a->v, piece_record_get(row->value, &chunk), "piece");
        if (rc == CQ_OK)
            apply_chunk_died(a, &chunk);
        return rc;
    default:
        return CQ_OK;
    }
}

/* Everything but the account's record, which stays as its tombstone. */
static enum cq_rc reclaim_account(struct apply *a, struct budget *budget, bool *more_r)
{
    struct state_key all = mail_key(&a->v, KEY_ACCOUNT), account = all;
    struct found *rows;
    size_t count;
    all.len = STATE_KEY_HEAD - 1;
    enum cq_rc rc = collect_prefix(a, &all, budget->left + 1, &rows, &count); /* one may be the record itself */
    *more_r = count == budget->left + 1;
    for (size_t i = 0; i < count && rc == CQ_OK; i++) {
        if (cq_slice_eq(rows[i].key, key_slice(&account)))
            continue;
        rc = bury_record(a, &rows[i]);
        delete_found(a, &rows[i]);
    }
    spend(budget, count);
    if (rc != CQ_OK || *more_r || mail_load_account(&a->v) != CQ_E_NO_ACCOUNT)
        return rc;
    a->v.account = (struct account_record){
        .state = ACCOUNT_DELETED, .incarnation = a->v.account.incarnation, .modseq = a->v.account.modseq};
    mail_save_account(&a->v);
    return CQ_OK;
}

static enum cq_rc reclaim_tombstones(struct apply *a, struct budget *budget, bool *more_r)
{
    struct state_key all;
    struct found *rows;
    size_t count, i = 0;
    bool more = false;
    key_begin(&all, db_space(a->v.m->db), 0, KEY_TOMBSTONE);
    enum cq_rc rc = collect_prefix(a, &all, 64, &rows, &count);
    for (; i < count && rc == CQ_OK && budget->left && !more; i++) {
        const uint8_t *rest = key_rest(rows[i].key).data;
        uint64_t mailbox = cq_get_be64(rest + 8);
        a->v.id = cq_get_be64(rest);
        rc = mailbox ? reclaim_mailbox(a, mailbox, budget, &more) : reclaim_account(a, budget, &more);
        if (rc == CQ_OK && !more)
            delete_found(a, &rows[i]);
    }
    *more_r = more || i < count || count == 64;
    return rc;
}

COMMAND(cmd_reclaim)
{
    const Chasqui__Mail__Reclaim *reclaim = message;
    size_t max = reclaim->max_effects ? reclaim->max_effects : EFFECTS_DEFAULT;
    struct budget budget = {.left = max < STATE_EFFECTS_MAX ? max : STATE_EFFECTS_MAX};
    bool more_expired = false, more_dead = true;
    enum cq_rc rc = expire(a, &budget, &more_expired);
    if (rc == CQ_OK && budget.left)
        rc = reclaim_tombstones(a, &budget, &more_dead);
    /* The entry is the group's: no account of it is answered or saved after this. */
    a->v.id = 0;
    a->v.account = (struct account_record){0};
    a->modseq = 0;
    a->account_dirty = false;
    if (rc != CQ_OK)
        return rc;
    Chasqui__Mail__ReclaimReply reply = CHASQUI__MAIL__RECLAIM_REPLY__INIT;
    reply.effects = (uint32_t)budget.done;
    reply.more = more_expired || more_dead;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_OK;
}
