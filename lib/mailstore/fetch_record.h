/* One message as FETCH and CHANGES carry it: little-endian bytes after the protobuf message, one record
 * after the other, so that a hundred thousand of them cost no allocation (docs/formats/fetch-record.md).
 *
 *   0  u32 uid              4  u32 size (octets of the message)
 *   8  u64 modseq          16  i64 internal date (s)     24  i64 save date (s)
 *  32  u64 email id        40  u64 thread id
 *  48  u8 system flags     49  u8 length of the keyword bitmap     50  u16 reserved, 0
 *  52  u32 length of the summary, 0 when it was not asked for
 *  56  keyword bitmap (bit i of byte i/8: keyword i of the mailbox's table), then the summary */
#ifndef FETCH_RECORD_H
#define FETCH_RECORD_H

#include "base/cq_buf.h"

#define FETCH_RECORD_HEAD 56
#define FETCH_RECORD_KEYWORDS_MAX 256 /* keywords of a mailbox: the bitmap has at most 32 bytes */

struct fetch_record {
    uint32_t uid;
    uint32_t size;
    uint64_t modseq;
    int64_t internal_date;
    int64_t save_date;
    uint64_t email;
    uint64_t thread;
    uint8_t flags;            /* enum SystemFlag of proto/mail.proto */
    struct cq_slice keywords; /* bitmap; borrowed from the bytes that were decoded */
    struct cq_slice summary;  /* likewise */
};

bool fetch_record_encode(const struct fetch_record *record, struct cq_buf *out);

/* Takes the first record off *bytes. CQ_E_EOF when they are empty, CQ_E_CORRUPT when they are cut short or wrong. */
enum cq_rc fetch_record_next(struct cq_slice *bytes, struct fetch_record *record_r);

static inline bool fetch_record_has_keyword(const struct fetch_record *record, unsigned index)
{
    return index / 8 < record->keywords.len && (record->keywords.data[index / 8] >> (index % 8) & 1);
}

#endif
