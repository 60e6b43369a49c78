/* What the tests of lib/mail share. */
#ifndef MAIL_TEST_H
#define MAIL_TEST_H

#include "base/cq_buf.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

/* A buffer for one test; its text as a NUL-terminated string (for texts without NULs). */
static inline const char *text_of(struct cq_buf *buf)
{
    cq_buf_byte(buf, 0);
    buf->len--;
    return (const char *)buf->data;
}

#define TEST_BUF_MAX (64u << 20)

/* Prints which row of a table failed: cmocka shows only line numbers. */
#define assert_row_text(row, got, want)                                                                                \
    do {                                                                                                               \
        if (strcmp((got), (want)) != 0)                                                                                \
            fail_msg("row %u:\n   got: %s\n  want: %s", (unsigned)(row), (got), (want));                               \
    } while (0)

#define ROWS(table) (sizeof(table) / sizeof *(table))

#endif
