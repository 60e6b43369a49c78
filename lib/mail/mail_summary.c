#include "mail/mail_summary.h"

#include "mail_summary_private.h"

#include "base/cq_endian.h"

#include <xxhash.h>

/* LEB128; false when it does not end within the slice or in 64 bits. */
static bool take_varint(struct cq_slice *s, uint64_t *value_r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; s->len; shift += 7) {
        uint8_t c = s->data[0];
        *s = cq_slice_skip(*s, 1);
        if (shift > 63 || (shift == 63 && c > 1))
            return false;
        value |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *value_r = value;
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct cq_slice *s, uint64_t len, struct cq_slice *bytes_r)
{
    if (len > s->len)
        return false;
    *bytes_r = cq_slice_sub(*s, 0, (size_t)len);
    *s = cq_slice_skip(*s, (size_t)len);
    return true;
}

static enum cq_rc take_data(struct cq_slice encoded, struct cq_slice *data[SUMMARY_DATA_COUNT], struct cq_err *err)
{
    struct cq_slice rest = cq_slice_skip(encoded, SUMMARY_HEAD);
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++) {
        uint32_t len = cq_get_le32(encoded.data + SUMMARY_AT_LENGTHS + 4 * i);
        if (!take_bytes(&rest, len, data[i]))
            return CQ_FAIL(err, CQ_E_CORRUPT, "summary: field %u of %u octets, %zu are left", i, len, rest.len);
    }
    if (rest.len)
        return CQ_FAIL(err, CQ_E_CORRUPT, "summary: %zu octets too many", rest.len);
    return CQ_OK;
}

enum cq_rc mail_summary_open(struct cq_slice encoded, struct mail_summary *s, struct cq_err *err)
{
    const uint8_t *at = encoded.data;
    if (encoded.len >= 1 && at[SUMMARY_AT_FORMAT] > MAIL_SUMMARY_FORMAT)
        return CQ_FAIL(err, CQ_E_VERSION, "summary: format %u, this program knows %d", at[0], MAIL_SUMMARY_FORMAT);
    if (encoded.len < SUMMARY_HEAD || encoded.len > MAIL_SUMMARY_MAX || at[SUMMARY_AT_FORMAT] != MAIL_SUMMARY_FORMAT ||
        cq_get_le32(at + SUMMARY_AT_LENGTH) != encoded.len)
        return CQ_FAIL(err, CQ_E_CORRUPT, "summary: no record of %zu octets", encoded.len);
    if (cq_get_le64(at + SUMMARY_AT_CHECKSUM) != XXH3_64bits(at + SUMMARY_AT_SIZE, encoded.len - SUMMARY_AT_SIZE))
        return CQ_FAIL(err, CQ_E_CORRUPT, "summary: checksum");
    *s = (struct mail_summary){
        .renderer = at[SUMMARY_AT_RENDERER],
        .flags = cq_get_le16(at + SUMMARY_AT_FLAGS),
        .size = cq_get_le64(at + SUMMARY_AT_SIZE),
        .header_octets = cq_get_le64(at + SUMMARY_AT_HEADER),
        .sent = {(int64_t)cq_get_le64(at + SUMMARY_AT_SENT), (int16_t)cq_get_le16(at + SUMMARY_AT_ZONE)},
        .part_count = cq_get_le32(at + SUMMARY_AT_PARTS),
    };
    struct cq_slice *data[SUMMARY_DATA_COUNT] = {
#define SUMMARY_SLICE(name) &s->name,
        SUMMARY_DATA(SUMMARY_SLICE)
#undef SUMMARY_SLICE
    };
    enum cq_rc rc = take_data(encoded, data, err);
    if (rc == CQ_OK && (s->header_octets > s->size || s->size > INT64_MAX || s->part_count == 0))
        return CQ_FAIL(err, CQ_E_CORRUPT, "summary: header, size or part count");
    return rc;
}

bool mail_summary_pick(struct cq_slice encoded, uint32_t data, struct cq_buf *out)
{
    struct mail_summary s;
    uint8_t *to = mail_summary_open(encoded, &s, NULL) == CQ_OK ? cq_buf_reserve(out, encoded.len) : NULL;
    if (!to)
        return false;
    size_t at = SUMMARY_HEAD, len = SUMMARY_HEAD;
    memcpy(to, encoded.data, SUMMARY_HEAD);
    for (unsigned i = 0; i < SUMMARY_DATA_COUNT; i++) {
        uint32_t size = cq_get_le32(encoded.data + SUMMARY_AT_LENGTHS + 4 * i);
        bool wanted = data >> i & 1;
        if (wanted)
            memcpy(to + len, encoded.data + at, size);
        else
            cq_put_le32(to + SUMMARY_AT_LENGTHS + 4 * i, 0);
        len += wanted ? size : 0;
        at += size;
    }
    cq_put_le32(to + SUMMARY_AT_LENGTH, (uint32_t)len);
    cq_put_le64(to + SUMMARY_AT_CHECKSUM, XXH3_64bits(to + SUMMARY_AT_SIZE, len - SUMMARY_AT_SIZE));
    cq_buf_commit(out, len);
    return true;
}

struct cq_slice mail_summary_envelope(const struct mail_summary *s, bool utf8)
{
    return utf8 && s->envelope_utf8.len ? s->envelope_utf8 : s->envelope;
}

struct cq_slice mail_summary_bodystructure(const struct mail_summary *s, bool utf8)
{
    return utf8 && s->structure_utf8.len ? s->structure_utf8 : s->structure;
}

void mail_summary_body(const struct mail_summary *s, bool utf8, struct cq_buf *out)
{
    bool other = utf8 && s->structure_utf8.len;
    struct cq_slice text = other ? s->structure_utf8 : s->structure, cuts = other ? s->cuts_utf8 : s->cuts;
    uint64_t keep, skip;
    while (take_varint(&cuts, &keep) && take_varint(&cuts, &skip)) {
        struct cq_slice kept, skipped;
        if (!take_bytes(&text, keep, &kept) || !take_bytes(&text, skip, &skipped))
            break;
        cq_buf_slice_add(out, kept);
    }
    cq_buf_slice_add(out, text);
}

bool mail_summary_reference(struct cq_slice *rest, struct cq_slice *id_r)
{
    uint64_t len;
    if (take_varint(rest, &len) && take_bytes(rest, len, id_r))
        return true;
    *rest = CQ_SLICE_NONE;
    return false;
}

void mail_summary_parts_init(struct mail_summary_parts *iter, const struct mail_summary *s)
{
    *iter = (struct mail_summary_parts){.rest = s->parts, .size = s->size, .count = s->part_count};
}

static bool add_within(uint64_t base, uint64_t more, uint64_t max, uint64_t *sum_r)
{
    return !__builtin_add_overflow(base, more, sum_r) && *sum_r <= max;
}

static bool take_part(struct mail_summary_parts *iter, struct mail_summary_part *part)
{
    struct cq_slice head, *rest = &iter->rest;
    uint64_t depth, header, header_len, body_len, charset_len = 0;
    if (!take_bytes(rest, 1, &head) || !take_varint(rest, &depth) || !take_varint(rest, &header) ||
        !take_varint(rest, &header_len) || !take_varint(rest, &body_len))
        return false;
    *part = (struct mail_summary_part){
        .number = iter->next,
        .depth = (uint16_t)depth,
        .is_message = head.data[0] & SUMMARY_PART_MESSAGE,
        .media = (enum mail_media)(head.data[0] & SUMMARY_PART_MEDIA),
        .encoding = (enum mail_encoding)((head.data[0] & SUMMARY_PART_ENCODING) >> SUMMARY_PART_ENCODING_SHIFT)};
    if (head.data[0] & SUMMARY_PART_CHARSET &&
        (!take_varint(rest, &charset_len) || !take_bytes(rest, charset_len, &part->charset)))
        return false;
    bool first = iter->next == 0;
    return depth <= iter->depth_max && (first || depth > 0) && (!iter->child_due || depth == iter->depth_max) &&
           part->media <= MAIL_MEDIA_MESSAGE && part->encoding <= MAIL_ENCODING_OTHER &&
           charset_len <= SUMMARY_CHARSET_MAX && add_within(iter->off, header, iter->size, &part->header_off) &&
           add_within(part->header_off, header_len, iter->size, &part->body_off) &&
           add_within(part->body_off, body_len, iter->size, &part->end_off);
}

bool mail_summary_parts_next(struct mail_summary_parts *iter, struct mail_summary_part *part_r)
{
    if (iter->corrupt)
        return false;
    if (iter->next == iter->count) {
        iter->corrupt = iter->rest.len > 0 || iter->child_due;
        return false;
    }
    if (!take_part(iter, part_r)) {
        iter->corrupt = true;
        return false;
    }
    iter->next++;
    iter->off = part_r->header_off;
    iter->child_due = part_r->media == MAIL_MEDIA_MULTIPART || part_r->media == MAIL_MEDIA_MESSAGE;
    iter->depth_max = (uint16_t)(part_r->depth + iter->child_due);
    if (iter->depth_max == UINT16_MAX)
        iter->corrupt = true;
    return true;
}
