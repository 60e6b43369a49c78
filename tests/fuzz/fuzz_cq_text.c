/* Any bytes: escaped text is valid UTF-8 without quotes or controls; base64 and hex go there and back. */
#include "base/cq_assert.h"
#include "base/cq_b64.h"
#include "base/cq_hex.h"
#include "base/cq_log.h"
#include "base/cq_text.h"

static void check_escape(struct cq_slice in)
{
    struct cq_buf out;
    cq_buf_init(&out, in.len * 12 + 16);
    CQ_ASSERT(cq_json_escape(&out, in));
    CQ_ASSERT(cq_utf8_valid(cq_buf_slice(&out)));
    for (size_t i = 0; i < out.len; i++) {
        CQ_ASSERT(out.data[i] >= 0x20 && out.data[i] != 0x7f);
        if (out.data[i] == '\\')
            i++; /* the escaped character */
        else
            CQ_ASSERT(out.data[i] != '"');
    }
    cq_buf_fini(&out);
}

static void check_base64(struct cq_slice in, enum cq_b64_alphabet alphabet)
{
    struct cq_buf text, back;
    cq_buf_init(&text, in.len * 2 + 16);
    cq_buf_init(&back, in.len * 2 + 16);
    CQ_ASSERT(cq_b64_encode(&text, in, alphabet));
    CQ_ASSERT(cq_b64_decode(&back, cq_buf_slice(&text), alphabet));
    CQ_ASSERT(cq_slice_eq(cq_buf_slice(&back), in));
    cq_buf_reset(&back, SIZE_MAX);
    cq_buf_reset(&text, SIZE_MAX);
    if (cq_b64_decode(&back, in, alphabet)) { /* one value has one text */
        CQ_ASSERT(cq_b64_encode(&text, cq_buf_slice(&back), alphabet));
        CQ_ASSERT(cq_slice_eq(cq_buf_slice(&text), in));
    }
    cq_buf_fini(&text);
    cq_buf_fini(&back);
}

static void check_log_line(struct cq_slice in)
{
    struct cq_buf out;
    cq_buf_init(&out, CQ_LOG_LINE_MAX);
    const struct cq_log_field fields[] = {CQ_F_SLICE("a", in), CQ_F_SLICE("b", in), CQ_F_END};
    for (int format = CQ_LOG_JSON; format <= CQ_LOG_LOGFMT; format++) {
        cq_log_render(&out, (enum cq_log_format)format, 0, &(struct cq_log_options){0}, CQ_INFO, "e", fields);
        CQ_ASSERT(cq_buf_ok(&out) && out.len && cq_slice_find(cq_buf_slice(&out), '\n') == out.len - 1);
        cq_buf_reset(&out, SIZE_MAX);
    }
    cq_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_slice in = cq_slice_of(data, size);
    check_escape(in);
    check_base64(in, CQ_B64_STD);
    check_base64(in, CQ_B64_URL);
    check_log_line(in);
    return 0;
}
