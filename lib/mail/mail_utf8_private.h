/* UTF-8, one character at a time (RFC 3629: shortest form, no surrogates, up to U+10FFFF). */
#ifndef MAIL_UTF8_PRIVATE_H
#define MAIL_UTF8_PRIVATE_H

#include "base/cq_slice.h"

#define MAIL_UTF8_BAD UINT32_MAX
#define MAIL_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Octets of the character at the start of s (s.len > 0), *cp_r its code point. Not valid: 1 and MAIL_UTF8_BAD.
 * Valid so far but unfinished at the end of s: 0. */
static inline size_t mail_utf8_take(struct cq_slice s, uint32_t *cp_r)
{
    static const uint32_t LEAST[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *p = s.data;
    if (p[0] < 0x80) {
        *cp_r = p[0];
        return 1;
    }
    *cp_r = MAIL_UTF8_BAD;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 1;
    uint32_t cp = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (i == s.len)
            return 0;
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        cp = cp << 6 | (p[i] & 0x3f);
        if (i == 1 && ((n == 3 && (cp < 0x20 || (cp >= 0x360 && cp < 0x380))) || (n == 4 && (cp < 0x10 || cp > 0x10f))))
            return 1; /* overlong, surrogate or too large: known from the second octet */
    }
    if (cp < LEAST[n])
        return 1;
    *cp_r = cp;
    return n;
}

/* Writes the character, 1 to 4 octets; returns how many. */
static inline size_t mail_utf8_put(uint32_t cp, uint8_t to[static 4])
{
    if (cp < 0x80) {
        to[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        to[0] = (uint8_t)(0xc0 | cp >> 6);
        to[1] = (uint8_t)(0x80 | (cp & 63));
        return 2;
    }
    if (cp < 0x10000) {
        to[0] = (uint8_t)(0xe0 | cp >> 12);
        to[1] = (uint8_t)(0x80 | (cp >> 6 & 63));
        to[2] = (uint8_t)(0x80 | (cp & 63));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | cp >> 18);
    to[1] = (uint8_t)(0x80 | (cp >> 12 & 63));
    to[2] = (uint8_t)(0x80 | (cp >> 6 & 63));
    to[3] = (uint8_t)(0x80 | (cp & 63));
    return 4;
}

#endif
