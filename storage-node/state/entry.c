#include "state/entry.h"

#include "base/cq_endian.h"

/* Offsets of docs/formats/entry.md. */
enum {
    AT_FORMAT = 0,
    AT_RESERVED = 1,
    AT_VERSION = 2,
    AT_METHOD = 4,
    AT_CHUNKS = 6,
    AT_ACCOUNT = 8,
    AT_TIME = 16,
    AT_CLIENT = 24,
    AT_SEQUENCE = 40,
    AT_DONE = 48,
    AT_STAMP = 56,
    AT_MIN_MODSEQ = 64,
    AT_INCARNATION = 72,
    AT_BODY_LENGTH = 80,
    AT_RESERVED2 = 84,
};

static enum cq_rc check_chunks(const struct entry_chunk *chunks, size_t count, struct cq_err *err)
{
    if (count > ENTRY_CHUNKS_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "entry with %zu chunks", count);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (chunks[i].length == 0 || chunks[i].length > ENTRY_CHUNK_MAX)
            return CQ_FAIL(err, CQ_E_LIMIT, "chunk %zu of %u bytes", i, chunks[i].length);
        bytes += chunks[i].length;
    }
    if (bytes > ENTRY_CHUNK_BYTES_MAX)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "entry with %llu bytes of chunks", (unsigned long long)bytes);
    return CQ_OK;
}

static void put_head(uint8_t *at, const struct entry *e)
{
    at[AT_FORMAT] = ENTRY_FORMAT;
    at[AT_RESERVED] = 0;
    cq_put_le16(at + AT_VERSION, e->version);
    cq_put_le16(at + AT_METHOD, e->method);
    cq_put_le16(at + AT_CHUNKS, (uint16_t)e->chunk_count);
    cq_put_le64(at + AT_ACCOUNT, e->account);
    cq_put_le64(at + AT_TIME, e->time);
    memcpy(at + AT_CLIENT, e->client, sizeof e->client);
    cq_put_le64(at + AT_SEQUENCE, e->sequence);
    cq_put_le64(at + AT_DONE, e->done);
    cq_put_le64(at + AT_STAMP, e->stamp);
    cq_put_le64(at + AT_MIN_MODSEQ, e->min_modseq);
    cq_put_le64(at + AT_INCARNATION, e->incarnation);
    cq_put_le32(at + AT_BODY_LENGTH, (uint32_t)e->body.len);
    cq_put_le32(at + AT_RESERVED2, 0);
}

enum cq_rc entry_encode(const struct entry *e, struct cq_buf *out, struct cq_err *err)
{
    enum cq_rc rc = check_chunks(e->chunks, e->chunk_count, err);
    if (rc != CQ_OK)
        return rc;
    size_t fixed = ENTRY_HEAD + e->chunk_count * ENTRY_CHUNK_REF + ENTRY_TAIL;
    if (e->body.len > ENTRY_MAX - fixed)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "entry with a body of %zu bytes", e->body.len);
    size_t size = fixed + e->body.len;
    uint8_t *at = cq_buf_reserve(out, size);
    if (!at)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "no room for an entry of %zu bytes", size);
    put_head(at, e);
    uint8_t *to = at + ENTRY_HEAD;
    for (size_t i = 0; i < e->chunk_count; i++, to += ENTRY_CHUNK_REF) {
        cq_put_le32(to, e->chunks[i].length);
        cq_put_le64(to + 4, e->chunks[i].hash.low);
        cq_put_le64(to + 12, e->chunks[i].hash.high);
    }
    if (e->body.len)
        memcpy(to, e->body.data, e->body.len);
    cq_put_le64(at + size - ENTRY_TAIL, cq_xxh3_64(cq_slice_of(at, size - ENTRY_TAIL)));
    cq_buf_commit(out, size);
    return CQ_OK;
}

static void get_head(const uint8_t *at, struct entry *e)
{
    *e = (struct entry){
        .version = cq_get_le16(at + AT_VERSION),
        .method = cq_get_le16(at + AT_METHOD),
        .account = cq_get_le64(at + AT_ACCOUNT),
        .time = cq_get_le64(at + AT_TIME),
        .sequence = cq_get_le64(at + AT_SEQUENCE),
        .done = cq_get_le64(at + AT_DONE),
        .stamp = cq_get_le64(at + AT_STAMP),
        .min_modseq = cq_get_le64(at + AT_MIN_MODSEQ),
        .incarnation = cq_get_le64(at + AT_INCARNATION),
        .chunk_count = cq_get_le16(at + AT_CHUNKS),
    };
    memcpy(e->client, at + AT_CLIENT, sizeof e->client);
}

static enum cq_rc get_chunks(struct cq_slice rows, struct cq_pool *pool, struct entry *e, struct cq_err *err)
{
    struct entry_chunk *chunks = cq_pool_calloc(pool, e->chunk_count, sizeof *chunks);
    for (size_t i = 0; i < e->chunk_count; i++) {
        const uint8_t *row = rows.data + i * ENTRY_CHUNK_REF;
        chunks[i].length = cq_get_le32(row);
        chunks[i].hash = (struct cq_hash128){cq_get_le64(row + 4), cq_get_le64(row + 12)};
    }
    e->chunks = chunks;
    return check_chunks(chunks, e->chunk_count, err) == CQ_OK ? CQ_OK : CQ_E_CORRUPT;
}

enum cq_rc entry_decode(struct cq_slice bytes, struct cq_pool *pool, struct entry *e, struct cq_err *err)
{
    if (bytes.len < 1)
        return CQ_FAIL(err, CQ_E_CORRUPT, "empty entry");
    if (bytes.data[AT_FORMAT] != ENTRY_FORMAT)
        return CQ_FAIL(err, CQ_E_VERSION, "entry format %u", bytes.data[AT_FORMAT]);
    if (bytes.len < ENTRY_HEAD + ENTRY_TAIL || bytes.len > ENTRY_MAX)
        return CQ_FAIL(err, CQ_E_CORRUPT, "entry of %zu bytes", bytes.len);
    struct cq_slice signed_part = cq_slice_sub(bytes, 0, bytes.len - ENTRY_TAIL);
    if (cq_xxh3_64(signed_part) != cq_get_le64(bytes.data + signed_part.len))
        return CQ_FAIL(err, CQ_E_CORRUPT, "entry's checksum is wrong");
    get_head(bytes.data, e);
    size_t body = cq_get_le32(bytes.data + AT_BODY_LENGTH), rows = e->chunk_count * ENTRY_CHUNK_REF;
    if (bytes.data[AT_RESERVED] || cq_get_le32(bytes.data + AT_RESERVED2) ||
        signed_part.len != ENTRY_HEAD + rows + body)
        return CQ_FAIL(err, CQ_E_CORRUPT, "entry's lengths do not add up");
    e->body = cq_slice_of(bytes.data + ENTRY_HEAD + rows, body);
    return get_chunks(cq_slice_sub(bytes, ENTRY_HEAD, rows), pool, e, err);
}

void chunk_key(const struct chunk_id *id, uint8_t key_r[static CHUNK_KEY_SIZE])
{
    cq_put_be64(key_r, id->incarnation);
    cq_put_be64(key_r + 8, id->term);
    cq_put_be64(key_r + 16, id->index);
    cq_put_be32(key_r + 24, id->ordinal);
}

bool chunk_key_parse(struct cq_slice key, struct chunk_id *id_r)
{
    if (key.len != CHUNK_KEY_SIZE)
        return false;
    *id_r = (struct chunk_id){cq_get_be64(key.data), cq_get_be64(key.data + 8), cq_get_be64(key.data + 16),
                              cq_get_be32(key.data + 24)};
    return true;
}
