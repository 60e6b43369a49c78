#include "raft_wire.h"

#include "state/entry.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define MESSAGE_HEAD 24
#define ENTRY_ROW 16
#define QUESTION_ROW 24
#define ANSWER_ROW 16

/* ---- Writing ---- */

void raft_wire_out_init(struct raft_wire_out *out)
{
    *out = (struct raft_wire_out){0};
    cq_buf_init(&out->head, SIZE_MAX);
    raft_wire_out_reset(out);
}

static void drop_bodies(struct raft_wire_out *out)
{
    for (size_t i = 0; i < out->body_count; i++)
        raft_bytes_unref(&out->bodies[i].owner);
    out->body_count = 0;
    out->body_bytes = 0;
}

void raft_wire_out_fini(struct raft_wire_out *out)
{
    drop_bodies(out);
    free(out->bodies);
    cq_buf_fini(&out->head);
}

void raft_wire_out_reset(struct raft_wire_out *out)
{
    static const uint8_t room[RAFT_WIRE_FRAME_HEAD];
    drop_bodies(out);
    out->messages = out->entries = 0;
    cq_buf_reset(&out->head, 64u << 10);
    cq_buf_add(&out->head, room, sizeof room);
}

struct raft_frame raft_wire_finish(struct raft_wire_out *out)
{
    uint8_t *head = out->head.data;
    head[0] = RAFT_WIRE_VERSION;
    head[1] = 0;
    cq_put_le16(head + 2, (uint16_t)out->messages);
    cq_put_le32(head + 4, (uint32_t)(out->head.len - RAFT_WIRE_FRAME_HEAD));
    return (struct raft_frame){
        .head = cq_buf_slice(&out->head),
        .bodies = out->bodies,
        .body_count = out->body_count,
        .size = (size_t)raft_wire_out_size(out),
    };
}

static uint8_t *room(struct raft_wire_out *out, size_t n)
{
    uint8_t *at = cq_buf_reserve(&out->head, n);
    cq_buf_commit(&out->head, n);
    return at;
}

static void put_numbers(struct raft_wire_out *out, const uint64_t *numbers, size_t count)
{
    uint8_t *at = room(out, count * 8);
    for (size_t i = 0; i < count; i++)
        cq_put_le64(at + i * 8, numbers[i]);
}

static void put_body(struct raft_wire_out *out, const struct raft_body *body)
{
    if (out->body_count == out->body_cap) {
        out->body_cap = out->body_cap ? out->body_cap * 2 : 16;
        out->bodies = cq_realloc(out->bodies, out->body_cap * sizeof *out->bodies);
    }
    out->bodies[out->body_count++] = *body;
    raft_bytes_ref(body->owner);
    out->body_bytes += body->octets.len;
}

static void put_entry(struct raft_wire_out *out, const struct raft_wire_entry *entry)
{
    uint8_t *at = room(out, ENTRY_ROW);
    cq_put_le64(at, entry->term);
    cq_put_le32(at + 8, (uint32_t)entry->item->kind);
    cq_put_le32(at + 12, (uint32_t)entry->item->entry.len);
    cq_buf_slice_add(&out->head, entry->item->entry);
    for (uint32_t i = 0; i < entry->item->body_count; i++)
        put_body(out, &entry->item->bodies[i]);
    out->entries++;
}

static void put_three(struct raft_wire_out *out, const struct raft_wire *m)
{
    put_numbers(out, (const uint64_t[]){m->term, m->index, m->index_term}, 3);
}

static void put_term(struct raft_wire_out *out, const struct raft_wire *m)
{
    put_numbers(out, &m->term, 1);
}

static void put_append(struct raft_wire_out *out, const struct raft_wire *m)
{
    put_numbers(out, (const uint64_t[]){m->term, m->index, m->index_term, m->commit, m->floor, m->count}, 6);
    for (uint32_t i = 0; i < m->count; i++)
        put_entry(out, &m->entries[i]);
}

static void put_append_result(struct raft_wire_out *out, const struct raft_wire *m)
{
    put_numbers(out, (const uint64_t[]){m->term, m->rejected, m->index}, 3);
}

static void put_question(struct raft_wire_out *out, const struct raft_wire *m)
{
    put_numbers(out, (const uint64_t[]){m->round, m->count}, 2);
    for (uint32_t i = 0; i < m->count; i++)
        put_numbers(out, (const uint64_t[]){m->rows[i].group, m->rows[i].replica, m->rows[i].term}, 3);
}

static void put_answer(struct raft_wire_out *out, const struct raft_wire *m)
{
    put_numbers(out, (const uint64_t[]){m->round, m->count}, 2);
    for (uint32_t i = 0; i < m->count; i++)
        put_numbers(out, (const uint64_t[]){m->rows[i].group, m->rows[i].replica}, 2);
}

/* ---- Reading ---- */

struct reader {
    struct cq_slice left;   /* of the messages */
    struct cq_slice bodies; /* octets that no entry has taken yet */
    struct raft_bytes *frame;
    struct cq_pool *pool;
    uint32_t entries_left; /* of RAFT_FRAME_ENTRIES_MAX */
    struct cq_err *err;
};

static bool get_numbers(struct reader *r, uint64_t *numbers, size_t count)
{
    if (r->left.len < count * 8)
        return false;
    for (size_t i = 0; i < count; i++)
        numbers[i] = cq_get_le64(r->left.data + i * 8);
    r->left = cq_slice_skip(r->left, count * 8);
    return true;
}

static enum cq_rc cut_short(struct reader *r)
{
    return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: a message is cut short");
}

static enum cq_rc get_three(struct reader *r, struct raft_wire *m)
{
    uint64_t n[3];
    if (!get_numbers(r, n, 3))
        return cut_short(r);
    m->term = n[0];
    m->index = n[1];
    m->index_term = n[2];
    return CQ_OK;
}

static enum cq_rc get_term(struct reader *r, struct raft_wire *m)
{
    return get_numbers(r, &m->term, 1) ? CQ_OK : cut_short(r);
}

static enum cq_rc get_append_result(struct reader *r, struct raft_wire *m)
{
    uint64_t n[3];
    if (!get_numbers(r, n, 3))
        return cut_short(r);
    m->term = n[0];
    m->rejected = n[1];
    m->index = n[2];
    return CQ_OK;
}

/* Takes the entry's chunks off the bodies and holds them against its own list. */
static enum cq_rc take_bodies(struct reader *r, const struct entry *entry, struct raft_body *bodies_r)
{
    for (size_t i = 0; i < entry->chunk_count; i++) {
        size_t len = entry->chunks[i].length;
        if (len > r->bodies.len)
            return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: a body is cut short");
        bodies_r[i] = (struct raft_body){r->frame, cq_slice_sub(r->bodies, 0, len)};
        if (!cq_hash128_eq(cq_xxh3_128(bodies_r[i].octets), entry->chunks[i].hash))
            return CQ_FAIL(r->err, CQ_E_CORRUPT, "raft frame: chunk %zu is not what its entry says", i);
        r->bodies = cq_slice_skip(r->bodies, len);
    }
    return CQ_OK;
}

/* A small entry must not keep a big frame in memory. */
#define BIG_FRAME (64u << 10)
#define SMALL_ITEM (4u << 10)

static struct raft_item *item_of(struct reader *r, enum raft_entry_kind kind, struct cq_slice payload,
                                 struct raft_body *bodies, size_t count)
{
    size_t size = payload.len;
    for (size_t i = 0; i < count; i++)
        size += bodies[i].octets.len;
    if (size >= SMALL_ITEM || raft_bytes_slice(r->frame).len <= BIG_FRAME)
        return raft_item_new(kind, r->frame, payload, bodies, count);
    uint8_t *data;
    struct raft_bytes *own = raft_bytes_new(size, &data);
    struct cq_slice copy = cq_slice_of(data, payload.len);
    if (payload.len)
        memcpy(data, payload.data, payload.len);
    data += payload.len;
    for (size_t i = 0; i < count; i++) {
        struct cq_slice octets = bodies[i].octets;
        memcpy(data, octets.data, octets.len);
        bodies[i] = (struct raft_body){own, cq_slice_of(data, octets.len)};
        data += octets.len;
    }
    struct raft_item *item = raft_item_new(kind, own, copy, bodies, count);
    raft_bytes_unref(&own);
    return item;
}

static enum cq_rc get_command(struct reader *r, struct cq_slice payload, struct raft_item **item_r)
{
    struct entry entry;
    enum cq_rc rc = entry_decode(payload, r->pool, &entry, r->err);
    if (rc != CQ_OK)
        return rc;
    struct raft_body *bodies = cq_pool_calloc(r->pool, entry.chunk_count, sizeof *bodies);
    rc = take_bodies(r, &entry, bodies);
    if (rc == CQ_OK)
        *item_r = item_of(r, RAFT_KIND_COMMAND, payload, bodies, entry.chunk_count);
    return rc;
}

static enum cq_rc get_item(struct reader *r, enum raft_entry_kind kind, struct cq_slice payload,
                           struct raft_item **item_r)
{
    if (kind == RAFT_KIND_COMMAND)
        return get_command(r, payload, item_r);
    *item_r = item_of(r, kind, payload, NULL, 0);
    enum cq_rc rc = raft_item_check(*item_r, false, r->err);
    if (rc != CQ_OK)
        raft_item_unref(item_r);
    return rc;
}

static enum cq_rc get_entry(struct reader *r, struct raft_wire_entry *entry_r)
{
    if (r->left.len < ENTRY_ROW)
        return cut_short(r);
    const uint8_t *row = r->left.data;
    uint32_t kind = cq_get_le32(row + 8), len = cq_get_le32(row + 12);
    struct cq_slice payload = cq_slice_sub(r->left, ENTRY_ROW, len);
    if (payload.len != len)
        return cut_short(r);
    entry_r->term = cq_get_le64(row);
    if (entry_r->term == 0)
        return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: an entry of term 0");
    r->left = cq_slice_skip(r->left, ENTRY_ROW + len);
    return get_item(r, (enum raft_entry_kind)kind, payload, &entry_r->item);
}

static enum cq_rc get_append(struct reader *r, struct raft_wire *m)
{
    uint64_t n[6];
    if (!get_numbers(r, n, 6))
        return cut_short(r);
    m->term = n[0];
    m->index = n[1];
    m->index_term = n[2];
    m->commit = n[3];
    m->floor = n[4];
    if (n[5] > RAFT_APPEND_ENTRIES_MAX || n[5] > r->entries_left || n[5] > r->left.len / ENTRY_ROW)
        return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: too many entries");
    if (m->index > UINT64_MAX / 2 || (m->index == 0) != (m->index_term == 0))
        return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: the previous entry is not possible");
    r->entries_left -= (uint32_t)n[5];
    m->entries = cq_pool_calloc(r->pool, n[5], sizeof *m->entries);
    for (uint64_t i = 0; i < n[5]; i++) {
        enum cq_rc rc = get_entry(r, &m->entries[i]);
        if (rc != CQ_OK)
            return rc;
        m->count++;                                            /* what there is to release */
        if (i && m->entries[i].item->kind == RAFT_KIND_CHANGE) /* libraft would give it a wrong index */
            return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: a configuration behind another entry");
    }
    return CQ_OK;
}

static enum cq_rc get_rows(struct reader *r, struct raft_wire *m, size_t row_size)
{
    uint64_t n[3];
    if (!get_numbers(r, n, 2))
        return cut_short(r);
    if (n[1] > r->left.len / row_size)
        return cut_short(r);
    m->round = n[0];
    m->count = (uint32_t)n[1];
    m->rows = cq_pool_calloc(r->pool, m->count, sizeof *m->rows);
    for (uint32_t i = 0; i < m->count; i++) {
        n[2] = 0;
        get_numbers(r, n, row_size / 8);
        if (n[0] > UINT32_MAX)
            return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: no such group");
        m->rows[i] = (struct raft_wire_row){(uint32_t)n[0], n[1], n[2]};
    }
    return CQ_OK;
}

static enum cq_rc get_question(struct reader *r, struct raft_wire *m)
{
    return get_rows(r, m, QUESTION_ROW);
}

static enum cq_rc get_answer(struct reader *r, struct raft_wire *m)
{
    return get_rows(r, m, ANSWER_ROW);
}

/* ---- Both ---- */

static const struct {
    void (*put)(struct raft_wire_out *out, const struct raft_wire *m);
    enum cq_rc (*get)(struct reader *r, struct raft_wire *m);
    uint8_t flags;
    bool between_nodes;
} types[RAFT_WIRE_TYPE_END] = {
    [RAFT_WIRE_VOTE_REQUEST] = {put_three, get_three, RAFT_WIRE_DISRUPT | RAFT_WIRE_PRE_VOTE, false},
    [RAFT_WIRE_VOTE_RESULT] = {put_term, get_term, RAFT_WIRE_GRANTED | RAFT_WIRE_PRE_VOTE, false},
    [RAFT_WIRE_APPEND] = {put_append, get_append, RAFT_WIRE_BEHIND, false},
    [RAFT_WIRE_APPEND_RESULT] = {put_append_result, get_append_result, RAFT_WIRE_LAST | RAFT_WIRE_SILENT, false},
    [RAFT_WIRE_TIMEOUT_NOW] = {put_three, get_three, 0, false},
    [RAFT_WIRE_CONFIRM] = {put_question, get_question, 0, true},
    [RAFT_WIRE_CONFIRM_RESULT] = {put_answer, get_answer, 0, true},
};

void raft_wire_add(struct raft_wire_out *out, const struct raft_wire *m)
{
    uint8_t *at = room(out, MESSAGE_HEAD);
    at[0] = (uint8_t)m->type;
    at[1] = m->flags;
    cq_put_le16(at + 2, 0);
    cq_put_le32(at + 4, m->group);
    cq_put_le64(at + 8, m->from);
    cq_put_le64(at + 16, m->to);
    types[m->type].put(out, m);
    out->messages++;
    CQ_ASSERT(out->messages <= RAFT_FRAME_MESSAGES_MAX);
}

static enum cq_rc get_message(struct reader *r, struct raft_wire *m)
{
    if (r->left.len < MESSAGE_HEAD)
        return cut_short(r);
    const uint8_t *at = r->left.data;
    uint8_t type = at[0];
    m->flags = at[1];
    m->group = cq_get_le32(at + 4);
    m->from = cq_get_le64(at + 8);
    m->to = cq_get_le64(at + 16);
    if (type == 0 || type >= RAFT_WIRE_TYPE_END || (m->flags & ~types[type].flags) || cq_get_le16(at + 2))
        return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: message of type %u, flags %u", type, m->flags);
    if (types[type].between_nodes ? (m->from || m->to || m->group) : (!m->from || !m->to))
        return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: message between replicas that cannot be");
    m->type = (enum raft_wire_type)type;
    r->left = cq_slice_skip(r->left, MESSAGE_HEAD);
    return types[type].get(r, m);
}

void raft_wire_release(struct raft_wire_in *in)
{
    for (size_t i = 0; i < in->count; i++) {
        struct raft_wire *m = &in->messages[i];
        for (uint32_t j = 0; m->type == RAFT_WIRE_APPEND && j < m->count; j++)
            raft_item_unref(&m->entries[j].item);
    }
    in->count = 0;
}

static enum cq_rc get_messages(struct reader *r, size_t count, struct raft_wire_in *in)
{
    for (size_t i = 0; i < count; i++) {
        in->count++;
        enum cq_rc rc = get_message(r, &in->messages[i]);
        if (rc != CQ_OK)
            return rc;
    }
    if (r->left.len || r->bodies.len)
        return CQ_FAIL(r->err, CQ_E_PROTO, "raft frame: octets are left over");
    return CQ_OK;
}

enum cq_rc raft_wire_decode(struct raft_bytes *frame, struct cq_pool *pool, struct raft_wire_in *in_r,
                            struct cq_err *err)
{
    struct cq_slice octets = raft_bytes_slice(frame);
    *in_r = (struct raft_wire_in){0};
    if (octets.len < RAFT_WIRE_FRAME_HEAD || octets.len > RAFT_FRAME_MAX)
        return CQ_FAIL(err, CQ_E_PROTO, "raft frame of %zu bytes", octets.len);
    if (octets.data[0] != RAFT_WIRE_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "raft frame of version %u", octets.data[0]);
    size_t count = cq_get_le16(octets.data + 2), length = cq_get_le32(octets.data + 4);
    if (octets.data[1] || count > RAFT_FRAME_MESSAGES_MAX || length > octets.len - RAFT_WIRE_FRAME_HEAD)
        return CQ_FAIL(err, CQ_E_PROTO, "raft frame: its head is wrong");
    struct reader reader = {
        .left = cq_slice_sub(octets, RAFT_WIRE_FRAME_HEAD, length),
        .bodies = cq_slice_skip(octets, RAFT_WIRE_FRAME_HEAD + length),
        .frame = frame,
        .pool = pool,
        .entries_left = RAFT_FRAME_ENTRIES_MAX,
        .err = err,
    };
    in_r->messages = cq_pool_calloc(pool, count, sizeof *in_r->messages);
    enum cq_rc rc = get_messages(&reader, count, in_r);
    if (rc != CQ_OK)
        raft_wire_release(in_r);
    return rc;
}
