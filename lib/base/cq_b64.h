/* Base64 for protocols (SASL, keys): strict. Padding is required in the standard alphabet and must be absent in the URL
 * alphabet; no line breaks, no other bytes, and unused bits are zero, so that one value has one text (RFC 4648 sections
 * 3.2, 3.5, 4, 5). The lenient decoder for message bodies is lib/mail's. */
#ifndef CQ_B64_H
#define CQ_B64_H

#include "base/cq_buf.h"

enum cq_b64_alphabet { CQ_B64_STD, CQ_B64_URL };

bool cq_b64_encode(struct cq_buf *out, struct cq_slice bytes, enum cq_b64_alphabet alphabet);

/* Appends to out; false (out is as before, except that `overflow` may be set) when the text is not strict base64 or
 * the result passes out's maximum. The empty text is zero bytes. Not constant in time. */
bool cq_b64_decode(struct cq_buf *out, struct cq_slice text, enum cq_b64_alphabet alphabet);

#endif
