#include "mail/mail_build.h"
#include "mail/mail_summary.h"

#include "unit/mail/mail_test.h"

#include "base/cq_endian.h"

#include <xxhash.h>

static const char MESSAGE[] =
    "Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: a@x\r\nSubject: Re: [list] gr=?utf-8?q?=C3=BC?=n\r\n"
    "Message-ID: <1@x>\r\nReferences: <a@x> <b@x>\r\n <c@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "<html><style>p { }</style><p>gr=FC=DF  dich</p><p>welt&nbsp;&amp; x</p>\r\n"
    "--b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: "
    "base64\r\n\r\naGVsbG8=\r\n--b--\r\n";

static void build(struct cq_slice message, uint64_t prefix, size_t step, struct cq_buf *out)
{
    struct mail_builder *b = mail_builder_new(NULL);
    for (; message.len; message = cq_slice_skip(message, step))
        mail_builder_feed(b, cq_slice_sub(message, 0, step));
    mail_builder_finish(b);
    mail_builder_summary(b, prefix, out);
    mail_builder_free(&b);
}

static void a_summary_holds_what_listing_a_mailbox_needs(void **state)
{
    (void)state;
    struct cq_buf record, whole;
    struct mail_summary s;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    cq_buf_init(&whole, MAIL_SUMMARY_MAX);
    build(CQ_SLICE(MESSAGE), 0, 1, &record);
    mail_summary_of(CQ_SLICE(MESSAGE), &whole);
    assert_true(cq_slice_eq(cq_buf_slice(&record), cq_buf_slice(&whole)));
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    assert_int_equal(s.renderer, MAIL_RENDERER_VERSION);
    assert_int_equal(s.flags, MAIL_SUMMARY_HAS_DATE | MAIL_SUMMARY_IS_REPLY | MAIL_SUMMARY_ATTACHMENT);
    assert_int_equal(s.size, sizeof MESSAGE - 1);
    assert_int_equal(s.header_octets, strstr(MESSAGE, "\r\n\r\n") + 4 - MESSAGE);
    assert_int_equal(s.sent.utc_s, 880127706);
    assert_int_equal(s.sent.zone_min, -360);
    assert_slice(s.preview, "gr\xc3\xbc\xc3\x9f dich welt & x");
    assert_slice(s.base_subject, "gr\xc3\xbcn");
    assert_slice(s.message_id, "1@x");
    struct cq_slice rest = s.references, id;
    const char *ids[] = {"a@x", "b@x", "c@x"};
    for (unsigned i = 0; i < 3; i++) {
        assert_true(mail_summary_reference(&rest, &id));
        assert_slice(id, ids[i]);
    }
    assert_false(mail_summary_reference(&rest, &id));
    assert_int_equal(mail_summary_envelope(&s, true).len, mail_summary_envelope(&s, false).len);
    assert_int_equal(s.envelope_utf8.len, 0);
    cq_buf_fini(&record);
    cq_buf_fini(&whole);
}

static struct cq_slice if_wanted(uint32_t data, unsigned bit, struct cq_slice s)
{
    return data >> bit & 1 ? s : CQ_SLICE_NONE;
}

static void a_summary_with_some_of_its_data_is_one_without_the_others(void **state)
{
    (void)state;
    struct cq_buf whole, some;
    struct mail_summary w, s;
    cq_buf_init(&whole, MAIL_SUMMARY_MAX);
    cq_buf_init(&some, MAIL_SUMMARY_MAX);
    mail_summary_of(CQ_SLICE(MESSAGE), &whole);
    assert_int_equal(mail_summary_open(cq_buf_slice(&whole), &w, NULL), CQ_OK);
    for (uint32_t data = 0; data < 1u << 11; data++) {
        cq_buf_reset(&some, SIZE_MAX);
        cq_buf_cstr(&some, "before");
        assert_true(mail_summary_pick(cq_buf_slice(&whole), data, &some));
        assert_int_equal(mail_summary_open(cq_slice_skip(cq_buf_slice(&some), 6), &s, NULL), CQ_OK);
        assert_true(s.renderer == w.renderer && s.flags == w.flags && s.size == w.size &&
                    s.header_octets == w.header_octets && s.part_count == w.part_count && s.sent.utc_s == w.sent.utc_s);
        assert_true(cq_slice_eq(s.preview, if_wanted(data, 0, w.preview)));
        assert_true(cq_slice_eq(s.message_id, if_wanted(data, 2, w.message_id)));
        assert_true(cq_slice_eq(s.references, if_wanted(data, 3, w.references)));
        assert_true(cq_slice_eq(s.envelope, data & MAIL_SUMMARY_DATA_ENVELOPE ? w.envelope : CQ_SLICE_NONE));
        assert_true(cq_slice_eq(s.structure, data & MAIL_SUMMARY_DATA_STRUCTURE ? w.structure : CQ_SLICE_NONE));
        assert_true(cq_slice_eq(s.cuts, data & MAIL_SUMMARY_DATA_CUTS ? w.cuts : CQ_SLICE_NONE));
        assert_true(cq_slice_eq(s.parts, data & MAIL_SUMMARY_DATA_PARTS ? w.parts : CQ_SLICE_NONE));
        assert_true(data != (1u << 11) - 1 || some.len == whole.len + 6);
    }
    for (size_t at = 0; at < whole.len; at++) { /* under the checksum or not: what open refuses is not picked from */
        whole.data[at] ^= 0x40;
        bool opens = mail_summary_open(cq_buf_slice(&whole), &w, NULL) == CQ_OK;
        cq_buf_reset(&some, SIZE_MAX);
        assert_int_equal(mail_summary_pick(cq_buf_slice(&whole), MAIL_SUMMARY_DATA_ENVELOPE, &some), opens);
        assert_true(opens || some.len == 0);
        whole.data[at] ^= 0x40;
    }
    assert_false(mail_summary_pick(CQ_SLICE_NONE, 0, &some));
    cq_buf_fini(&whole);
    cq_buf_fini(&some);
}

static void the_part_table_cuts_the_stored_octets(void **state)
{
    (void)state;
    const struct {
        enum mail_media media;
        enum mail_encoding encoding;
        const char *charset, *body;
    } want[] = {
        {MAIL_MEDIA_MULTIPART, MAIL_ENCODING_7BIT, "", NULL},
        {MAIL_MEDIA_HTML, MAIL_ENCODING_QP, "iso-8859-1",
         "<html><style>p { }</style><p>gr=FC=DF  dich</p><p>welt&nbsp;&amp; x</p>"},
        {MAIL_MEDIA_OTHER, MAIL_ENCODING_BASE64, "", "aGVsbG8="},
    };
    struct cq_buf record, stored;
    struct mail_summary s;
    struct mail_summary_parts iter;
    struct mail_summary_part part;
    const char *prefix = "Return-Path: <a@x>\r\nDelivered-To: b@y\r\n";
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    cq_buf_init(&stored, 10000);
    cq_buf_cstr(&stored, prefix);
    cq_buf_cstr(&stored, MESSAGE);
    build(CQ_SLICE(MESSAGE), strlen(prefix), SIZE_MAX, &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    assert_int_equal(s.size, stored.len);
    mail_summary_parts_init(&iter, &s);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(mail_summary_parts_next(&iter, &part));
        assert_int_equal(part.number, i);
        assert_int_equal(part.depth, i > 0);
        assert_int_equal(part.is_message, i == 0);
        assert_int_equal(part.media, want[i].media);
        assert_int_equal(part.encoding, want[i].encoding);
        assert_slice(part.charset, want[i].charset);
        if (want[i].body)
            assert_slice(cq_slice_sub(cq_buf_slice(&stored), part.body_off, part.end_off - part.body_off),
                         want[i].body);
        else
            assert_int_equal(part.header_off, 0);
    }
    assert_false(mail_summary_parts_next(&iter, &part));
    assert_false(iter.corrupt);
    cq_buf_fini(&record);
    cq_buf_fini(&stored);
}

/* The whole message, prefix included, gives the same record as the prefix beside it. */
static void a_prefix_is_as_if_it_had_been_parsed(void **state)
{
    (void)state;
    const char *prefix = "Return-Path: <a@x>\r\nReceived: by x;\r\n\tnow\r\n";
    struct cq_buf stored, whole, apart;
    cq_buf_init(&stored, 10000);
    cq_buf_init(&whole, MAIL_SUMMARY_MAX);
    cq_buf_init(&apart, MAIL_SUMMARY_MAX);
    cq_buf_cstr(&stored, prefix);
    cq_buf_cstr(&stored, MESSAGE);
    build(CQ_SLICE(MESSAGE), strlen(prefix), 100, &apart);
    build(cq_buf_slice(&stored), 0, SIZE_MAX, &whole);
    assert_true(cq_slice_eq(cq_buf_slice(&whole), cq_buf_slice(&apart)));
    cq_buf_fini(&stored);
    cq_buf_fini(&whole);
    cq_buf_fini(&apart);
}

static void a_record_that_was_changed_anywhere_is_refused(void **state)
{
    (void)state;
    struct cq_buf record;
    struct mail_summary s;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    mail_summary_of(CQ_SLICE(MESSAGE), &record);
    for (size_t i = 0; i < record.len; i++) {
        bool covered = i != 1 && i != 2 && i != 3; /* renderer and flags stand before the checksum's range */
        record.data[i] ^= 0x40;
        if (covered)
            assert_int_not_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
        record.data[i] ^= 0x40;
    }
    for (size_t len = 0; len < record.len; len++)
        assert_int_not_equal(mail_summary_open(cq_slice_of(record.data, len), &s, NULL), CQ_OK);
    record.data[0] = MAIL_SUMMARY_FORMAT + 1;
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_E_VERSION);
    cq_buf_fini(&record);
}

/* With a checksum that fits: the decoder still trusts nothing. */
static void a_forged_record_is_refused_or_harmless(void **state)
{
    (void)state;
    struct cq_buf record, body;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    cq_buf_init(&body, TEST_BUF_MAX);
    mail_summary_of(CQ_SLICE(MESSAGE), &record);
    for (size_t i = 16; i < record.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct mail_summary s;
            record.data[i] ^= (uint8_t)(1u << bit);
            cq_put_le64(record.data + 8, XXH3_64bits(record.data + 16, record.len - 16));
            if (mail_summary_open(cq_buf_slice(&record), &s, NULL) == CQ_OK) {
                struct mail_summary_parts iter;
                struct mail_summary_part part;
                struct cq_slice rest = s.references, id;
                mail_summary_parts_init(&iter, &s);
                while (mail_summary_parts_next(&iter, &part)) {
                    assert_true(part.header_off <= part.body_off && part.body_off <= part.end_off);
                    assert_true(part.end_off <= s.size);
                }
                cq_buf_reset(&body, SIZE_MAX);
                mail_summary_body(&s, false, &body);
                while (mail_summary_reference(&rest, &id))
                    ;
            }
            record.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    cq_buf_fini(&record);
    cq_buf_fini(&body);
}

static void a_builder_serves_one_message_after_the_other(void **state)
{
    (void)state;
    struct mail_builder *b = mail_builder_new(NULL);
    struct cq_buf first, again;
    cq_buf_init(&first, MAIL_SUMMARY_MAX);
    cq_buf_init(&again, MAIL_SUMMARY_MAX);
    mail_builder_feed(b, CQ_SLICE(MESSAGE));
    mail_builder_finish(b);
    mail_builder_summary(b, 0, &first);
    mail_builder_clear(b);
    mail_builder_feed(b, CQ_SLICE("Subject: other\n\nContent-Type: x\n\xff"));
    mail_builder_clear(b);
    mail_builder_feed(b, CQ_SLICE(MESSAGE));
    mail_builder_finish(b);
    mail_builder_summary(b, 7, &again);
    cq_buf_reset(&again, SIZE_MAX);
    mail_builder_summary(b, 0, &again);
    assert_true(cq_slice_eq(cq_buf_slice(&first), cq_buf_slice(&again)));
    mail_builder_free(&b);
    cq_buf_fini(&first);
    cq_buf_fini(&again);
}

static void the_utf8_variants_are_there_when_they_differ(void **state)
{
    (void)state;
    struct cq_buf record;
    struct mail_summary s;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    mail_summary_of(CQ_SLICE("Subject: \xc3\xa4\nContent-Type: text/plain; name=\"\xc3\xa4\"\n\nx"), &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    assert_slice(mail_summary_envelope(&s, true), "(NIL \"\xc3\xa4\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    assert_slice(mail_summary_envelope(&s, false), "(NIL \"=?utf-8?B?w6Q=?=\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    struct cq_buf body;
    cq_buf_init(&body, 1000);
    mail_summary_body(&s, true, &body);
    assert_row_text(0, text_of(&body), "(\"text\" \"plain\" (\"name\" \"\xc3\xa4\") NIL NIL \"7bit\" 1 0)");
    cq_buf_fini(&body);
    cq_buf_fini(&record);
}

static void assert_opaque(struct cq_slice message, bool opaque)
{
    struct cq_buf record;
    struct mail_summary s;
    struct mail_summary_parts iter;
    struct mail_summary_part part;
    uint32_t count = 0;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    mail_summary_of(message, &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    assert_int_equal((s.flags & MAIL_SUMMARY_OPAQUE) != 0, opaque);
    mail_summary_parts_init(&iter, &s);
    while (mail_summary_parts_next(&iter, &part))
        count++;
    assert_false(iter.corrupt);
    assert_int_equal(count, s.part_count);
    if (opaque) {
        assert_int_equal(count, 1);
        assert_true(cq_slice_starts(s.structure, CQ_SLICE("(\"application\" \"octet-stream\" NIL")));
    }
    cq_buf_fini(&record);
}

static void a_structure_too_large_for_the_record_is_shown_as_one_part(void **state)
{
    (void)state;
    for (unsigned parts = 1000; parts <= 12000; parts += 11000) {
        struct cq_buf m;
        cq_buf_init(&m, TEST_BUF_MAX);
        cq_buf_cstr(&m, "Content-Type: multipart/mixed; boundary=b\n\n");
        for (unsigned i = 0; i < parts; i++)
            cq_buf_cstr(&m, "--b\n\nx\n");
        assert_opaque(cq_buf_slice(&m), parts > 3500);
        cq_buf_fini(&m);
    }
}

static void the_worst_headers_give_a_record_within_its_limit(void **state)
{
    (void)state;
    const char *patterns[] = {"\xe4", "<a@x>", "\xc3\xa4@x, ", "a*0*=\xe4;"};
    const char *names[] = {"Date",
                           "Subject",
                           "From",
                           "To",
                           "Cc",
                           "In-Reply-To",
                           "References",
                           "Message-ID",
                           "Content-ID",
                           "Content-Type: a/b; a",
                           "Content-Disposition: a; b",
                           "Content-Language"};
    for (unsigned i = 0; i < ROWS(patterns); i++) {
        struct cq_buf m;
        cq_buf_init(&m, TEST_BUF_MAX);
        for (unsigned k = 0; k < ROWS(names); k++) {
            cq_buf_printf(&m, "%s%s", names[k], strchr(names[k], ':') ? "=" : ": ");
            for (size_t n = m.len; m.len < n + 200000;)
                cq_buf_cstr(&m, patterns[i]);
            cq_buf_byte(&m, '\n');
        }
        assert_opaque(cq_buf_slice(&m), false);
        cq_buf_fini(&m);
    }
}

static const struct {
    const char *message, *want;
} PREVIEWS[] = {
    {"\n  hello \t\r\n there \x01 x", "hello there x"},
    {"Content-Type: text/plain; charset=utf-8\n\nh\xc3\xa4\xff", "h\xc3\xa4\xef\xbf\xbd"},
    {"Content-Type: image/png\n\nxx", ""},
    {"Content-Type: text/plain\nContent-Disposition: attachment\n\nxx", ""},
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n \n--b\n\nsecond\n--b--\n", "second"},
    {"Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: "
     "text/html\n\n<b>bold</b>\n--b\n\nplain\n--b--\n",
     "bold"},
    {"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\ninner\n--b--\n",
     "inner"},
    {"Content-Type: text/html\n\n<p>a<br>b&#8203;&zwnj;c</p>\xe2\x80\x8b"
     "d",
     "a bc d"},
    {"Content-Transfer-Encoding: base64\n\naGVs\nbG8=", "hello"},
    {"", ""},
};

static void a_preview_is_the_beginning_of_the_first_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(PREVIEWS); i++) {
        for (size_t step = 1; step < 40; step += 19) {
            struct cq_buf record, text;
            struct mail_summary s;
            cq_buf_init(&record, MAIL_SUMMARY_MAX);
            cq_buf_init(&text, 1000);
            build(cq_slice_cstr(PREVIEWS[i].message), 0, step, &record);
            assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
            cq_buf_slice_add(&text, s.preview);
            assert_row_text(i, text_of(&text), PREVIEWS[i].want);
            cq_buf_fini(&record);
            cq_buf_fini(&text);
        }
    }
}

static void a_preview_has_at_most_200_characters(void **state)
{
    (void)state;
    struct cq_buf m, record;
    struct mail_summary s;
    cq_buf_init(&m, TEST_BUF_MAX);
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    cq_buf_cstr(&m, "Content-Type: text/plain; charset=utf-8\n\n");
    for (unsigned i = 0; i < 100000; i++)
        cq_buf_cstr(&m, "\xf0\x9f\x98\x80");
    mail_summary_of(cq_buf_slice(&m), &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    assert_int_equal(s.preview.len, 800);
    cq_buf_fini(&m);
    cq_buf_fini(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_summary_holds_what_listing_a_mailbox_needs),
        cmocka_unit_test(a_summary_with_some_of_its_data_is_one_without_the_others),
        cmocka_unit_test(the_part_table_cuts_the_stored_octets),
        cmocka_unit_test(a_prefix_is_as_if_it_had_been_parsed),
        cmocka_unit_test(a_record_that_was_changed_anywhere_is_refused),
        cmocka_unit_test(a_forged_record_is_refused_or_harmless),
        cmocka_unit_test(a_builder_serves_one_message_after_the_other),
        cmocka_unit_test(the_utf8_variants_are_there_when_they_differ),
        cmocka_unit_test(a_structure_too_large_for_the_record_is_shown_as_one_part),
        cmocka_unit_test(the_worst_headers_give_a_record_within_its_limit),
        cmocka_unit_test(a_preview_is_the_beginning_of_the_first_text),
        cmocka_unit_test(a_preview_has_at_most_200_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
