/* Command lines; and stuffing gives the same however it is cut, and never a line that is a dot before its end. */
#include "pop3/pop3_command.h"

#include "base/cq_assert.h"
#include "base/cq_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stuff(struct cq_slice in, size_t step, bool limited, struct cq_buf *out)
{
    struct pop3_stuffer stuffer;
    pop3_stuffer_init(&stuffer, limited, 3);
    for (; in.len; in = cq_slice_skip(in, step))
        pop3_stuff(&stuffer, cq_slice_sub(in, 0, step), out);
    pop3_stuff_end(&stuffer, out);
}

static size_t find_end(struct cq_slice s)
{
    for (size_t i = 0; i + 2 < s.len; i++)
        if (memcmp(s.data + i, ".\r\n", 3) == 0 && (i == 0 || s.data[i - 1] == '\n'))
            return i + 3;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_slice in = cq_slice_of(data, size), line, keyword, rest;
    struct cq_buf whole, cut;
    uint32_t number;
    uint64_t lines;
    size_t used;
    cq_buf_init(&whole, 2 * size + 8);
    cq_buf_init(&cut, 2 * size + 8);
    bool limited = size && data[0] & 1;
    stuff(in, SIZE_MAX / 2, limited, &whole);
    stuff(in, size ? (size_t)data[0] % 5 + 1 : 1, limited, &cut);
    CQ_ASSERT(cq_buf_ok(&whole) && cq_slice_eq(cq_buf_slice(&whole), cq_buf_slice(&cut)));
    CQ_ASSERT(find_end(cq_buf_slice(&whole)) == whole.len);
    while (cq_line_take(in, POP3_LINE_MAX, &line, &used) == CQ_OK) {
        pop3_split(line, &keyword, &rest);
        pop3_number(rest, 100, &number);
        pop3_number_and_count(rest, 100, &number, &lines);
        in = cq_slice_skip(in, used);
    }
    cq_buf_fini(&whole);
    cq_buf_fini(&cut);
    return 0;
}
