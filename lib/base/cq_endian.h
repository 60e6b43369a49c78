/* Integers as bytes. Big-endian for keys on disk (they sort as numbers), little-endian for frames. */
#ifndef CQ_ENDIAN_H
#define CQ_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define CQ_ENDIAN_PAIR(bits, order, to, from)                                                                          \
    static inline void cq_put_##order##bits(void *at, uint##bits##_t value)                                            \
    {                                                                                                                  \
        value = to(value);                                                                                             \
        memcpy(at, &value, sizeof value);                                                                              \
    }                                                                                                                  \
    static inline uint##bits##_t cq_get_##order##bits(const void *at)                                                  \
    {                                                                                                                  \
        uint##bits##_t value;                                                                                          \
        memcpy(&value, at, sizeof value);                                                                              \
        return from(value);                                                                                            \
    }

CQ_ENDIAN_PAIR(16, be, htobe16, be16toh)
CQ_ENDIAN_PAIR(32, be, htobe32, be32toh)
CQ_ENDIAN_PAIR(64, be, htobe64, be64toh)
CQ_ENDIAN_PAIR(16, le, htole16, le16toh)
CQ_ENDIAN_PAIR(32, le, htole32, le32toh)
CQ_ENDIAN_PAIR(64, le, htole64, le64toh)

#undef CQ_ENDIAN_PAIR
#endif
