#include "base/cq_planted.h"
#include "state/mail_private.h"

#include <stdlib.h>

/* ---- keys ---- */

struct state_key mail_key(const struct mail_view *v, enum key_kind kind)
{
    struct state_key key;
    key_begin(&key, db_space(v->m->db), v->id, kind);
    return key;
}

struct state_key mail_key_u64(const struct mail_view *v, enum key_kind kind, uint64_t id)
{
    struct state_key key = mail_key(v, kind);
    key_u64(&key, id);
    return key;
}

struct state_key mail_key_uid(const struct mail_view *v, enum key_kind kind, uint64_t mailbox, uint32_t uid)
{
    struct state_key key = mail_key_u64(v, kind, mailbox);
    key_u32(&key, uid);
    return key;
}

struct state_key mail_key_modseq(const struct mail_view *v, enum key_kind kind, uint64_t mailbox, uint64_t modseq)
{
    struct state_key key = mail_key_u64(v, kind, mailbox);
    key_u64(&key, modseq);
    return key;
}

struct state_key mail_key_change(const struct mail_view *v, uint64_t mailbox, uint64_t modseq, uint32_t uid)
{
    struct state_key key = mail_key_modseq(v, KEY_CHANGE, mailbox, modseq);
    key_u32(&key, uid);
    return key;
}

struct state_key mail_key_bytes(const struct mail_view *v, enum key_kind kind, struct cq_slice id)
{
    struct state_key key = mail_key(v, kind);
    key_bytes(&key, id.data, id.len);
    return key;
}

/* ---- records ---- */

struct cq_buf *mail_scratch(struct mail_machine *m)
{
    cq_buf_reset(&m->scratch, 64 << 10);
    return &m->scratch;
}

enum cq_rc mail_decoded(struct mail_view *v, enum cq_rc rc, const char *what)
{
    if (rc == CQ_OK)
        return rc;
    db_break(v->m->db, rc);
    return CQ_FAIL(v->err, rc, "%s record of account %016llx does not decode", what, (unsigned long long)v->id);
}

enum cq_rc mail_load_account(struct mail_view *v)
{
    struct state_key key = mail_key(v, KEY_ACCOUNT);
    struct cq_slice bytes;
    v->account = (struct account_record){0};
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(v, account_record_get(bytes, &v->account), "account");
    if (rc == CQ_E_NOT_FOUND || (rc == CQ_OK && v->account.state != ACCOUNT_ACTIVE && !planted(PLANT_KEEP_DELETED)))
        return CQ_FAIL(v->err, CQ_E_NO_ACCOUNT, "account %016llx", (unsigned long long)v->id);
    return rc;
}

void mail_save_account(struct mail_view *v)
{
    struct state_key key = mail_key(v, KEY_ACCOUNT);
    struct cq_buf *out = mail_scratch(v->m);
    account_record_put(&v->account, out);
    db_put(v->m->db, &key, cq_buf_slice(out));
}

enum cq_rc mail_load_mailbox(struct mail_view *v, uint64_t id, struct mailbox_record *mailbox_r)
{
    struct state_key key = mail_key_u64(v, KEY_MAILBOX, id);
    struct cq_slice bytes;
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(v->err, CQ_E_NO_MAILBOX, "mailbox %llu", (unsigned long long)id);
    return rc == CQ_OK ? mail_decoded(v, mailbox_record_get(bytes, mailbox_r), "mailbox") : rc;
}

void mail_save_mailbox(struct mail_view *v, uint64_t id, const struct mailbox_record *mailbox)
{
    struct state_key key = mail_key_u64(v, KEY_MAILBOX, id);
    struct cq_buf *out = mail_scratch(v->m);
    mailbox_record_put(mailbox, out);
    db_put(v->m->db, &key, cq_buf_slice(out));
}

enum cq_rc mail_load_keywords(struct mail_view *v, uint64_t mailbox, struct keyword_table **table_r)
{
    struct state_key key = mail_key_u64(v, KEY_KEYWORDS, mailbox);
    struct cq_slice bytes;
    struct keyword_table *table = *table_r = cq_pool_alloc(v->pool, sizeof *table);
    table->count = 0;
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    return rc == CQ_OK ? mail_decoded(v, keyword_table_get(bytes, table), "keywords") : rc;
}

void mail_save_keywords(struct mail_view *v, uint64_t mailbox, const struct keyword_table *table)
{
    struct state_key key = mail_key_u64(v, KEY_KEYWORDS, mailbox);
    struct cq_buf *out = mail_scratch(v->m);
    keyword_table_put(table, out);
    db_put(v->m->db, &key, cq_buf_slice(out));
}

enum cq_rc mail_load_message(struct mail_view *v, uint64_t mailbox, uint32_t uid, struct message_record *message_r)
{
    struct state_key key = mail_key_uid(v, KEY_MESSAGE, mailbox, uid);
    struct cq_slice bytes;
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    return rc == CQ_OK ? mail_decoded(v, message_record_get(bytes, message_r), "message") : rc;
}

enum cq_rc mail_find_name(struct mail_view *v, struct cq_slice name, uint64_t *mailbox_r)
{
    struct state_key key = mail_key_bytes(v, KEY_NAME, name);
    struct cq_slice bytes;
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    return rc == CQ_OK ? mail_decoded(v, number_record_get(bytes, mailbox_r), "name") : rc;
}

/* ---- sets of messages ---- */

/* A range of at most this many UIDs is read one by one, a longer one by an iterator. */
#define PICK_SINGLE_MAX 4

static enum cq_rc pick_add(struct mail_view *v, struct pick *pick, size_t max, uint32_t uid,
                           const struct message_record *message)
{
    if (pick->count == max)
        return CQ_FAIL(v->err, CQ_E_LIMIT, "more than %zu messages in one command", max);
    if ((pick->count & (pick->count - 1)) == 0) { /* 0, 1, 2, 4, ...: full */
        size_t cap = pick->count ? pick->count * 2 : 1;
        struct picked *rows = cq_pool_alloc(v->pool, cap * sizeof *rows);
        if (pick->count)
            memcpy(rows, pick->rows, pick->count * sizeof *rows);
        pick->rows = rows;
    }
    pick->rows[pick->count++] = (struct picked){uid, *message};
    return CQ_OK;
}

static enum cq_rc pick_singles(struct mail_view *v, uint64_t mailbox, struct uid_range range, size_t max,
                               struct pick *pick)
{
    for (uint64_t uid = range.first; uid <= range.last; uid++) {
        struct message_record message;
        enum cq_rc rc = mail_load_message(v, mailbox, (uint32_t)uid, &message);
        if (rc == CQ_OK)
            rc = pick_add(v, pick, max, (uint32_t)uid, &message);
        if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
            return rc;
    }
    return CQ_OK;
}

/* The UID at the end of a message's or an index row's key. */
static uint32_t key_last_uid(struct cq_slice key)
{
    const uint8_t *at = key.data + key.len - 4;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static enum cq_rc pick_range(struct mail_view *v, struct db_iter *iter, uint64_t mailbox, struct uid_range range,
                             size_t max, struct pick *pick)
{
    struct state_key first = mail_key_uid(v, KEY_MESSAGE, mailbox, range.first);
    enum cq_rc rc;
    db_iter_seek(iter, &first);
    while ((rc = db_iter_next(iter)) == CQ_OK) {
        uint32_t uid = key_last_uid(db_iter_key(iter));
        if (uid > range.last)
            return CQ_OK;
        struct message_record message;
        rc = mail_decoded(v, message_record_get(db_iter_value(iter), &message), "message");
        if (rc == CQ_OK) {
            message.keywords = cq_pool_slice(v->pool, message.keywords);
            rc = pick_add(v, pick, max, uid, &message);
        }
        if (rc != CQ_OK)
            return rc;
    }
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

enum cq_rc mail_pick(struct mail_view *v, uint64_t mailbox, const struct uidset *set, size_t max, struct pick *pick_r)
{
    *pick_r = (struct pick){NULL, 0};
    struct state_key all = mail_key_u64(v, KEY_MESSAGE, mailbox);
    struct db_iter *iter = NULL;
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < set->count && rc == CQ_OK; i++) {
        struct uid_range range = set->ranges[i];
        if (range.last - range.first < PICK_SINGLE_MAX) {
            rc = pick_singles(v, mailbox, range, max, pick_r);
            continue;
        }
        if (!iter)
            iter = db_iter_prefix(v->m->db, &all);
        rc = pick_range(v, iter, mailbox, range, max, pick_r);
    }
    db_iter_free(&iter);
    return rc;
}

enum cq_rc mail_uidset(struct mail_view *v, const Chasqui__Mail__UidSet *wire, struct uidset *set_r)
{
    *set_r = (struct uidset){NULL, 0};
    if (!wire)
        return CQ_OK;
    if (!uidset_from_pairs(wire->ranges, wire->n_ranges, v->pool, set_r))
        return CQ_FAIL(v->err, CQ_E_INVALID, "UID set is not ascending");
    return CQ_OK;
}

void mail_uidset_put(struct cq_pool *pool, const struct uidset *set, Chasqui__Mail__UidSet *wire_r)
{
    chasqui__mail__uid_set__init(wire_r);
    wire_r->n_ranges = set->count * 2;
    wire_r->ranges = uidset_to_pairs(set, pool);
}

/* ---- protobuf ---- */

static void *pool_alloc(void *pool, size_t size)
{
    return cq_pool_alloc(pool, size);
}

static void pool_free(void *pool, void *pointer)
{
    (void)pool, (void)pointer;
}

ProtobufCAllocator mail_allocator(struct cq_pool *pool)
{
    return (ProtobufCAllocator){pool_alloc, pool_free, pool};
}

struct cq_slice mail_pack(struct cq_pool *pool, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = cq_pool_alloc(pool, size);
    return cq_slice_of(bytes, protobuf_c_message_pack(message, bytes));
}
