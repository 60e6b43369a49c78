/* Dates: what is read and written is read again as the same moment. */
#include "mail/mail_date.h"

#include "base/cq_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_slice in = cq_slice_of(data, size);
    struct mail_time time, again;
    struct cq_buf out;
    int32_t day;
    cq_buf_init(&out, 100);
    if (mail_date_parse(in, &time)) {
        CQ_ASSERT(time.zone_min > -1440 && time.zone_min < 1440);
        mail_date_write(time, &out);
        CQ_ASSERT(mail_date_parse(cq_buf_slice(&out), &again));
        CQ_ASSERT(again.utc_s == time.utc_s && again.zone_min == time.zone_min);
        cq_buf_reset(&out, 100);
        mail_imap_date_time_write(time, &out);
        CQ_ASSERT(out.len == 26 && mail_imap_date_time_parse(cq_buf_slice(&out), &again));
        CQ_ASSERT(again.utc_s == time.utc_s && again.zone_min == time.zone_min);
    }
    if (mail_imap_date_time_parse(in, &time)) {
        cq_buf_reset(&out, 100);
        mail_imap_date_time_write(time, &out);
        CQ_ASSERT(mail_imap_date_time_parse(cq_buf_slice(&out), &again) && again.utc_s == time.utc_s);
    }
    mail_imap_date_parse(in, &day);
    cq_buf_fini(&out);
    return 0;
}
