/* cmocka with the headers that it wants before it. */
#ifndef CQ_CMOCKA_H
#define CQ_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define assert_slice(slice, text)                                                                                      \
    do {                                                                                                               \
        struct cq_slice got_ = (slice);                                                                                \
        assert_int_equal(got_.len, strlen(text));                                                                      \
        assert_memory_equal(got_.data ? got_.data : (const uint8_t *)"", (text), got_.len);                            \
    } while (0)

#endif
