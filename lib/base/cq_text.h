/* Text from outside made safe to show: UTF-8 one code point at a time, and escaping for JSON and for terminals. */
#ifndef CQ_TEXT_H
#define CQ_TEXT_H

#include "base/cq_buf.h"

#define CQ_UTF8_BAD UINT32_MAX

/* Decodes the first code point of s (s.len > 0). *len_r: its bytes, 1..4. CQ_UTF8_BAD with *len_r = 1 when the bytes
 * are not UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF) or end too early. */
uint32_t cq_utf8_next(struct cq_slice s, size_t *len_r);

bool cq_utf8_valid(struct cq_slice s);

/* May this code point be shown as it is? Not: C0, C1, DEL, line separators, and marks that reorder text (bidi). */
bool cq_text_printable(uint32_t code);

/* Appends s as the inside of a JSON string (RFC 8259 section 7), always valid UTF-8: what is not printable becomes
 * \uXXXX, bytes that are not UTF-8 become U+FFFD. */
bool cq_json_escape(struct cq_buf *out, struct cq_slice s);

/* The same with the quotes around it. */
bool cq_json_string(struct cq_buf *out, struct cq_slice s);

#endif
