#include "state/wire.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"

static void put_field(uint8_t *to, const uint8_t *member, uint8_t size)
{
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (size) {
    case 1:
        *to = *member;
        return;
    case 2:
        memcpy(&v16, member, 2);
        cq_put_le16(to, v16);
        return;
    case 4:
        memcpy(&v32, member, 4);
        cq_put_le32(to, v32);
        return;
    default:
        memcpy(&v64, member, 8);
        cq_put_le64(to, v64);
    }
}

static void get_field(uint8_t *member, const uint8_t *from, uint8_t size)
{
    uint16_t v16 = size == 2 ? cq_get_le16(from) : 0;
    uint32_t v32 = size == 4 ? cq_get_le32(from) : 0;
    uint64_t v64 = size == 8 ? cq_get_le64(from) : 0;
    const void *value = size == 1 ? (const void *)from : size == 2 ? (void *)&v16 : size == 4 ? (void *)&v32 : &v64;
    memcpy(member, value, size);
}

size_t wire_size(const struct wire_table *table)
{
    size_t size = 1;
    for (size_t i = 0; i < table->count; i++)
        size += table->fields[i].size;
    return size;
}

void wire_put(const struct wire_table *table, const void *record, struct cq_buf *out)
{
    size_t size = wire_size(table);
    uint8_t *to = cq_buf_reserve(out, size);
    if (!to)
        return;
    *to++ = table->version;
    for (size_t i = 0; i < table->count; to += table->fields[i++].size)
        put_field(to, (const uint8_t *)record + table->fields[i].offset, table->fields[i].size);
    cq_buf_commit(out, size);
}

enum cq_rc wire_get(const struct wire_table *table, struct cq_slice *in, void *record)
{
    if (in->len < 1)
        return CQ_E_CORRUPT;
    if (in->data[0] != table->version)
        return CQ_E_VERSION;
    size_t size = wire_size(table);
    if (in->len < size)
        return CQ_E_CORRUPT;
    const uint8_t *from = in->data + 1;
    for (size_t i = 0; i < table->count; from += table->fields[i++].size)
        get_field((uint8_t *)record + table->fields[i].offset, from, table->fields[i].size);
    *in = cq_slice_skip(*in, size);
    return CQ_OK;
}

static bool take(struct cq_slice *in, size_t len, struct cq_slice *value_r)
{
    if (in->len < len)
        return false;
    *value_r = cq_slice_sub(*in, 0, len);
    *in = cq_slice_skip(*in, len);
    return true;
}

bool wire_string8(struct cq_slice *in, struct cq_slice *value_r)
{
    struct cq_slice head;
    return take(in, 1, &head) && take(in, head.data[0], value_r);
}

bool wire_string16(struct cq_slice *in, struct cq_slice *value_r)
{
    struct cq_slice head;
    return take(in, 2, &head) && take(in, cq_get_le16(head.data), value_r);
}

void wire_put_string8(struct cq_buf *out, struct cq_slice value)
{
    CQ_ASSERT(value.len <= UINT8_MAX);
    cq_buf_byte(out, (uint8_t)value.len);
    cq_buf_slice_add(out, value);
}

void wire_put_string16(struct cq_buf *out, struct cq_slice value)
{
    CQ_ASSERT(value.len <= UINT16_MAX);
    uint8_t head[2];
    cq_put_le16(head, (uint16_t)value.len);
    cq_buf_add(out, head, sizeof head);
    cq_buf_slice_add(out, value);
}
