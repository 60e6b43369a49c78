#include "raft_log_format.h"

#include "base/cq_endian.h"
#include "base/cq_hash.h"

void raft_key(uint32_t group, uint64_t replica, enum raft_record_kind kind, uint8_t key_r[static RAFT_KEY_SIZE])
{
    cq_put_be32(key_r, group);
    cq_put_be64(key_r + 4, replica);
    key_r[12] = (uint8_t)kind;
}

void raft_entry_key(uint32_t group, uint64_t replica, uint64_t index, uint8_t key_r[static RAFT_ENTRY_KEY_SIZE])
{
    raft_key(group, replica, RAFT_RECORD_ENTRY, key_r);
    cq_put_be64(key_r + RAFT_KEY_SIZE, index);
}

uint64_t raft_entry_key_index(struct cq_slice key)
{
    if (key.len != RAFT_ENTRY_KEY_SIZE || key.data[12] != RAFT_RECORD_ENTRY)
        return 0;
    return cq_get_be64(key.data + RAFT_KEY_SIZE);
}

enum {
    AT_FORMAT = 0,
    AT_KIND = 1,
    AT_RESERVED = 2,
    AT_CHUNKS = 4,
    AT_TERM = 8,
    AT_BODY_BYTES = 16,
    AT_CHECKSUM = 24,
};

/* Over the key too: a record that is found under another key is as wrong as one with a flipped bit. */
static uint64_t record_checksum(struct cq_slice key, const uint8_t *head, struct cq_slice payload)
{
    uint64_t seed = cq_xxh3_64_seed(cq_slice_of(head, AT_CHECKSUM), cq_xxh3_64(key));
    return cq_xxh3_64_seed(payload, seed);
}

void raft_record_head(struct cq_slice key, const struct raft_record *record, uint8_t head_r[static RAFT_RECORD_HEAD])
{
    head_r[AT_FORMAT] = RAFT_LOG_FORMAT;
    head_r[AT_KIND] = record->kind;
    cq_put_be16(head_r + AT_RESERVED, 0);
    cq_put_be32(head_r + AT_CHUNKS, record->chunk_count);
    cq_put_be64(head_r + AT_TERM, record->term);
    cq_put_be64(head_r + AT_BODY_BYTES, record->body_bytes);
    cq_put_be64(head_r + AT_CHECKSUM, record_checksum(key, head_r, record->payload));
}

enum cq_rc raft_record_parse(struct cq_slice key, struct cq_slice value, struct raft_record *record_r,
                             struct cq_err *err)
{
    if (value.len < RAFT_RECORD_HEAD)
        return CQ_FAIL(err, CQ_E_CORRUPT, "log record of %zu bytes", value.len);
    if (value.data[AT_FORMAT] != RAFT_LOG_FORMAT)
        return CQ_FAIL(err, CQ_E_VERSION, "log record of format %u", value.data[AT_FORMAT]);
    struct cq_slice payload = cq_slice_skip(value, RAFT_RECORD_HEAD);
    if (cq_get_be64(value.data + AT_CHECKSUM) != record_checksum(key, value.data, payload))
        return CQ_FAIL(err, CQ_E_CORRUPT, "log record's checksum is wrong");
    *record_r = (struct raft_record){
        .kind = value.data[AT_KIND],
        .chunk_count = cq_get_be32(value.data + AT_CHUNKS),
        .term = cq_get_be64(value.data + AT_TERM),
        .body_bytes = cq_get_be64(value.data + AT_BODY_BYTES),
        .payload = payload,
    };
    return CQ_OK;
}
