#include "mailstore/fetch_record.h"

#include "base/cq_endian.h"

bool fetch_record_encode(const struct fetch_record *r, struct cq_buf *out)
{
    uint8_t *at = cq_buf_reserve(out, FETCH_RECORD_HEAD + r->keywords.len + r->summary.len);
    if (!at)
        return false;
    cq_put_le32(at, r->uid);
    cq_put_le32(at + 4, r->size);
    cq_put_le64(at + 8, r->modseq);
    cq_put_le64(at + 16, (uint64_t)r->internal_date);
    cq_put_le64(at + 24, (uint64_t)r->save_date);
    cq_put_le64(at + 32, r->email);
    cq_put_le64(at + 40, r->thread);
    at[48] = r->flags;
    at[49] = (uint8_t)r->keywords.len;
    cq_put_le16(at + 50, 0);
    cq_put_le32(at + 52, (uint32_t)r->summary.len);
    cq_buf_commit(out, FETCH_RECORD_HEAD);
    cq_buf_slice_add(out, r->keywords);
    return cq_buf_slice_add(out, r->summary);
}

enum cq_rc fetch_record_next(struct cq_slice *bytes, struct fetch_record *r)
{
    if (bytes->len == 0)
        return CQ_E_EOF;
    if (bytes->len < FETCH_RECORD_HEAD)
        return CQ_E_CORRUPT;
    const uint8_t *at = bytes->data;
    size_t keywords = at[49], summary = cq_get_le32(at + 52), rest = bytes->len - FETCH_RECORD_HEAD;
    if (keywords > FETCH_RECORD_KEYWORDS_MAX / 8 || keywords > rest || summary > rest - keywords)
        return CQ_E_CORRUPT;
    *r = (struct fetch_record){
        .uid = cq_get_le32(at),
        .size = cq_get_le32(at + 4),
        .modseq = cq_get_le64(at + 8),
        .internal_date = (int64_t)cq_get_le64(at + 16),
        .save_date = (int64_t)cq_get_le64(at + 24),
        .email = cq_get_le64(at + 32),
        .thread = cq_get_le64(at + 40),
        .flags = at[48],
        .keywords = cq_slice_of(at + FETCH_RECORD_HEAD, keywords),
        .summary = cq_slice_of(at + FETCH_RECORD_HEAD + keywords, summary),
    };
    *bytes = cq_slice_skip(*bytes, FETCH_RECORD_HEAD + keywords + summary);
    return CQ_OK;
}
