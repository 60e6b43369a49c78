/* "section\nmessage": whatever the section says, the range lies inside the message. */
#include "mail/mail_build.h"
#include "mail/mail_section.h"

#include "base/cq_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_slice message = cq_slice_of(data, size), text = cq_slice_cut(&message, '\n');
    struct cq_pool *pool = cq_pool_new(1000);
    struct cq_buf record, out;
    struct mail_summary s;
    struct mail_section section;
    struct mail_range range;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    cq_buf_init(&out, size + 100);
    mail_summary_of(message, &record);
    CQ_ASSERT(mail_summary_open(cq_buf_slice(&record), &s, NULL) == CQ_OK);
    enum cq_rc rc = mail_section_parse(text, pool, &section, NULL);
    section.partial = size % 2;
    section.offset = size % 7;
    section.length = size % 11;
    if (rc == CQ_OK && mail_section_locate(&s, &section, &range, NULL) == CQ_OK) {
        CQ_ASSERT(range.off <= message.len && range.len <= message.len - range.off);
        if (range.filter)
            mail_section_filter(&section, cq_slice_sub(message, range.off, range.len), &out);
    }
    CQ_ASSERT(cq_buf_ok(&out));
    cq_buf_fini(&record);
    cq_buf_fini(&out);
    cq_pool_free(&pool);
    return 0;
}
