#include "state/records.h"

#include "base/cq_endian.h"
#include "state/wire.h"

#include <stddef.h>

#define G(m) WIRE(struct group_record, m)
static const struct wire_field group_fields[] = {
    G(time), G(outbox_index), G(outbox_sub_index), G(outbox_events), G(outbox_bytes), G(active_version),
};
static const struct wire_table group_table = WIRE_TABLE(1, group_fields);

#define A(m) WIRE(struct account_record, m)
static const struct wire_field account_fields[] = {
    A(state),
    A(quota_state),
    A(copying),
    A(incarnation),
    A(modseq),
    A(created),
    A(next_mailbox),
    A(next_email),
    A(next_uidvalidity),
    A(directory_version),
    A(quota_bytes),
    A(quota_messages),
    A(sending_messages_day),
    A(sending_recipients_day),
    A(recipients_message),
    A(used_bytes),
    A(used_messages),
    A(mailboxes),
    A(subscriptions),
    A(name_bytes),
    A(uses[0]),
    A(uses[1]),
    A(uses[2]),
    A(uses[3]),
    A(uses[4]),
    A(uses[5]),
    A(uses[6]),
    A(stage_bytes),
    A(stages),
    A(delivery_keys),
    A(clients),
    A(charges),
    A(window_recipients),
};
static const struct wire_table account_table = WIRE_TABLE(1, account_fields);

#define B(m) WIRE(struct mailbox_record, m)
static const struct wire_field mailbox_fields[] = {
    B(use),     B(uidvalidity), B(uidnext),        B(recent_from), B(messages),       B(unseen),
    B(deleted), B(size),        B(highest_modseq), B(vanished),    B(vanished_floor),
};
static const struct wire_table mailbox_table = WIRE_TABLE(1, mailbox_fields);

#define M(m) WIRE(struct message_record, m)
static const struct wire_field message_fields[] = {
    M(flags), M(size), M(modseq), M(internal_date), M(save_date), M(email), M(thread),
};
static const struct wire_table message_table = WIRE_TABLE(1, message_fields);

#define Y(m) WIRE(struct body_record, m)
static const struct wire_field body_fields[] = {
    Y(references), Y(size), Y(hash_low), Y(hash_high), Y(chunk_count),
};
static const struct wire_table body_table = WIRE_TABLE(1, body_fields);

#define J(m) WIRE(struct copy_record, m)
static const struct wire_field copy_fields[] = {
    J(move), J(time), J(sequence), J(from), J(to), J(modseq), J(size), J(first_uid), J(done), J(unseen), J(deleted),
};
static const struct wire_table copy_table = WIRE_TABLE(1, copy_fields);

static const struct wire_field stage_fields[] = {
    WIRE(struct stage_record, time),
    WIRE(struct stage_record, size),
    WIRE(struct stage_record, pieces),
};
static const struct wire_table stage_table = WIRE_TABLE(1, stage_fields);

static const struct wire_field client_fields[] = {
    WIRE(struct client_record, time),
    WIRE(struct client_record, done),
    WIRE(struct client_record, highest),
    WIRE(struct client_record, results),
};
static const struct wire_table client_table = WIRE_TABLE(1, client_fields);

static const struct wire_field result_fields[] = {
    WIRE(struct result_record, time),
    WIRE(struct result_record, rc),
};
static const struct wire_table result_table = WIRE_TABLE(1, result_fields);

static const struct wire_field charge_fields[] = {
    WIRE(struct charge_record, time),
    WIRE(struct charge_record, recipients),
};
static const struct wire_table charge_table = WIRE_TABLE(1, charge_fields);

/* Records without fixed fields: the version alone. */
static const struct wire_table bare_table = {1, NULL, 0};

/* Fixed fields and nothing after them. */
static enum cq_rc get_all(const struct wire_table *table, struct cq_slice in, void *record)
{
    enum cq_rc rc = wire_get(table, &in, record);
    return rc == CQ_OK && in.len ? CQ_E_CORRUPT : rc;
}

void group_record_put(const struct group_record *r, struct cq_buf *out)
{
    wire_put(&group_table, r, out);
}

enum cq_rc group_record_get(struct cq_slice in, struct group_record *r)
{
    return get_all(&group_table, in, r);
}

void account_record_put(const struct account_record *r, struct cq_buf *out)
{
    wire_put(&account_table, r, out);
    wire_put_string16(out, r->address);
}

enum cq_rc account_record_get(struct cq_slice in, struct account_record *r)
{
    enum cq_rc rc = wire_get(&account_table, &in, r);
    if (rc != CQ_OK)
        return rc;
    bool whole = wire_string16(&in, &r->address) && in.len == 0;
    return whole && (r->state == ACCOUNT_ACTIVE || r->state == ACCOUNT_DELETED) ? CQ_OK : CQ_E_CORRUPT;
}

void mailbox_record_put(const struct mailbox_record *r, struct cq_buf *out)
{
    wire_put(&mailbox_table, r, out);
    wire_put_string16(out, r->name);
}

enum cq_rc mailbox_record_get(struct cq_slice in, struct mailbox_record *r)
{
    enum cq_rc rc = wire_get(&mailbox_table, &in, r);
    if (rc != CQ_OK)
        return rc;
    return wire_string16(&in, &r->name) && in.len == 0 && r->use < USE_COUNT ? CQ_OK : CQ_E_CORRUPT;
}

void message_record_put(const struct message_record *r, struct cq_buf *out)
{
    wire_put(&message_table, r, out);
    cq_buf_slice_add(out, r->keywords);
}

enum cq_rc message_record_get(struct cq_slice in, struct message_record *r)
{
    enum cq_rc rc = wire_get(&message_table, &in, r);
    r->keywords = in;
    return rc == CQ_OK && in.len > KEYWORD_BITMAP_MAX ? CQ_E_CORRUPT : rc;
}

void body_record_put(const struct body_record *r, struct cq_buf *out)
{
    wire_put(&body_table, r, out);
    cq_buf_slice_add(out, r->chunks);
}

enum cq_rc body_record_get(struct cq_slice in, struct body_record *r)
{
    enum cq_rc rc = wire_get(&body_table, &in, r);
    r->chunks = in;
    return rc == CQ_OK && in.len != (uint64_t)r->chunk_count * BODY_CHUNK_SIZE ? CQ_E_CORRUPT : rc;
}

void copy_record_put(const struct copy_record *r, struct cq_buf *out)
{
    wire_put(&copy_table, r, out);
    cq_buf_slice_add(out, r->client);
}

enum cq_rc copy_record_get(struct cq_slice in, struct copy_record *r)
{
    enum cq_rc rc = wire_get(&copy_table, &in, r);
    r->client = in;
    return rc == CQ_OK && in.len != 16 ? CQ_E_CORRUPT : rc;
}

void stage_record_put(const struct stage_record *r, struct cq_buf *out)
{
    wire_put(&stage_table, r, out);
}

enum cq_rc stage_record_get(struct cq_slice in, struct stage_record *r)
{
    return get_all(&stage_table, in, r);
}

void client_record_put(const struct client_record *r, struct cq_buf *out)
{
    wire_put(&client_table, r, out);
}

enum cq_rc client_record_get(struct cq_slice in, struct client_record *r)
{
    return get_all(&client_table, in, r);
}

void result_record_put(const struct result_record *r, struct cq_buf *out)
{
    wire_put(&result_table, r, out);
    cq_buf_slice_add(out, r->body);
}

enum cq_rc result_record_get(struct cq_slice in, struct result_record *r)
{
    enum cq_rc rc = wire_get(&result_table, &in, r);
    r->body = in;
    return rc;
}

void charge_record_put(const struct charge_record *r, struct cq_buf *out)
{
    wire_put(&charge_table, r, out);
}

enum cq_rc charge_record_get(struct cq_slice in, struct charge_record *r)
{
    return get_all(&charge_table, in, r);
}

void keyword_table_put(const struct keyword_table *table, struct cq_buf *out)
{
    wire_put(&bare_table, NULL, out);
    for (size_t i = 0; i < table->count; i++)
        wire_put_string8(out, table->names[i]);
}

enum cq_rc keyword_table_get(struct cq_slice in, struct keyword_table *table)
{
    table->count = 0;
    enum cq_rc rc = wire_get(&bare_table, &in, NULL);
    while (rc == CQ_OK && in.len) {
        if (table->count == KEYWORDS_MAX || !wire_string8(&in, &table->names[table->count++]))
            rc = CQ_E_CORRUPT;
    }
    return rc;
}

void chunk_ref_put(const struct chunk_ref *chunk, struct cq_buf *out)
{
    uint8_t *to = cq_buf_reserve(out, BODY_CHUNK_SIZE);
    if (!to)
        return;
    chunk_key(&chunk->id, to);
    cq_put_le32(to + 28, chunk->length);
    cq_put_le64(to + 32, chunk->hash.low);
    cq_put_le64(to + 40, chunk->hash.high);
    cq_buf_commit(out, BODY_CHUNK_SIZE);
}

void chunk_ref_get(const uint8_t row[static BODY_CHUNK_SIZE], struct chunk_ref *chunk)
{
    chunk_key_parse(cq_slice_of(row, CHUNK_KEY_SIZE), &chunk->id);
    chunk->length = cq_get_le32(row + 28);
    chunk->hash = (struct cq_hash128){cq_get_le64(row + 32), cq_get_le64(row + 40)};
}

void piece_record_put(const struct chunk_ref *chunk, struct cq_buf *out)
{
    wire_put(&bare_table, NULL, out);
    chunk_ref_put(chunk, out);
}

enum cq_rc piece_record_get(struct cq_slice in, struct chunk_ref *chunk)
{
    enum cq_rc rc = wire_get(&bare_table, &in, NULL);
    if (rc != CQ_OK || in.len != BODY_CHUNK_SIZE)
        return rc == CQ_OK ? CQ_E_CORRUPT : rc;
    chunk_ref_get(in.data, chunk);
    return CQ_OK;
}

void number_record_put(uint64_t value, struct cq_buf *out)
{
    uint8_t bytes[9] = {1};
    cq_put_le64(bytes + 1, value);
    cq_buf_add(out, bytes, sizeof bytes);
}

enum cq_rc number_record_get(struct cq_slice in, uint64_t *value_r)
{
    enum cq_rc rc = wire_get(&bare_table, &in, NULL);
    if (rc != CQ_OK || in.len != 8)
        return rc == CQ_OK ? CQ_E_CORRUPT : rc;
    *value_r = cq_get_le64(in.data);
    return CQ_OK;
}

void uids_record_put(const struct uidset *set, struct cq_buf *out)
{
    wire_put(&bare_table, NULL, out);
    for (size_t i = 0; i < set->count; i++) {
        uint8_t pair[8];
        cq_put_le32(pair, set->ranges[i].first);
        cq_put_le32(pair + 4, set->ranges[i].last);
        cq_buf_add(out, pair, sizeof pair);
    }
}

enum cq_rc uids_record_get(struct cq_slice in, struct cq_pool *pool, struct uidset *set_r)
{
    enum cq_rc rc = wire_get(&bare_table, &in, NULL);
    if (rc != CQ_OK || in.len % 8)
        return rc == CQ_OK ? CQ_E_CORRUPT : rc;
    size_t count = in.len / 8;
    uint32_t *pairs = cq_pool_alloc(pool, in.len);
    for (size_t i = 0; i < 2 * count; i++)
        pairs[i] = cq_get_le32(in.data + 4 * i);
    return uidset_from_pairs(pairs, 2 * count, pool, set_r) ? CQ_OK : CQ_E_CORRUPT;
}

void bytes_record_put(struct cq_slice bytes, struct cq_buf *out)
{
    wire_put(&bare_table, NULL, out);
    cq_buf_slice_add(out, bytes);
}

enum cq_rc bytes_record_get(struct cq_slice in, struct cq_slice *bytes_r)
{
    enum cq_rc rc = wire_get(&bare_table, &in, NULL);
    *bytes_r = in;
    return rc;
}

void empty_record_put(struct cq_buf *out)
{
    wire_put(&bare_table, NULL, out);
}

void slots_record_put(uint64_t epoch, const struct slot_range *ranges, size_t count, struct cq_buf *out)
{
    number_record_put(epoch, out);
    for (size_t i = 0; i < count; i++) {
        uint8_t pair[4];
        cq_put_le16(pair, ranges[i].first);
        cq_put_le16(pair + 2, ranges[i].last);
        cq_buf_add(out, pair, sizeof pair);
    }
}

enum cq_rc slots_record_get(struct cq_slice in, uint64_t *epoch_r, uint8_t owned_r[static SLOT_COUNT / 8])
{
    memset(owned_r, 0, SLOT_COUNT / 8);
    enum cq_rc rc = number_record_get(cq_slice_sub(in, 0, 9), epoch_r);
    if (rc != CQ_OK)
        return rc;
    in = cq_slice_skip(in, 9);
    for (; in.len >= 4; in = cq_slice_skip(in, 4)) {
        for (uint32_t slot = cq_get_le16(in.data); slot <= cq_get_le16(in.data + 2); slot++)
            owned_r[slot / 8] |= (uint8_t)(1u << slot % 8);
    }
    return in.len ? CQ_E_CORRUPT : CQ_OK;
}
