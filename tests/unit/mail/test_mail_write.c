#include "mail/mail_check.h"
#include "mail/mail_header.h"
#include "mail/mail_write.h"

#include "unit/mail/mail_test.h"

static const struct mail_time NOW = {880127706, -360};

static void a_received_field_says_where_a_message_came_from(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 10000);
    struct mail_received r = {.helo = CQ_SLICE("client.test"),
                              .client_ip = CQ_SLICE("192.0.2.1"),
                              .client_name = CQ_SLICE("host.test"),
                              .by = CQ_SLICE("mx.test"),
                              .with = CQ_SLICE("ESMTPS"),
                              .tls = CQ_SLICE("TLSv1.3 cipher X"),
                              .id = CQ_SLICE("1a2b"),
                              .recipient = CQ_SLICE("b@y"),
                              .date = NOW};
    mail_write_received(&r, &out);
    assert_row_text(
        0, text_of(&out),
        "Received: from client.test (host.test [192.0.2.1])\r\n\tby mx.test with ESMTPS (TLSv1.3 cipher X) id "
        "1a2b\r\n\tfor <b@y>;\r\n\tFri, 21 Nov 1997 09:55:06 -0600\r\n");
    cq_buf_reset(&out, 10000);
    r = (struct mail_received){.by = CQ_SLICE("mx"), .with = CQ_SLICE("LMTP"), .id = CQ_SLICE("1"), .date = NOW};
    mail_write_received(&r, &out);
    assert_row_text(1, text_of(&out), "Received: by mx with LMTP id 1;\r\n\tFri, 21 Nov 1997 09:55:06 -0600\r\n");
    cq_buf_reset(&out, 10000);
    r.client_ip = CQ_SLICE("2001:db8::1");
    mail_write_received(&r, &out);
    assert_non_null(strstr(text_of(&out), "from unknown ([IPv6:2001:db8::1])\r\n"));
    cq_buf_fini(&out);
}

static void no_text_of_a_peer_can_add_a_line_or_end_a_comment(void **state)
{
    (void)state;
    struct cq_buf out;
    struct mail_header_iter iter;
    struct mail_header_field f;
    const struct cq_slice bad = CQ_SLICE("x\r\nX-Evil: 1\r\n\r\n\0)(<>;\\\"\x7f");
    const struct mail_received r = {bad, bad, bad, bad, bad, bad, bad, bad, NOW};
    cq_buf_init(&out, 10000);
    mail_write_received(&r, &out);
    mail_write_return_path(bad, &out);
    mail_write_delivered_to(bad, &out);
    mail_write_field(bad, bad, &out);
    mail_header_iter_init(&iter, cq_buf_slice(&out));
    unsigned fields = 0;
    while (mail_header_next(&iter, &f)) {
        assert_false(cq_slice_caseeq(f.name, CQ_SLICE("X-Evil")));
        fields++;
    }
    assert_int_equal(fields, 4);
    assert_null(memchr(out.data, 0, out.len));
    cq_buf_fini(&out);
}

static void fields_are_folded_at_78_columns(void **state)
{
    (void)state;
    const struct {
        const char *value, *want;
    } cases[] = {
        {"short", "To: short\r\n"},
        {"", "To:\r\n"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c",
         "To: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n c\r\n"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c",
         "To: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c\r\n"},
        {"nowhereeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
         "To: nowhereeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\r\n"},
        {"a  b ", "To: a  b \r\n"},
    };
    for (unsigned i = 0; i < ROWS(cases); i++) {
        struct cq_buf out;
        cq_buf_init(&out, 10000);
        mail_write_field(CQ_SLICE("To"), cq_slice_cstr(cases[i].value), &out);
        assert_row_text(i, text_of(&out), cases[i].want);
        cq_buf_fini(&out);
    }
}

static void the_small_fields(void **state)
{
    (void)state;
    struct cq_buf out;
    const uint8_t random[16] = {0xde, 0xad};
    cq_buf_init(&out, 10000);
    mail_write_return_path(CQ_SLICE(""), &out);
    mail_write_return_path(CQ_SLICE("\"a>b\"@x"), &out);
    mail_write_delivered_to(CQ_SLICE("b@y"), &out);
    mail_write_date(NOW, &out);
    mail_write_message_id(NOW, random, CQ_SLICE("mx.test"), &out);
    assert_row_text(
        0, text_of(&out),
        "Return-Path: <>\r\nReturn-Path: <\"a>b\"@x>\r\nDelivered-To: b@y\r\nDate: Fri, 21 Nov 1997 09:55:06 "
        "-0600\r\nMessage-ID: <3475aeda.dead0000000000000000000000000000@mx.test>\r\n");
    cq_buf_fini(&out);
}

static struct mail_index *index_of(const char *message)
{
    struct mail_index *ix = mail_index_new(NULL, NULL);
    mail_index_feed(ix, cq_slice_cstr(message));
    mail_index_finish(ix);
    return ix;
}

static void a_loop_is_seen(void **state)
{
    (void)state;
    struct mail_index *ix =
        index_of("Received: 1\nDelivered-To: a@x\nReceived: 2\nDelivered-To: <B@Y>\n\nDelivered-To: c@z\n");
    assert_int_equal(mail_index_received(ix), 2);
    assert_true(mail_check_delivered_to(ix, CQ_SLICE("A@x")));
    assert_true(mail_check_delivered_to(ix, CQ_SLICE("b@y")));
    assert_false(mail_check_delivered_to(ix, CQ_SLICE("c@z")));
    assert_false(mail_check_delivered_to(ix, CQ_SLICE("")));
    mail_index_free(&ix);
}

static void the_from_addresses_are_all_seen(void **state)
{
    (void)state;
    const struct {
        const char *message, *want;
        size_t count;
        bool has_from;
    } cases[] = {
        {"From: Joe <joe@x>\n\n", "joe@x;", 1, true},
        {"From: a@x, \"b c\"@y\n\n", "a@x;\"b c\"@y;", 2, true},
        {"From: a@x\nFrom: b@y\n\n", "a@x;b@y;", 2, false},
        {"From: G: a@x, b@y;\n\n", "a@x;b@y;", 2, true},
        {"From: joe\n\n", "joe;", 1, false},
        {"From:\n\n", "", 0, false},
        {"To: a@x\n\n", "", 0, false},
        {"From: a@x, b@x, c@x, d@x\n\n", "a@x;b@x;c@x;", 4, true},
    };
    for (unsigned i = 0; i < ROWS(cases); i++) {
        struct mail_index *ix = index_of(cases[i].message);
        struct cq_pool *pool = cq_pool_new(100);
        struct cq_slice list[3];
        struct cq_buf out;
        cq_buf_init(&out, 1000);
        size_t n = mail_check_addresses(ix, MAIL_FIELD_FROM, pool, list, 3);
        assert_int_equal(n, cases[i].count);
        for (size_t k = 0; k < n && k < 3; k++)
            cq_buf_printf(&out, "%.*s;", CQ_SLICE_ARG(list[k]));
        assert_row_text(i, text_of(&out), cases[i].want);
        assert_int_equal(mail_check_has_from(ix), cases[i].has_from);
        cq_buf_fini(&out);
        cq_pool_free(&pool);
        mail_index_free(&ix);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_received_field_says_where_a_message_came_from),
        cmocka_unit_test(no_text_of_a_peer_can_add_a_line_or_end_a_comment),
        cmocka_unit_test(fields_are_folded_at_78_columns),
        cmocka_unit_test(the_small_fields),
        cmocka_unit_test(a_loop_is_seen),
        cmocka_unit_test(the_from_addresses_are_all_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
