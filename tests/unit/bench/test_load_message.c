#include "load_message.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

#include "mail/mail_build.h"
#include "mail/mail_index.h"

#define MESSAGES 300

static struct cq_buf buf;
static size_t token_at;

static int fresh(void **state)
{
    (void)state;
    cq_buf_init(&buf, LOAD_MESSAGE_BUF);
    return 0;
}

static int done(void **state)
{
    (void)state;
    cq_buf_fini(&buf);
    return 0;
}

static void make(uint64_t seed, uint64_t index, size_t size)
{
    cq_buf_reset(&buf, SIZE_MAX);
    load_message_make(seed, index, size, &buf, &token_at);
}

static void the_same_seed_makes_the_same_octets(void **state)
{
    (void)state;
    struct cq_buf again;
    cq_buf_init(&again, LOAD_MESSAGE_BUF);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        size_t at;
        make(3, i, 0);
        cq_buf_reset(&again, SIZE_MAX);
        load_message_make(3, i, 0, &again, &at);
        assert_true(at == token_at && cq_slice_eq(cq_buf_slice(&buf), cq_buf_slice(&again)));
        load_message_make(4, i, 0, &again, &at);
        assert_false(cq_slice_eq(cq_buf_slice(&buf), cq_slice_skip(cq_buf_slice(&again), buf.len)));
    }
    cq_buf_fini(&again);
}

static void a_wanted_size_is_met_to_the_octet(void **state)
{
    (void)state;
    static const size_t sizes[] = {LOAD_MESSAGE_MIN, LOAD_MESSAGE_MIN + 1, 4097, 16384, 16385, 16386, 100001, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint64_t index = 0; index < 64; index++) {
            make(1, index, sizes[i]);
            assert_int_equal(buf.len, sizes[i]);
        }
    make(1, 1, 1);
    assert_int_equal(buf.len, LOAD_MESSAGE_MIN);
}

static void lines_end_with_crlf_are_short_and_need_no_stuffing(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        make(9, i, 0);
        struct cq_slice rest = cq_buf_slice(&buf);
        while (rest.len) {
            size_t lf = cq_slice_find(rest, '\n');
            assert_true(lf < rest.len && lf > 0 && rest.data[lf - 1] == '\r'); /* also the last one */
            assert_int_equal(cq_slice_find(cq_slice_sub(rest, 0, lf - 1), '\r'), lf - 1);
            assert_true(rest.data[0] != '.' && lf <= 200);
            rest = cq_slice_skip(rest, lf + 1);
        }
    }
}

static void the_token_is_in_the_message_id(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        make(5, i, 0);
        load_token_write(buf.data + token_at, 0x1234567890abcdefULL);
        static const char field[] = "\r\nMessage-ID: <1234567890abcdef.";
        size_t before = sizeof "\r\nMessage-ID: <" - 1;
        assert_memory_equal(buf.data + token_at - before, field, sizeof field - 1);
    }
}

static void the_median_is_16_KiB_and_the_tail_ends_at_1_MiB(void **state)
{
    (void)state;
    struct cq_prng prng = {11};
    size_t below = 0, large = 0;
    for (size_t i = 0; i < 100000; i++) {
        size_t size = load_message_size(&prng);
        assert_in_range(size, LOAD_MESSAGE_MIN, LOAD_MESSAGE_MAX);
        below += size < 16384;
        large += size > 393216;
    }
    assert_in_range(below, 49000, 51000);
    assert_in_range(large, 800, 1200);
}

static void the_messages_are_as_varied_as_real_ones_for_our_own_parser(void **state)
{
    (void)state;
    struct mail_builder *b = mail_builder_new(NULL);
    size_t multiparts = 0, nested = 0;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        make(2, i, 0);
        mail_builder_clear(b);
        mail_builder_feed(b, cq_buf_slice(&buf));
        mail_builder_finish(b);
        const struct mail_index *index = mail_builder_index(b);
        multiparts += mail_index_parts(index) > 1;
        nested += mail_index_parts(index) > 3;
    }
    mail_builder_free(&b);
    assert_in_range(multiparts, MESSAGES / 2, MESSAGES - MESSAGES / 10);
    assert_in_range(nested, MESSAGES / 20, MESSAGES / 3);
}

static void a_set_is_the_messages_of_its_seed(void **state)
{
    (void)state;
    struct load_messages set;
    load_messages_init(&set, 6, 20, 3000);
    for (uint64_t i = 0; i < set.count; i++) {
        make(6, i, 3000);
        assert_int_equal(set.items[i].len, 3000);
        assert_memory_equal(set.items[i].octets, buf.data, 3000);
        assert_int_equal(set.items[i].token_at, token_at);
    }
    load_messages_fini(&set);
}

static void a_letter_goes_out_under_its_own_token_whoever_used_its_octets_before(void **state)
{
    (void)state;
    struct load_messages set;
    load_messages_init(&set, 6, 1, 3000);
    const struct load_letter one = {&set.items[0], 0xaaa}, two = {&set.items[0], 0xbbb};
    load_letter_stamp(&one);
    load_letter_stamp(&two);
    struct cq_slice octets = load_letter_stamp(&one);
    assert_int_equal(octets.len, 3000);
    assert_memory_equal(octets.data + set.items[0].token_at, "0000000000000aaa", LOAD_TOKEN_SIZE);
    load_messages_fini(&set);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fresh, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_same_seed_makes_the_same_octets),
        T(a_wanted_size_is_met_to_the_octet),
        T(lines_end_with_crlf_are_short_and_need_no_stuffing),
        T(the_token_is_in_the_message_id),
        T(the_median_is_16_KiB_and_the_tail_ends_at_1_MiB),
        T(the_messages_are_as_varied_as_real_ones_for_our_own_parser),
        T(a_letter_goes_out_under_its_own_token_whoever_used_its_octets_before),
        T(a_set_is_the_messages_of_its_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
