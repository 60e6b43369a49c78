/* Header text: encoded words, parameters, subjects, message ids; what comes out is UTF-8, what is written decodes. */
#include "mail/mail_msgid.h"
#include "mail/mail_param.h"
#include "mail/mail_subject.h"
#include "mail/mail_word.h"

#include "base/cq_assert.h"

static void words(struct cq_slice in)
{
    struct cq_buf text, encoded, again, subject;
    cq_buf_init(&text, 64 * in.len + 100);
    cq_buf_init(&encoded, 1000 * in.len + 1000);
    cq_buf_init(&again, 1000 * in.len + 1000);
    cq_buf_init(&subject, MAIL_SUBJECT_MAX);
    mail_word_decode(in, &text);
    CQ_ASSERT(cq_buf_ok(&text) && mail_is_utf8(cq_buf_slice(&text)));
    mail_word_encode(cq_buf_slice(&text), &encoded);
    CQ_ASSERT(mail_is_ascii(cq_buf_slice(&encoded)));
    mail_word_decode(cq_buf_slice(&encoded), &again);
    if (encoded.len > 2 && encoded.data[0] == '=' && encoded.data[1] == '?')
        CQ_ASSERT(cq_slice_eq(cq_buf_slice(&again), cq_buf_slice(&text)));
    mail_base_subject(cq_buf_slice(&text), &subject);
    CQ_ASSERT(cq_buf_ok(&subject) && mail_is_utf8(cq_buf_slice(&subject)));
    cq_buf_fini(&text);
    cq_buf_fini(&encoded);
    cq_buf_fini(&again);
    cq_buf_fini(&subject);
}

static void parameters(struct cq_slice in)
{
    struct cq_pool *pool = cq_pool_new(1000);
    struct mail_params params;
    struct cq_buf out;
    struct cq_slice raw;
    uint32_t count;
    cq_buf_init(&out, 64 * in.len + 1000);
    mail_params_parse(in, true, 100, pool, &params);
    CQ_ASSERT(params.count <= 100);
    mail_params_join(&params, pool, &count);
    CQ_ASSERT(count <= params.count);
    for (uint32_t i = 0; i < params.count; i++) {
        cq_buf_reset(&out, SIZE_MAX);
        mail_params_get(&params, params.list[i].base, &out);
        CQ_ASSERT(cq_buf_ok(&out) && mail_is_utf8(cq_buf_slice(&out)));
        mail_params_raw(&params, params.list[i].base, pool, &raw);
    }
    cq_buf_fini(&out);
    cq_pool_free(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_slice in = cq_slice_of(data, size), rest = in, id;
    struct cq_buf out;
    words(in);
    parameters(in);
    cq_buf_init(&out, size + 1);
    while (mail_msgid_next(&rest, &id))
        mail_msgid_write(id, &out);
    CQ_ASSERT(cq_buf_ok(&out));
    cq_buf_fini(&out);
    return 0;
}
