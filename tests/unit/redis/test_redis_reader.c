#include "redis/redis_reader.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct told {
    size_t replies;
    long long last; /* its number, the length of its text or of its array */
    bool ended;
};

static long long measure(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER)
        return reply->integer;
    return reply->type == REDIS_REPLY_ARRAY ? (long long)reply->elements : (long long)reply->len;
}

static struct told tell(struct cq_slice bytes, size_t step)
{
    struct redis_reader reader;
    struct told told = {0};
    redis_reader_init(&reader);
    for (size_t at = 0; at < bytes.len && !told.ended; at += step) {
        redisReply *reply = NULL;
        told.ended = redis_reader_feed(&reader, cq_slice_sub(bytes, at, at + step < bytes.len ? step : bytes.len - at));
        while (!told.ended) {
            told.ended = redis_reader_next(&reader, &reply) != NULL;
            if (told.ended || !reply)
                break;
            told.replies++;
            told.last = measure(reply);
            freeReplyObject(reply);
        }
    }
    redis_reader_fini(&reader);
    redis_reader_fini(&reader);
    return told;
}

/* Whole and byte by byte. */
static struct told both(struct cq_slice bytes)
{
    struct told whole = tell(bytes, bytes.len), bytewise = tell(bytes, 1);
    assert_int_equal(whole.replies, bytewise.replies);
    assert_int_equal(whole.last, bytewise.last);
    assert_int_equal(whole.ended, bytewise.ended);
    return whole;
}

static void replies_come_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t replies;
        long long last;
        bool ended;
    } cases[] = {
        {"+OK\r\n", 1, 2, false},
        {":42\r\n:-7\r\n", 2, -7, false},
        {"$0\r\n\r\n", 1, 0, false},
        {"$5\r\nhel", 0, 0, false},
        {"*2\r\n:1\r\n", 0, 0, false},
        {"*0\r\n", 1, 0, false},
        {"", 0, 0, false},
        {"\r\n", 0, 0, true},
        {"HTTP/1.1 200 OK\r\n", 0, 0, true},
        {"+OK\r\nx", 1, 2, true},
        {"*257\r\n", 0, 0, true},
        {"*2147483647\r\n", 0, 0, true},
        {"*99999999999999999999\r\n", 0, 0, true},
        {"$99999999999999999999\r\n", 0, 0, true},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 0, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct told told = both(cq_slice_cstr(cases[i].text));
        assert_int_equal(told.replies, cases[i].replies);
        assert_int_equal(told.last, cases[i].last);
        assert_int_equal(told.ended, cases[i].ended);
    }
}

static void an_array_at_the_limit_is_taken(void **state)
{
    (void)state;
    char text[8 + 4 * REDIS_ARRAY_MAX + 1];
    int len = snprintf(text, sizeof text, "*%d\r\n", REDIS_ARRAY_MAX);
    for (int i = 0; i < REDIS_ARRAY_MAX; i++, len += 4)
        memcpy(text + len, ":1\r\n", 5);
    struct told told = both(cq_slice_of(text, (size_t)len));
    assert_int_equal(told.replies, 1);
    assert_int_equal(told.last, REDIS_ARRAY_MAX);
}

static void a_reply_that_does_not_end_is_left_at_the_limit(void **state)
{
    (void)state;
    char *text = malloc(REDIS_REPLY_MAX + 1);
    memset(text, 'x', REDIS_REPLY_MAX + 1);
    memcpy(text, "$1000000\r\n", 10);
    assert_false(tell(cq_slice_of(text, REDIS_REPLY_MAX), 1000).ended);
    assert_true(tell(cq_slice_of(text, REDIS_REPLY_MAX + 1), 1000).ended);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_whole_or_not_at_all),
        cmocka_unit_test(an_array_at_the_limit_is_taken),
        cmocka_unit_test(a_reply_that_does_not_end_is_left_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
