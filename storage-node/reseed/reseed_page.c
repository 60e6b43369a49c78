#include "reseed/reseed_page.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"

#define ROW_HEAD 7 /* kind u8, key length u16, value length u32, little-endian */

void reseed_row_put(struct cq_buf *page, const struct reseed_row *row)
{
    CQ_ASSERT(row->key.len <= RESEED_KEY_MAX && row->value.len <= RESEED_VALUE_MAX);
    uint8_t head[ROW_HEAD] = {(uint8_t)row->kind};
    cq_put_le16(head + 1, (uint16_t)row->key.len);
    cq_put_le32(head + 3, (uint32_t)row->value.len);
    cq_buf_add(page, head, sizeof head);
    cq_buf_slice_add(page, row->key);
    cq_buf_slice_add(page, row->value);
}

enum cq_rc reseed_row_next(struct cq_slice *left, struct reseed_row *row_r, struct cq_err *err)
{
    if (left->len == 0)
        return CQ_E_EOF;
    if (left->len < ROW_HEAD)
        return CQ_FAIL(err, CQ_E_PROTO, "a page ends inside a row");
    size_t key = cq_get_le16(left->data + 1), value = cq_get_le32(left->data + 3);
    uint8_t kind = left->data[0];
    if (kind < RESEED_CHUNK || kind > RESEED_NAME_RECORD || key > RESEED_KEY_MAX || value > RESEED_VALUE_MAX)
        return CQ_FAIL(err, CQ_E_PROTO, "a row of kind %u, key of %zu and value of %zu bytes", kind, key, value);
    if (left->len - ROW_HEAD < key + value)
        return CQ_FAIL(err, CQ_E_PROTO, "a page ends inside a row");
    *row_r = (struct reseed_row){.kind = (enum reseed_row_kind)kind,
                                 .key = cq_slice_sub(*left, ROW_HEAD, key),
                                 .value = cq_slice_sub(*left, ROW_HEAD + key, value)};
    *left = cq_slice_skip(*left, ROW_HEAD + key + value);
    return CQ_OK;
}

void reseed_hash_put(struct cq_hash128 hash, uint8_t out[static 16])
{
    cq_put_le64(out, hash.low);
    cq_put_le64(out + 8, hash.high);
}

struct cq_hash128 reseed_hash_get(const uint8_t in[static 16])
{
    return (struct cq_hash128){cq_get_le64(in), cq_get_le64(in + 8)};
}

enum cq_rc reseed_cursor_set(struct reseed_cursor *cursor, struct cq_slice bytes, struct cq_err *err)
{
    if (bytes.len > sizeof cursor->at)
        return CQ_FAIL(err, CQ_E_PROTO, "a cursor of %zu bytes", bytes.len);
    cursor->len = bytes.len;
    if (bytes.len)
        memcpy(cursor->at, bytes.data, bytes.len);
    return CQ_OK;
}

void reseed_cursor_after(struct reseed_cursor *cursor, struct cq_slice key)
{
    CQ_ASSERT(key.len < sizeof cursor->at);
    memcpy(cursor->at, key.data, key.len);
    cursor->at[key.len] = 0;
    cursor->len = key.len + 1;
}
