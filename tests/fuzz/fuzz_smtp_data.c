/* The decoder gives the same octets and the same verdict however its input is split. The first octet is the split. */
#include "smtp/smtp_data.h"

#include "base/cq_assert.h"
#include "base/cq_buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct cq_slice in, size_t step, struct cq_buf *out, struct smtp_data *d)
{
    size_t taken = 0, given = 0;
    smtp_data_init(d);
    while (given < in.len && !d->done) {
        given = in.len - given < step ? in.len : given + step;
        for (;;) {
            size_t used;
            struct cq_slice piece;
            enum cq_rc rc = smtp_data_next(d, cq_slice_sub(in, taken, given - taken), &used, &piece);
            CQ_ASSERT(used <= given - taken && piece.len <= used);
            cq_buf_slice_add(out, piece);
            taken += used;
            if (rc != CQ_OK)
                break;
        }
        CQ_ASSERT(d->done || given - taken <= 3);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct cq_slice in = cq_slice_of(data + 1, size - 1);
    struct cq_buf whole, split;
    struct smtp_data a, b;
    cq_buf_init(&whole, size);
    cq_buf_init(&split, size);
    decode(in, SIZE_MAX / 2, &whole, &a);
    decode(in, (size_t)data[0] % 7 + 1, &split, &b);
    CQ_ASSERT(cq_slice_eq(cq_buf_slice(&whole), cq_buf_slice(&split)));
    CQ_ASSERT(a.done == b.done);
    CQ_ASSERT(!a.done || a.bare == b.bare);
    cq_buf_fini(&whole);
    cq_buf_fini(&split);
    return 0;
}
