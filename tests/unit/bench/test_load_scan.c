#include "load_scan.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>

/* Feeds `text` in pieces of `piece` octets until the answer is over; what was taken comes back. */
static size_t feed_imap(struct load_imap *imap, const char *text, size_t piece)
{
    size_t at = 0, len = strlen(text);
    while (imap->status == LOAD_PENDING && at < len) {
        size_t n = len - at < piece ? len - at : piece;
        at += load_imap_feed(imap, cq_slice_of(text + at, n));
    }
    return at;
}

struct imap_case {
    const char *tag, *text, *rest; /* what must not be taken */
    enum load_status status;
    uint64_t exists, fetches, literal_octets;
};

static const struct imap_case imap_cases[] = {
    {"", "* OK ready\r\n", "", LOAD_GREETING, 7, 0, 0},
    {"", "* BYE full\r\n", "", LOAD_BYE, 7, 0, 0},
    {"a1", "a1 OK done\r\n", "* 9 EXISTS\r\n", LOAD_OK, 7, 0, 0},
    {"a1", "a1 NO [LIMIT] no\r\n", "", LOAD_NO, 7, 0, 0},
    {"a1", "a1 BAD what\r\n", "", LOAD_BAD, 7, 0, 0},
    {"a1", "a1 ok\n", "", LOAD_OK, 7, 0, 0},
    {"a1", "* 12 EXISTS\r\n* 0 RECENT\r\na1 OK\r\n", "a2 OK\r\n", LOAD_OK, 12, 0, 0},
    {"a1", "* 3 EXPUNGE\r\n* 3 EXPUNGE\r\na1 OK\r\n", "", LOAD_OK, 5, 0, 0},
    {"a1", "* 1 FETCH (FLAGS ())\r\n* 2 FETCH (FLAGS (\\Seen))\r\na1 OK\r\n", "", LOAD_OK, 7, 2, 0},
    {"a1", "* 1 FETCH (BODY[] {7}\r\na1 OK\r\n UID 4)\r\na1 OK\r\n", "", LOAD_OK, 7, 1, 7},
    {"a1", "* 1 FETCH (BODY[] {0}\r\n BODY[1] {13}\r\n* 99 EXISTS\r\n)\r\na1 OK\r\n", "", LOAD_OK, 7, 1, 13},
    {"a1", "* LIST () \"/\" {5}\r\nINBOX\r\na1 OK\r\n", "", LOAD_OK, 7, 0, 5},
    {"a1", "* OK {no literal}\r\na1 OK\r\n", "", LOAD_OK, 7, 0, 0},
    {"a1", "+ go on\r\n", "", LOAD_CONTINUE, 7, 0, 0},
    {"a1", "* BYE shutting down\r\n", "", LOAD_BYE, 7, 0, 0},
    {"a1", "a11 OK\r\n", "", LOAD_BAD, 7, 0, 0}, /* somebody else's tag */
    {"a1", "\r\n", "", LOAD_BAD, 7, 0, 0},
    {"a1", "a1 OK\r\nrest", "", LOAD_OK, 7, 0, 0},
};

static void imap_answers_end_where_they_end_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof imap_cases / sizeof *imap_cases - 1; i++) {
        const struct imap_case *c = &imap_cases[i];
        for (size_t piece = 1; piece < 64; piece += piece < 8 ? 1 : 13) {
            char text[512];
            struct load_imap imap = {.exists = 7};
            snprintf(text, sizeof text, "%s%s", c->text, c->rest);
            load_imap_begin(&imap, c->tag);
            assert_int_equal(feed_imap(&imap, text, piece), strlen(c->text));
            assert_int_equal(imap.status, c->status);
            assert_int_equal(imap.exists, c->exists);
            assert_int_equal(imap.fetches, c->fetches);
            assert_int_equal(imap.literal_octets, c->literal_octets);
            assert_int_equal(imap.octets, strlen(c->text));
        }
    }
}

static void an_unfinished_answer_is_pending(void **state)
{
    (void)state;
    struct load_imap imap = {0};
    load_imap_begin(&imap, "a1");
    feed_imap(&imap, "* 1 FETCH (BODY[] {100}\r\na1 OK\r\n", 1000);
    assert_int_equal(imap.status, LOAD_PENDING);
    assert_int_equal(imap.literal_left, 100 - 7);
}

static void one_command_after_the_other(void **state)
{
    (void)state;
    struct load_imap imap = {0};
    static const char text[] = "* 5 EXISTS\r\na1 OK [READ-WRITE]\r\n* 6 EXISTS\r\na2 OK\r\n";
    load_imap_begin(&imap, "a1");
    size_t first = feed_imap(&imap, text, 1000);
    assert_string_equal((const char *)imap.line.head, "a1 OK [READ-WRITE]");
    load_imap_begin(&imap, "a2");
    assert_int_equal(first + feed_imap(&imap, text + first, 3), sizeof text - 1);
    assert_int_equal(imap.status, LOAD_OK);
    assert_int_equal(imap.exists, 6);
}

static void a_line_longer_than_the_head_is_passed_over(void **state)
{
    (void)state;
    static char text[100000];
    size_t n = (size_t)snprintf(text, sizeof text, "* SEARCH");
    while (n < sizeof text - 64)
        n += (size_t)snprintf(text + n, sizeof text - n, " 123456");
    n += (size_t)snprintf(text + n, sizeof text - n, "\r\n* 3 EXISTS\r\na1 OK\r\n");
    for (size_t piece = 1; piece < 100000; piece = piece * 7 + 1) {
        struct load_imap imap = {0};
        load_imap_begin(&imap, "a1");
        assert_int_equal(feed_imap(&imap, text, piece), n);
        assert_int_equal(imap.status, LOAD_OK);
        assert_int_equal(imap.exists, 3);
    }
}

static void literals_are_captured_to_the_limit_and_no_further(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 50; piece++) {
        uint8_t kept[9] = "........";
        struct load_imap imap = {.capture = kept, .capture_max = 6};
        load_imap_begin(&imap, "a1");
        feed_imap(&imap, "* 1 FETCH (BODY[1] {4}\r\nabcd BODY[2] {4}\r\nefgh)\r\na1 OK\r\n", piece);
        assert_int_equal(imap.captured, 6);
        assert_string_equal((const char *)kept, "abcdef..");
    }
}

struct reply_case {
    const char *text, *rest;
    int code;
};

static const struct reply_case reply_cases[] = {
    {"250 fine\r\n", "", 250},
    {"250\r\n", "250 next\r\n", 250},
    {"250-one\r\n250-two\r\n250 three\r\n", "354 go on\r\n", 250},
    {"451 4.3.2 later\r\n", "", 451},
    {"hello\r\n", "", -1},
    {"\r\n", "", -1},
    {"2\r\n", "", -1},
    {"199 too low\r\n", "", -1},
};

static void smtp_replies_of_one_or_more_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reply_cases / sizeof *reply_cases; i++)
        for (size_t piece = 1; piece < 64; piece++) {
            char text[256];
            struct load_reply reply = {0};
            size_t at = 0, len = (size_t)snprintf(text, sizeof text, "%s%s", reply_cases[i].text, reply_cases[i].rest);
            while (!reply.code && at < len)
                at += load_reply_feed(&reply, cq_slice_of(text + at, len - at < piece ? len - at : piece));
            assert_int_equal(reply.code, reply_cases[i].code);
            assert_int_equal(at, strlen(reply_cases[i].text));
        }
}

struct pop_case {
    bool multi;
    const char *text, *rest;
    enum load_status status;
    uint64_t octets;
};

static const struct pop_case pop_cases[] = {
    {false, "+OK 2 320\r\n", "+OK", LOAD_OK, 0},
    {false, "-ERR no\r\n", "", LOAD_NO, 0},
    {true, "-ERR no such message\r\n", "+OK", LOAD_NO, 0},
    {true, "+OK\r\n.\r\n", "+OK", LOAD_OK, 0},
    {true, "+OK\r\nSubject: x\r\n\r\nhello\r\n.\r\n", "", LOAD_OK, 12 + 2 + 7},
    {true, "+OK\r\n..\r\n...\r\n.\r\n", "", LOAD_OK, 3 + 4}, /* stuffed dots are taken off (RFC 1939 3) */
};

static void pop3_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pop_cases / sizeof *pop_cases; i++)
        for (size_t piece = 1; piece < 64; piece++) {
            const struct pop_case *c = &pop_cases[i];
            char text[256];
            struct load_pop pop = {0};
            size_t at = 0, len = (size_t)snprintf(text, sizeof text, "%s%s", c->text, c->rest);
            load_pop_begin(&pop, c->multi);
            while (pop.status == LOAD_PENDING && at < len)
                at += load_pop_feed(&pop, cq_slice_of(text + at, len - at < piece ? len - at : piece));
            assert_int_equal(pop.status, c->status);
            assert_int_equal(at, strlen(c->text));
            assert_int_equal(pop.octets, c->octets);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imap_answers_end_where_they_end_however_they_are_cut),
        cmocka_unit_test(an_unfinished_answer_is_pending),
        cmocka_unit_test(one_command_after_the_other),
        cmocka_unit_test(a_line_longer_than_the_head_is_passed_over),
        cmocka_unit_test(literals_are_captured_to_the_limit_and_no_further),
        cmocka_unit_test(smtp_replies_of_one_or_more_lines),
        cmocka_unit_test(pop3_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
