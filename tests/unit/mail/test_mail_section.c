#include "mail/mail_build.h"
#include "mail/mail_section.h"

#include "unit/mail/mail_test.h"

/* 1 text, 2 message/rfc822 of a multipart (2.1 text, 2.2 html), 3 message/rfc822 of plain text, 4 a multipart of one.
 */
static const char MESSAGE[] = "Subject: top\r\nTo: a@x,\r\n b@y\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"
                              "--o\r\n"
                              "X: 1\r\n\r\none"
                              "\r\n--o\r\n"
                              "Content-Type: message/rfc822\r\n\r\n"
                              "Subject: in\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
                              "--i\r\n"
                              "\r\nplain"
                              "\r\n--i\r\n"
                              "Content-Type: text/html\r\n\r\nhtml"
                              "\r\n--i--\r\n"
                              "--o\r\n"
                              "Content-Type: message/rfc822\r\n\r\n"
                              "Subject: three\r\n\r\nbody three"
                              "\r\n--o\r\n"
                              "Content-Type: multipart/mixed; boundary=j\r\n\r\n--j\r\n\r\nlast\r\n--j--"
                              "\r\n--o--\r\n";
static const char SIMPLE[] = "Subject: s\r\n\r\nbody";
static const char MESSAGE_ALONE[] = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner";

/* What BODY[text] is, or NULL. */
static const char *cut(const char *message, const char *text, bool partial, uint64_t offset, uint64_t length,
                       struct cq_buf *out)
{
    struct cq_pool *pool = cq_pool_new(100);
    struct cq_buf record;
    struct mail_summary s;
    struct mail_section section;
    struct mail_range range;
    cq_buf_init(&record, MAIL_SUMMARY_MAX);
    mail_summary_of(cq_slice_cstr(message), &record);
    assert_int_equal(mail_summary_open(cq_buf_slice(&record), &s, NULL), CQ_OK);
    enum cq_rc rc = mail_section_parse(cq_slice_cstr(text), pool, &section, NULL);
    section.partial = partial;
    section.offset = offset;
    section.length = length;
    if (rc == CQ_OK)
        rc = mail_section_locate(&s, &section, &range, NULL);
    cq_buf_reset(out, SIZE_MAX);
    if (rc == CQ_OK) {
        struct cq_slice octets = cq_slice_sub(cq_slice_cstr(message), range.off, range.len);
        assert_int_equal(octets.len, range.len);
        if (range.filter)
            mail_section_filter(&section, octets, out);
        else
            cq_buf_slice_add(out, octets);
    }
    cq_buf_fini(&record);
    cq_pool_free(&pool);
    return rc == CQ_OK ? text_of(out) : rc == CQ_E_NOT_FOUND ? "NIL" : cq_rc_name(rc);
}

static const struct {
    const char *message, *section, *want;
} CASES[] = {
    {MESSAGE, "", MESSAGE},
    {MESSAGE, "HEADER", "Subject: top\r\nTo: a@x,\r\n b@y\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n"},
    {MESSAGE, "HEADER.FIELDS (to SUBJECT)", "Subject: top\r\nTo: a@x,\r\n b@y\r\n\r\n"},
    {MESSAGE, "header.fields.not (\"Content-Type\" to)", "Subject: top\r\n\r\n"},
    {MESSAGE, "HEADER.FIELDS (none)", "\r\n"},
    {MESSAGE, "1", "one"},
    {MESSAGE, "1.MIME", "X: 1\r\n\r\n"},
    {MESSAGE, "1.HEADER", "NIL"},
    {MESSAGE, "1.TEXT", "NIL"},
    {MESSAGE, "1.1", "NIL"},
    {MESSAGE, "2.MIME", "Content-Type: message/rfc822\r\n\r\n"},
    {MESSAGE, "2.HEADER", "Subject: in\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"},
    {MESSAGE, "2.HEADER.FIELDS (Subject)", "Subject: in\r\n\r\n"},
    {MESSAGE, "2.TEXT", "--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\nhtml\r\n--i--"},
    {MESSAGE, "2.1", "plain"},
    {MESSAGE, "2.2", "html"},
    {MESSAGE, "2.2.MIME", "Content-Type: text/html\r\n\r\n"},
    {MESSAGE, "2.3", "NIL"},
    {MESSAGE, "3", "Subject: three\r\n\r\nbody three"},
    {MESSAGE, "3.1", "body three"},
    {MESSAGE, "3.1.MIME", "Subject: three\r\n\r\n"},
    {MESSAGE, "3.1.1", "NIL"},
    {MESSAGE, "3.2", "NIL"},
    {MESSAGE, "4.1", "last"},
    {MESSAGE, "4.1.1", "NIL"},
    {MESSAGE, "4.HEADER", "NIL"},
    {MESSAGE, "5", "NIL"},
    {MESSAGE, "4294967295", "NIL"},
    {SIMPLE, "", SIMPLE},
    {SIMPLE, "TEXT", "body"},
    {SIMPLE, "1", "body"},
    {SIMPLE, "1.MIME", "Subject: s\r\n\r\n"},
    {SIMPLE, "1.1", "NIL"},
    {SIMPLE, "2", "NIL"},
    {SIMPLE, "1.HEADER", "NIL"},
    {MESSAGE_ALONE, "1", "Subject: in\r\n\r\ninner"},
    {MESSAGE_ALONE, "1.HEADER", "Subject: in\r\n\r\n"},
    {MESSAGE_ALONE, "1.1", "inner"},
    {MESSAGE_ALONE, "1.1.1", "NIL"},
    {"", "", ""},
    {"", "1", ""},
    {"", "HEADER", ""},
    /* Not sections. */
    {SIMPLE, "0", "CQ_E_PROTO"},
    {SIMPLE, "1.", "CQ_E_PROTO"},
    {SIMPLE, "1..2", "CQ_E_PROTO"},
    {SIMPLE, ".1", "CQ_E_PROTO"},
    {SIMPLE, "4294967296", "CQ_E_PROTO"},
    {SIMPLE, "MIME", "CQ_E_PROTO"},
    {SIMPLE, "TEXTS", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS ()", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS (a", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS (\"a)", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS (a)b", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS (a  b)", "CQ_E_PROTO"},
    {SIMPLE, "1 TEXT", "CQ_E_PROTO"},
    {SIMPLE, "HEADER.FIELDS (\"a\\", "CQ_E_PROTO"},
};

static void every_section_is_cut_out_of_the_stored_octets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        struct cq_buf out;
        cq_buf_init(&out, TEST_BUF_MAX);
        assert_row_text(i, cut(CASES[i].message, CASES[i].section, false, 0, 0, &out), CASES[i].want);
        cq_buf_fini(&out);
    }
}

static const struct {
    const char *section;
    uint64_t offset, length;
    const char *want;
} PARTIALS[] = {
    {"3.1", 0, 4, "body"},
    {"3.1", 5, 100, "three"},
    {"3.1", 10, 1, ""},
    {"3.1", 11, 1, ""},
    {"3.1", UINT64_MAX, 1, ""},
    {"3.1", 9, UINT64_MAX, "e"},
    {"HEADER.FIELDS (Subject)", 3, 5, "ject:"},
    {"HEADER.FIELDS (Subject)", 14, 10, "\r\n"},
    {"HEADER.FIELDS (Subject)", 16, 10, ""},
    {"", 2, 3, "bje"},
};

static void a_partial_is_cut_within_the_section(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(PARTIALS); i++) {
        struct cq_buf out;
        cq_buf_init(&out, TEST_BUF_MAX);
        assert_row_text(i, cut(MESSAGE, PARTIALS[i].section, true, PARTIALS[i].offset, PARTIALS[i].length, &out),
                        PARTIALS[i].want);
        cq_buf_fini(&out);
    }
}

static void a_section_over_its_limits_is_refused(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(100);
    struct mail_section section;
    for (unsigned n = MAIL_SECTION_PATH_MAX; n <= MAIL_SECTION_PATH_MAX + 1; n++) {
        struct cq_buf text;
        cq_buf_init(&text, 10000);
        for (unsigned i = 0; i < n; i++)
            cq_buf_cstr(&text, i ? ".1" : "1");
        assert_int_equal(mail_section_parse(cq_buf_slice(&text), pool, &section, NULL),
                         n > MAIL_SECTION_PATH_MAX ? CQ_E_LIMIT : CQ_OK);
        cq_buf_reset(&text, 10000);
        cq_buf_cstr(&text, "HEADER.FIELDS (a");
        for (unsigned i = 1; i < MAIL_SECTION_FIELDS_MAX + n - MAIL_SECTION_PATH_MAX; i++)
            cq_buf_cstr(&text, " a");
        cq_buf_byte(&text, ')');
        assert_int_equal(mail_section_parse(cq_buf_slice(&text), pool, &section, NULL),
                         n > MAIL_SECTION_PATH_MAX ? CQ_E_LIMIT : CQ_OK);
        cq_buf_fini(&text);
    }
    cq_pool_free(&pool);
}

static void a_broken_part_table_is_an_error_and_not_a_missing_section(void **state)
{
    (void)state;
    const struct {
        uint8_t parts[8];
        size_t len;
        uint32_t count;
    } cases[] = {
        {{0x0b, 0, 0, 0, 0}, 5, 1},          /* a multipart without children */
        {{0x09, 1, 0, 0, 0}, 5, 1},          /* the first part is not the outermost */
        {{0x09, 0, 0, 9, 9}, 5, 1},          /* past the message's end */
        {{0x09, 0, 0, 0}, 4, 1},             /* short */
        {{0x09, 0, 0, 0, 0, 0}, 6, 1},       /* long */
        {{0x0f, 0, 0, 0, 0}, 5, 1},          /* no such media */
        {{0x89, 0, 0, 0, 0, 5, 'x'}, 7, 1},  /* the charset is cut */
        {{0x09, 0, 0x80, 0x80, 0x80}, 5, 1}, /* a number without end */
    };
    for (unsigned i = 0; i < ROWS(cases); i++) {
        const struct mail_summary s = {
            .size = 10, .part_count = cases[i].count, .parts = cq_slice_of(cases[i].parts, cases[i].len)};
        const struct mail_section section = {.path = {1, 1}, .path_len = 2};
        struct mail_range range;
        enum cq_rc rc = mail_section_locate(&s, &section, &range, NULL);
        if (i == 4)
            assert_int_equal(rc, CQ_E_NOT_FOUND); /* what follows the last part is only seen by who reads that far */
        else
            assert_int_equal(rc, CQ_E_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_section_is_cut_out_of_the_stored_octets),
        cmocka_unit_test(a_partial_is_cut_within_the_section),
        cmocka_unit_test(a_section_over_its_limits_is_refused),
        cmocka_unit_test(a_broken_part_table_is_an_error_and_not_a_missing_section),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
