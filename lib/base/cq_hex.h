/* Hexadecimal, lower case. An account id, a trace id or a digest in text. */
#ifndef CQ_HEX_H
#define CQ_HEX_H

#include "base/cq_buf.h"

#define CQ_HEX64_SIZE 17

/* 16 digits and a NUL. */
void cq_hex_u64(uint64_t value, char out[static CQ_HEX64_SIZE]);

/* Exactly 16 digits, either case. */
bool cq_hex_u64_parse(struct cq_slice text, uint64_t *value_r);

bool cq_hex_add(struct cq_buf *out, struct cq_slice bytes);

/* An even number of digits that give at most `max` bytes into out; *len_r is how many. */
bool cq_hex_decode(struct cq_slice text, uint8_t *out, size_t max, size_t *len_r);

#endif
