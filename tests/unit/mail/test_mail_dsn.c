#include "mail/mail_build.h"
#include "mail/mail_dsn.h"
#include "mail/mail_header.h"

#include "unit/mail/mail_test.h"

static const uint8_t RANDOM[16] = {1, 2, 3};
static const struct mail_time NOW = {880127706, 0};

static void write_dsn(struct cq_slice recipient, struct cq_slice diagnostic, bool full, struct cq_buf *out)
{
    const struct mail_dsn_recipient recipients[] = {
        {.recipient = recipient,
         .original_recipient = CQ_SLICE("rfc822;alias@example.test"),
         .action = MAIL_DSN_FAILED,
         .status = CQ_SLICE("5.1.1"),
         .diagnostic = diagnostic,
         .remote_mta = CQ_SLICE("mx.remote.test"),
         .last_attempt = NOW},
        {.recipient = CQ_SLICE("b@y.test"),
         .action = MAIL_DSN_DELAYED,
         .status = CQ_SLICE("4.4.1"),
         .will_retry_until = NOW},
    };
    const struct mail_dsn dsn = {.reporting_mta = CQ_SLICE("mx.test"),
                                 .from = CQ_SLICE("postmaster@example.test"),
                                 .to = CQ_SLICE("joe@example.test"),
                                 .envelope_id = CQ_SLICE("env1"),
                                 .arrival = NOW,
                                 .now = NOW,
                                 .random = RANDOM,
                                 .recipients = recipients,
                                 .recipient_count = 2,
                                 .original = CQ_SLICE("Subject: old\r\nTo: x\r\n\r\nold body\r\n"),
                                 .return_full = full};
    mail_dsn_write(&dsn, out);
}

static void a_report_has_three_parts_that_its_own_parser_finds(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        struct cq_buf out;
        cq_buf_init(&out, 100000);
        write_dsn(CQ_SLICE("a@x.test"), CQ_SLICE("550 5.1.1 no such user"), full, &out);
        struct mail_index *ix = mail_index_new(NULL, NULL);
        mail_index_feed(ix, cq_buf_slice(&out));
        mail_index_finish(ix);
        assert_int_equal(mail_index_parts(ix), full ? 5 : 4);
        assert_slice(mail_index_part(ix, 0)->subtype, "report");
        assert_slice(mail_index_part(ix, 1)->subtype, "plain");
        assert_slice(mail_index_part(ix, 2)->subtype, "delivery-status");
        assert_slice(mail_index_part(ix, 3)->subtype, full ? "rfc822" : "rfc822-headers");
        const struct mail_part *report = mail_index_part(ix, 2), *last = mail_index_part(ix, 3);
        struct cq_slice body = cq_slice_sub(cq_buf_slice(&out), report->body_off, report->end_off - report->body_off);
        const char *want = "Reporting-MTA: dns; mx.test\r\nOriginal-Envelope-Id: env1\r\n"
                           "Arrival-Date: Fri, 21 Nov 1997 15:55:06 +0000\r\n\r\n"
                           "Original-Recipient: rfc822;alias@example.test\r\nFinal-Recipient: rfc822; a@x.test\r\n"
                           "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.remote.test\r\n"
                           "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
                           "Last-Attempt-Date: Fri, 21 Nov 1997 15:55:06 +0000\r\n\r\n"
                           "Final-Recipient: rfc822; b@y.test\r\nAction: delayed\r\nStatus: 4.4.1\r\n"
                           "Will-Retry-Until: Fri, 21 Nov 1997 15:55:06 +0000\r\n";
        assert_slice(body, want);
        body = cq_slice_sub(cq_buf_slice(&out), last->body_off, last->end_off - last->body_off);
        assert_slice(body, full ? "Subject: old\r\nTo: x\r\n\r\nold body\r\n" : "Subject: old\r\nTo: x\r\n\r\n");
        mail_index_free(&ix);
        cq_buf_fini(&out);
    }
}

static void a_remote_server_cannot_write_into_the_report(void **state)
{
    (void)state;
    struct cq_buf out, bad;
    cq_buf_init(&out, 100000);
    cq_buf_init(&bad, 100000);
    cq_buf_cstr(&bad, "550 x\r\nStatus: 2.0.0\r\n\r\n--dsn-01020300000000000000000000000000--\r\n");
    while (bad.len < 50000)
        cq_buf_cstr(&bad, "flood ");
    write_dsn(CQ_SLICE("a@x.test\r\nX: y"), cq_buf_slice(&bad), false, &out);
    assert_null(memmem(out.data, out.len, "\nStatus: 2", 10));
    assert_null(memmem(out.data, out.len, "\nX: y", 5));
    assert_true(out.len < 10000);
    struct mail_index *ix = mail_index_new(NULL, NULL);
    mail_index_feed(ix, cq_buf_slice(&out));
    mail_index_finish(ix);
    assert_int_equal(mail_index_parts(ix), 4);
    mail_index_free(&ix);
    cq_buf_fini(&out);
    cq_buf_fini(&bad);
}

static void an_international_address_makes_a_global_report(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 100000);
    write_dsn(CQ_SLICE("j\xc3\xb6@x.test"), CQ_SLICE(""), false, &out);
    assert_non_null(strstr(text_of(&out), "report-type=global-delivery-status"));
    assert_non_null(strstr(text_of(&out), "Content-Type: message/global-delivery-status"));
    assert_non_null(strstr(text_of(&out), "Final-Recipient: utf-8; j\xc3\xb6@x.test"));
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_has_three_parts_that_its_own_parser_finds),
        cmocka_unit_test(a_remote_server_cannot_write_into_the_report),
        cmocka_unit_test(an_international_address_makes_a_global_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
