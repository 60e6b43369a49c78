/* Bodies for reading, and the marks of dead ones. */
#include "base/cq_endian.h"
#include "base/cq_planted.h"
#include "state/mail_private.h"

#define DEAD_MARK 'd'

void dead_chunk_key(uint32_t group, const struct chunk_id *id, uint8_t key_r[static DEAD_CHUNK_KEY_SIZE])
{
    key_r[0] = DEAD_MARK;
    cq_put_be32(key_r + 1, group);
    cq_put_be64(key_r + 5, id->index);
    cq_put_be64(key_r + 13, id->term);
    cq_put_be64(key_r + 21, id->incarnation);
    cq_put_be32(key_r + 29, id->ordinal);
}

void dead_chunk_range(uint32_t group, uint64_t first_index, uint8_t from_r[static DEAD_CHUNK_KEY_SIZE],
                      uint8_t to_r[static DEAD_CHUNK_KEY_SIZE])
{
    dead_chunk_key(group, &(struct chunk_id){0}, from_r);
    dead_chunk_key(group, &(struct chunk_id){.index = planted(PLANT_FREE_BODY_EARLY) ? UINT64_MAX : first_index}, to_r);
}

bool dead_chunk_parse(struct cq_slice key, uint32_t *group_r, struct chunk_id *id_r)
{
    if (key.len != DEAD_CHUNK_KEY_SIZE || key.data[0] != DEAD_MARK)
        return false;
    *group_r = cq_get_be32(key.data + 1);
    *id_r = (struct chunk_id){
        .index = cq_get_be64(key.data + 5),
        .term = cq_get_be64(key.data + 13),
        .incarnation = cq_get_be64(key.data + 21),
        .ordinal = cq_get_be32(key.data + 29),
    };
    return true;
}

/* The pieces of [offset, end) of the body. */
static size_t cut_pieces(const struct body_record *body, uint64_t offset, uint64_t end, struct body_piece *pieces)
{
    uint64_t at = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < body->chunk_count && at < end; i++) {
        struct chunk_ref chunk;
        chunk_ref_get(body->chunks.data + (size_t)i * BODY_CHUNK_SIZE, &chunk);
        uint64_t next = at + chunk.length;
        if (next > offset) {
            uint64_t from = offset > at ? offset - at : 0, to = end < next ? end - at : chunk.length;
            pieces[count++] =
                (struct body_piece){chunk.id, chunk.length, chunk.hash, (uint32_t)from, (uint32_t)(to - from)};
        }
        at = next;
    }
    return count;
}

enum cq_rc mail_body_pieces(struct mail_view *v, const Chasqui__Mail__ReadBody *read, struct cq_slice *reply_r,
                            struct body_piece **pieces_r, size_t *count_r)
{
    struct state_key key = mail_key_u64(v, KEY_BODY, read->email);
    struct body_record body;
    struct cq_slice bytes;
    enum cq_rc rc = db_get(v->m->db, &key, v->pool, &bytes);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(v->err, rc, "email %llu", (unsigned long long)read->email);
    if (rc == CQ_OK)
        rc = mail_decoded(v, body_record_get(bytes, &body), "body");
    if (rc != CQ_OK)
        return rc;
    uint32_t length = read->length < STATE_BODY_READ_MAX ? read->length : STATE_BODY_READ_MAX;
    uint64_t offset = read->offset < body.size ? read->offset : body.size;
    uint64_t end = length < body.size - offset ? offset + length : body.size;
    *pieces_r = cq_pool_calloc(v->pool, body.chunk_count, sizeof **pieces_r);
    *count_r = cut_pieces(&body, offset, end, *pieces_r);
    Chasqui__Mail__ReadBodyReply reply = CHASQUI__MAIL__READ_BODY_REPLY__INIT;
    reply.size = body.size;
    *reply_r = mail_pack(v->pool, &reply.base);
    return CQ_OK;
}

/* Appends the chunk, whole and verified; nothing when it fails. */
static enum cq_rc read_chunk(struct store *store, const struct body_piece *piece, struct cq_buf *out,
                             struct cq_err *err)
{
    uint8_t key[CHUNK_KEY_SIZE];
    size_t before = out->len;
    chunk_key(&piece->id, key);
    enum cq_rc rc = store_get_unverified(store, STORE_CHUNK, cq_slice_of(key, sizeof key), piece->length, out, err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(err, rc, "chunk of index %llu is not there", (unsigned long long)piece->id.index);
    if (rc == CQ_E_LIMIT)
        return CQ_FAIL(err, CQ_E_CORRUPT, "chunk of index %llu is too long", (unsigned long long)piece->id.index);
    if (rc != CQ_OK)
        return rc;
    const struct cq_slice chunk = cq_slice_sub(cq_buf_slice(out), before, SIZE_MAX);
    if (chunk.len == piece->length && cq_hash128_eq(cq_xxh3_128(chunk), piece->hash))
        return CQ_OK;
    out->len = before;
    return CQ_FAIL(err, CQ_E_CORRUPT, "chunk of index %llu has another checksum", (unsigned long long)piece->id.index);
}

static enum cq_rc read_piece(struct store *store, const struct body_piece *piece, struct cq_buf *out,
                             struct cq_err *err)
{
    if (out->max - out->len < piece->take)
        return CQ_FAIL(err, CQ_E_LIMIT, "no room for the body");
    if (piece->take == piece->length)
        return read_chunk(store, piece, out, err);
    struct cq_buf chunk;
    cq_buf_init(&chunk, ENTRY_CHUNK_MAX);
    enum cq_rc rc = read_chunk(store, piece, &chunk, err);
    if (rc == CQ_OK)
        cq_buf_slice_add(out, cq_slice_sub(cq_buf_slice(&chunk), piece->from, piece->take));
    cq_buf_fini(&chunk);
    return rc;
}

enum cq_rc body_pieces_read(struct store *store, const struct body_piece *pieces, size_t count, struct cq_buf *out,
                            struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < count && rc == CQ_OK; i++)
        rc = read_piece(store, &pieces[i], out, err);
    return rc;
}
