/* The PROXY header: any bytes. What is accepted is inside the input, and no shorter prefix is judged differently. */
#include "io/io_proxy.h"

#include "base/cq_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct io_proxy whole, part;
    struct cq_slice all = cq_slice_of(data, size);
    enum cq_rc rc = io_proxy_parse(all, &whole, NULL);
    if (rc == CQ_OK) {
        CQ_ASSERT(whole.header_len <= size && whole.header_len <= IO_PROXY_HEADER_MAX);
        CQ_ASSERT(whole.local == (whole.source.family == IO_UNSPEC));
        CQ_ASSERT(whole.local || whole.source.family != IO_UNSPEC);
    }
    for (size_t n = 0; n < size && n < 64; n++) {
        enum cq_rc early = io_proxy_parse(cq_slice_sub(all, 0, n), &part, NULL);
        if (early != CQ_E_AGAIN)
            CQ_ASSERT(early == rc);
    }
    return 0;
}
