/* STAGE, and how a staged or inline body becomes a manifest. */
#include "base/cq_endian.h"
#include "base/cq_planted.h"
#include "state/mail_private.h"

#define STAGE_ID 16

static struct chunk_ref entry_chunk_ref(const struct apply *a, size_t i)
{
    return (struct chunk_ref){
        .id = {a->v.m->config.incarnation, a->position.term, a->position.index, (uint32_t)i},
        .length = a->entry.chunks[i].length,
        .hash = a->entry.chunks[i].hash,
    };
}

static struct state_key piece_key(const struct apply *a, struct cq_slice stage, uint64_t offset)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_PIECE, stage);
    key_u64(&key, offset);
    return key;
}

static enum cq_rc load_stage(struct apply *a, struct cq_slice id, struct stage_record *stage_r)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_STAGE, id);
    struct cq_slice bytes;
    *stage_r = (struct stage_record){0};
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    return rc == CQ_OK ? mail_decoded(&a->v, stage_record_get(bytes, stage_r), "stage") : rc;
}

/* ---- STAGE ---- */

/* A piece before the end must be the one that is there. */
static enum cq_rc check_repeated(struct apply *a, const Chasqui__Mail__Stage *stage)
{
    struct state_key key = piece_key(a, mail_bytes(stage->stage), stage->offset);
    struct cq_slice bytes;
    struct chunk_ref chunk;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, piece_record_get(bytes, &chunk), "piece");
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    const struct entry_chunk *sent = &a->entry.chunks[0];
    if (rc == CQ_OK && chunk.length == sent->length && cq_hash128_eq(chunk.hash, sent->hash))
        return CQ_OK;
    return CQ_FAIL(a->v.err, CQ_E_CONFLICT, "another piece is at offset %llu", (unsigned long long)stage->offset);
}

static enum cq_rc check_stage_room(struct apply *a, const struct stage_record *stage, uint32_t length)
{
    const struct account_record *account = &a->v.account;
    if (stage->pieces == 0 && account->stages >= STATE_STAGES_MAX)
        return CQ_FAIL(a->v.err, CQ_E_OVERLOADED, "account has %u stages", account->stages);
    if (account->stage_bytes + length > STATE_STAGE_BYTES_MAX)
        return CQ_FAIL(a->v.err, CQ_E_OVERLOADED, "account has %llu staged bytes",
                       (unsigned long long)account->stage_bytes);
    if (stage->pieces >= STATE_STAGE_PIECES_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "stage has %u pieces", stage->pieces);
    if (stage->size + length > STATE_BODY_MAX)
        return CQ_FAIL(a->v.err, CQ_E_TOO_BIG, "stage of %llu bytes", (unsigned long long)stage->size);
    return apply_quota(a, stage->size + length, 1);
}

static void add_piece(struct apply *a, struct cq_slice id, struct stage_record *stage)
{
    struct chunk_ref chunk = entry_chunk_ref(a, 0);
    struct state_key key = piece_key(a, id, stage->size);
    struct state_key stage_key = mail_key_bytes(&a->v, KEY_STAGE, id);
    struct cq_buf *out = mail_scratch(a->v.m);
    piece_record_put(&chunk, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    a->chunks_taken = 1;
    if (stage->pieces++ == 0) {
        a->v.account.stages++;
        apply_expire(a, a->now + STATE_STAGE_AGE_US + 1, a->v.id, KEY_STAGE, id);
    }
    stage->size += chunk.length;
    stage->time = a->now;
    out = mail_scratch(a->v.m);
    stage_record_put(stage, out);
    db_put(a->v.m->db, &stage_key, cq_buf_slice(out));
    a->v.account.stage_bytes += chunk.length;
    a->account_dirty = true;
}

COMMAND(cmd_stage)
{
    const Chasqui__Mail__Stage *stage = message;
    struct cq_slice id = mail_bytes(stage->stage);
    struct stage_record record;
    if (id.len != STAGE_ID || a->entry.chunk_count != 1)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "stage id of %zu bytes with %zu pieces", id.len, a->entry.chunk_count);
    const struct entry_chunk *sent = &a->entry.chunks[0];
    if (!cq_hash128_eq(sent->hash, (struct cq_hash128){stage->hash_low, stage->hash_high}))
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "piece's hash is not the one of its octets");
    enum cq_rc rc = load_stage(a, id, &record);
    if (rc != CQ_OK && rc != CQ_E_NOT_FOUND)
        return rc;
    if (stage->offset > record.size)
        return CQ_FAIL(a->v.err, CQ_E_CONFLICT, "piece at %llu, staged are %llu bytes",
                       (unsigned long long)stage->offset, (unsigned long long)record.size);
    if (stage->offset < record.size)
        rc = check_repeated(a, stage);
    else if ((rc = check_stage_room(a, &record, sent->length)) == CQ_OK)
        add_piece(a, id, &record);
    Chasqui__Mail__StageReply reply = CHASQUI__MAIL__STAGE_REPLY__INIT;
    reply.size = record.size;
    if (rc == CQ_OK)
        *reply_r = mail_pack(a->v.pool, &reply.base);
    return rc;
}

/* ---- stages end ---- */

/* The stage's pieces in order; the rows live in the pool. */
static enum cq_rc collect_pieces(struct apply *a, struct cq_slice id, uint32_t count, struct chunk_ref **pieces_r)
{
    struct state_key prefix = mail_key_bytes(&a->v, KEY_PIECE, id);
    struct chunk_ref *pieces = *pieces_r = cq_pool_calloc(a->v.pool, count, sizeof *pieces);
    struct db_iter *iter = db_iter_prefix(a->v.m->db, &prefix);
    uint32_t n = 0;
    enum cq_rc rc = CQ_OK;
    while (n < count && (rc = db_iter_next(iter)) == CQ_OK) {
        rc = mail_decoded(&a->v, piece_record_get(db_iter_value(iter), &pieces[n++]), "piece");
        if (rc != CQ_OK)
            break;
    }
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? mail_decoded(&a->v, CQ_E_CORRUPT, "piece") : rc;
}

static void remove_stage(struct apply *a, struct cq_slice id, const struct stage_record *stage,
                         const struct chunk_ref *pieces)
{
    uint64_t offset = 0;
    if (planted(PLANT_STAGE_TWICE))
        return;
    for (uint32_t i = 0; i < stage->pieces; i++) {
        struct state_key key = piece_key(a, id, offset);
        db_delete(a->v.m->db, &key);
        offset += pieces[i].length;
    }
    struct state_key key = mail_key_bytes(&a->v, KEY_STAGE, id);
    db_delete(a->v.m->db, &key);
    a->v.account.stages--;
    a->v.account.stage_bytes -= stage->size;
    a->account_dirty = true;
}

enum cq_rc apply_drop_stage(struct apply *a, struct cq_slice id, const struct stage_record *stage)
{
    struct chunk_ref *pieces;
    enum cq_rc rc = collect_pieces(a, id, stage->pieces, &pieces);
    if (rc != CQ_OK)
        return rc;
    for (uint32_t i = 0; i < stage->pieces; i++)
        apply_chunk_died(a, &pieces[i]);
    remove_stage(a, id, stage, pieces);
    return CQ_OK;
}

/* ---- bodies ---- */

static void add_rows(struct apply *a, struct body_record *body, const struct chunk_ref *chunks, uint32_t count)
{
    struct cq_buf *out = mail_scratch(a->v.m);
    for (uint32_t i = 0; i < count; i++)
        chunk_ref_put(&chunks[i], out);
    body->chunk_count = count;
    body->chunks = cq_pool_slice(a->v.pool, cq_buf_slice(out));
}

static enum cq_rc take_inline(struct apply *a, const Chasqui__Mail__NewMessage *message, struct body_record *body)
{
    if (message->size == 0)
        return CQ_OK;
    if (a->chunks_taken == a->entry.chunk_count)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "message's octets did not come along");
    struct chunk_ref chunk = entry_chunk_ref(a, a->chunks_taken);
    struct cq_hash128 hash = {message->body_hash_low, message->body_hash_high};
    if (chunk.length != message->size || !cq_hash128_eq(chunk.hash, hash))
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "message's size or hash is not that of its octets");
    a->chunks_taken++;
    add_rows(a, body, &chunk, 1);
    return CQ_OK;
}

static enum cq_rc take_staged(struct apply *a, const Chasqui__Mail__NewMessage *message, struct body_record *body)
{
    struct cq_slice id = mail_bytes(message->stage);
    struct stage_record stage;
    struct chunk_ref *pieces;
    if (id.len != STAGE_ID)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "stage id of %zu bytes", id.len);
    enum cq_rc rc = load_stage(a, id, &stage);
    if (rc != CQ_OK)
        return rc == CQ_E_NOT_FOUND ? CQ_FAIL(a->v.err, rc, "no such stage") : rc;
    if (stage.size != message->size)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "message of %u bytes, staged are %llu", message->size,
                       (unsigned long long)stage.size);
    a->pieces_taken += stage.pieces;
    if (a->pieces_taken > STATE_STAGE_PIECES_MAX)
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "staged bodies of %zu pieces in one command", a->pieces_taken);
    rc = collect_pieces(a, id, stage.pieces, &pieces);
    if (rc != CQ_OK)
        return rc;
    remove_stage(a, id, &stage, pieces);
    add_rows(a, body, pieces, stage.pieces);
    return CQ_OK;
}

enum cq_rc apply_take_body(struct apply *a, const Chasqui__Mail__NewMessage *message, struct body_record *body_r)
{
    *body_r = (struct body_record){
        .references = 1,
        .size = message->size,
        .hash_low = message->body_hash_low,
        .hash_high = message->body_hash_high,
    };
    return message->stage.len ? take_staged(a, message, body_r) : take_inline(a, message, body_r);
}
