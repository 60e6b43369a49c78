/* What several commands do to messages, bodies and counters. */
#include "base/cq_endian.h"
#include "state/mail_private.h"

uint64_t apply_modseq(struct apply *a)
{
    if (!a->modseq) {
        a->modseq = a->told_modseq = ++a->v.account.modseq;
        a->told = a->v.id;
        a->account_dirty = true;
    }
    return a->modseq;
}

void apply_changed(struct apply *a, uint64_t mailbox)
{
    for (size_t i = 0; i < a->changed_count; i++) {
        if (a->changed[i] == mailbox)
            return;
    }
    if (a->changed_count == a->changed_cap) {
        size_t cap = a->changed_cap ? a->changed_cap * 2 : 4;
        uint64_t *more = cq_pool_calloc(a->v.pool, cap, sizeof *more);
        if (a->changed_count)
            memcpy(more, a->changed, a->changed_count * sizeof *more);
        a->changed = more;
        a->changed_cap = cap;
    }
    a->changed[a->changed_count++] = mailbox;
}

void apply_list_changed(struct apply *a)
{
    apply_modseq(a);
    a->list_changed = true;
}

static void put_empty(struct apply *a, const struct state_key *key)
{
    struct cq_buf *out = mail_scratch(a->v.m);
    empty_record_put(out);
    db_insert(a->v.m->db, key, cq_buf_slice(out));
}

void apply_expire(struct apply *a, uint64_t time, uint64_t account, enum key_kind kind, struct cq_slice id)
{
    struct state_key key;
    key_begin(&key, db_space(a->v.m->db), 0, KEY_EXPIRY);
    key_u64(&key, time);
    key_u64(&key, account);
    key_u8(&key, (uint8_t)kind);
    key_bytes(&key, id.data, id.len);
    struct cq_buf *out = mail_scratch(a->v.m);
    empty_record_put(out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
}

/* ---- bodies ---- */

void apply_chunk_died(struct apply *a, const struct chunk_ref *chunk)
{
    uint8_t key[DEAD_CHUNK_KEY_SIZE];
    dead_chunk_key(a->v.m->config.group, &chunk->id, key);
    db_local_put(a->v.m->db, cq_slice_of(key, sizeof key), CQ_SLICE_NONE);
}

static void bury_rows(struct apply *a, const struct body_record *body)
{
    for (uint32_t i = 0; i < body->chunk_count; i++) {
        struct chunk_ref chunk;
        chunk_ref_get(body->chunks.data + (size_t)i * BODY_CHUNK_SIZE, &chunk);
        apply_chunk_died(a, &chunk);
    }
}

static enum cq_rc load_body(struct apply *a, uint64_t email, struct body_record *body_r)
{
    struct state_key key = mail_key_u64(&a->v, KEY_BODY, email);
    struct cq_slice bytes;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_E_NOT_FOUND) /* a message without its body: the state is wrong */
        rc = CQ_E_CORRUPT;
    return mail_decoded(&a->v, rc == CQ_OK ? body_record_get(bytes, body_r) : rc, "body");
}

static void save_body(struct apply *a, uint64_t email, const struct body_record *body)
{
    struct state_key key = mail_key_u64(&a->v, KEY_BODY, email);
    struct cq_buf *out = mail_scratch(a->v.m);
    body_record_put(body, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
}

enum cq_rc apply_release_email(struct apply *a, uint64_t email)
{
    struct body_record body;
    enum cq_rc rc = load_body(a, email, &body);
    if (rc != CQ_OK)
        return rc;
    if (body.references > 1) {
        body.references--;
        save_body(a, email, &body);
        return CQ_OK;
    }
    bury_rows(a, &body);
    struct state_key body_key = mail_key_u64(&a->v, KEY_BODY, email);
    struct state_key summary_key = mail_key_u64(&a->v, KEY_SUMMARY, email);
    db_delete(a->v.m->db, &body_key);
    db_delete(a->v.m->db, &summary_key);
    return CQ_OK;
}

enum cq_rc apply_share_email(struct apply *a, uint64_t email)
{
    struct body_record body;
    enum cq_rc rc = load_body(a, email, &body);
    if (rc != CQ_OK)
        return rc;
    if (body.references == UINT32_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "copies of one message");
    body.references++;
    save_body(a, email, &body);
    return CQ_OK;
}

void apply_add_email(struct apply *a, uint64_t email, const struct body_record *body, struct cq_slice summary)
{
    struct state_key body_key = mail_key_u64(&a->v, KEY_BODY, email);
    struct state_key summary_key = mail_key_u64(&a->v, KEY_SUMMARY, email);
    struct cq_buf *out = mail_scratch(a->v.m);
    body_record_put(body, out);
    db_insert(a->v.m->db, &body_key, cq_buf_slice(out));
    out = mail_scratch(a->v.m);
    bytes_record_put(summary, out);
    db_insert(a->v.m->db, &summary_key, cq_buf_slice(out));
}

/* ---- messages in mailboxes ---- */

static struct uid_entry *cached_uids(struct apply *a, uint64_t mailbox_id)
{
    struct uid_entry *entry = uid_cache_find(a->v.m->uids, a->v.id, mailbox_id);
    if (entry)
        a->touched_uids = true;
    return entry;
}

static void put_message(struct apply *a, uint64_t mailbox_id, uint32_t uid, const struct message_record *message,
                        bool is_new)
{
    struct state_key key = mail_key_uid(&a->v, KEY_MESSAGE, mailbox_id, uid);
    struct cq_buf *out = mail_scratch(a->v.m);
    message_record_put(message, out);
    if (is_new)
        db_insert(a->v.m->db, &key, cq_buf_slice(out));
    else
        db_put(a->v.m->db, &key, cq_buf_slice(out));
}

static bool is_unseen(const struct message_record *message)
{
    return !(message->flags & CHASQUI__MAIL__SYSTEM_FLAG__SEEN);
}

static bool is_deleted(const struct message_record *message)
{
    return message->flags & CHASQUI__MAIL__SYSTEM_FLAG__DELETED;
}

void apply_put_rows(struct apply *a, uint64_t mailbox_id, uint32_t uid, const struct message_record *message)
{
    struct state_key change = mail_key_change(&a->v, mailbox_id, message->modseq, uid);
    put_message(a, mailbox_id, uid, message, true);
    put_empty(a, &change);
    if (is_deleted(message)) {
        struct state_key deleted = mail_key_uid(&a->v, KEY_DELETED, mailbox_id, uid);
        put_empty(a, &deleted);
    }
}

void apply_add_message(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox, uint32_t uid,
                       const struct message_record *message)
{
    apply_put_rows(a, mailbox_id, uid, message);
    mailbox->messages++;
    mailbox->unseen += is_unseen(message);
    mailbox->deleted += is_deleted(message);
    mailbox->size += message->size;
    mailbox->highest_modseq = message->modseq;
    a->v.account.used_messages++;
    a->v.account.used_bytes += message->size;
    struct uid_entry *uids = cached_uids(a, mailbox_id);
    if (uids)
        uid_entry_add(uids, uid, is_unseen(message));
}

void apply_remove_rows(struct apply *a, uint64_t mailbox_id, uint32_t uid, const struct message_record *message)
{
    struct state_key key = mail_key_uid(&a->v, KEY_MESSAGE, mailbox_id, uid);
    struct state_key change = mail_key_change(&a->v, mailbox_id, message->modseq, uid);
    db_delete(a->v.m->db, &key);
    db_delete(a->v.m->db, &change);
    if (is_deleted(message)) {
        struct state_key deleted = mail_key_uid(&a->v, KEY_DELETED, mailbox_id, uid);
        db_delete(a->v.m->db, &deleted);
    }
}

void apply_remove_message(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox, uint32_t uid,
                          const struct message_record *message)
{
    apply_remove_rows(a, mailbox_id, uid, message);
    mailbox->messages--;
    mailbox->unseen -= is_unseen(message);
    mailbox->deleted -= is_deleted(message);
    mailbox->size -= message->size;
    mailbox->highest_modseq = apply_modseq(a);
    a->v.account.used_messages--;
    a->v.account.used_bytes -= message->size;
    struct uid_entry *uids = cached_uids(a, mailbox_id);
    if (uids)
        uid_entry_remove(uids, uid);
}

void apply_change_message(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox, uint32_t uid,
                          const struct message_record *old, struct message_record *message)
{
    struct state_key old_change = mail_key_change(&a->v, mailbox_id, old->modseq, uid);
    message->modseq = mailbox->highest_modseq = apply_modseq(a);
    struct state_key change = mail_key_change(&a->v, mailbox_id, message->modseq, uid);
    put_message(a, mailbox_id, uid, message, false);
    db_delete(a->v.m->db, &old_change);
    put_empty(a, &change);
    mailbox->unseen = mailbox->unseen - is_unseen(old) + is_unseen(message);
    mailbox->deleted = mailbox->deleted - is_deleted(old) + is_deleted(message);
    if (is_deleted(old) != is_deleted(message)) {
        struct state_key deleted = mail_key_uid(&a->v, KEY_DELETED, mailbox_id, uid);
        if (is_deleted(message))
            put_empty(a, &deleted);
        else
            db_delete(a->v.m->db, &deleted);
    }
    struct uid_entry *uids = is_unseen(old) != is_unseen(message) ? cached_uids(a, mailbox_id) : NULL;
    if (uids)
        uid_entry_set_unseen(uids, uid, is_unseen(message));
}

/* ---- what went ---- */

/* Gives up the oldest records; who asks from before them gets a superset (read_changes.c). */
static enum cq_rc forget_vanished(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox)
{
    struct state_key all = mail_key_u64(&a->v, KEY_VANISHED, mailbox_id);
    uint64_t old[STATE_VANISHED_DROP];
    size_t count = 0;
    enum cq_rc rc = CQ_OK;
    struct db_iter *iter = db_iter_prefix(a->v.m->db, &all);
    while (count < STATE_VANISHED_DROP && (rc = db_iter_next(iter)) == CQ_OK)
        old[count++] = cq_get_be64(db_iter_key(iter).data + db_iter_key(iter).len - 8);
    db_iter_free(&iter);
    if (rc != CQ_OK && rc != CQ_E_EOF)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct state_key key = mail_key_modseq(&a->v, KEY_VANISHED, mailbox_id, old[i]);
        db_delete(a->v.m->db, &key);
        mailbox->vanished_floor = old[i];
    }
    mailbox->vanished -= (uint32_t)count;
    return CQ_OK;
}

enum cq_rc apply_vanished(struct apply *a, uint64_t mailbox_id, struct mailbox_record *mailbox,
                          const struct uidset *uids)
{
    struct state_key key = mail_key_modseq(&a->v, KEY_VANISHED, mailbox_id, apply_modseq(a));
    struct cq_buf *out = mail_scratch(a->v.m);
    uids_record_put(uids, out);
    db_insert(a->v.m->db, &key, cq_buf_slice(out));
    mailbox->highest_modseq = a->modseq;
    mailbox->vanished++;
    return mailbox->vanished > STATE_VANISHED_MAX ? forget_vanished(a, mailbox_id, mailbox) : CQ_OK;
}
