#include "directory/dir_known.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint8_t key[DIR_KNOWN_KEY_SIZE] = {1, 2, 3}, other_key[DIR_KNOWN_KEY_SIZE] = {1, 2, 4};
static const struct dir_known_head head = {.written_us = 17, .seen = 4711, .origin = CQ_SLICE("mail")};

static const uint64_t targets[] = {7, UINT64_MAX};
static struct dir_credential credentials[] = {
    {.id = 3,
     .account_id = 7,
     .kind = DIR_PASSWORD,
     .scopes = DIR_ALL_SERVICES,
     .hash = CQ_SLICE("$argon2id$x"),
     .created_us = 1,
     .version = 9},
    {.id = 4,
     .account_id = 7,
     .kind = DIR_APP_PASSWORD,
     .scopes = DIR_IMAP,
     .prefix = CQ_SLICE("abcd"),
     .hash = CQ_SLICE("h"),
     .label = CQ_SLICE("my phone"),
     .expires_us = 5,
     .last_used_us = 6},
};
static const struct dir_domain domain = {.id = 1,
                                         .name = CQ_SLICE("b.test"),
                                         .alias_of = 2,
                                         .alias_of_name = CQ_SLICE("a.test"),
                                         .postmaster = 7,
                                         .version = 3};
static const struct dir_address_row address = {
    .address = CQ_SLICE("x@a.test"), .kind = DIR_ALIAS, .targets = targets, .target_count = 2};
static const uint64_t first = 7;
static struct dir_account account = {.id = 7,
                                     .version = 12,
                                     .domain_id = 2,
                                     .address = CQ_SLICE("x@a.test"),
                                     .state = DIR_DISABLED,
                                     .services = DIR_IMAP | DIR_SMTP,
                                     .admin = true,
                                     .home_dc = CQ_SLICE("dc1"),
                                     .quota_bytes = 1000,
                                     .quota_messages = 10,
                                     .created_us = 11,
                                     .state_us = 12};
static const struct dir_row_credentials list = {credentials, 2}, nothing = {credentials, 0};

static struct dir_row rows[] = {
    {.kind = DIR_ROW_DOMAIN, .text = CQ_SLICE("b.test"), .read_us = 100, .value = &domain},
    {.kind = DIR_ROW_ADDRESS, .number = 2, .text = CQ_SLICE("x"), .read_us = 101, .value = &address},
    {.kind = DIR_ROW_FIRST, .number = 2, .text = CQ_SLICE("admin"), .read_us = 102, .value = &first},
    {.kind = DIR_ROW_ACCOUNT, .number = 7, .read_us = 103, .value = &account},
    {.kind = DIR_ROW_CREDENTIALS, .number = 7, .read_us = 104, .value = &list},
    {.kind = DIR_ROW_CREDENTIALS, .number = 8, .read_us = 105, .value = &nothing},
};
#define ROWS (sizeof rows / sizeof *rows)

static int setup(void **state)
{
    (void)state;
    account.plan = dir_plan_find(CQ_SLICE("business"));
    return account.plan ? 0 : -1;
}

/* ---- What was read, as bytes: two rows are the same when they are written the same ---- */

struct seen {
    struct cq_buf rows;
    size_t count;
    struct dir_known_head head;
    char origin[DIR_KNOWN_ORIGIN_MAX + 1];
    enum cq_rc refuse;
};

static enum cq_rc see_head(const struct dir_known_head *h, void *ctx, struct cq_err *err)
{
    struct seen *seen = ctx;
    seen->head = *h;
    snprintf(seen->origin, sizeof seen->origin, "%.*s", CQ_SLICE_ARG(h->origin));
    return seen->refuse == CQ_OK ? CQ_OK : CQ_FAIL(err, seen->refuse, "refused");
}

static void see_row(const struct dir_row *row, void *ctx)
{
    struct seen *seen = ctx;
    seen->count++;
    assert_true(dir_row_put(&seen->rows, row));
}

static void seen_fini(struct seen *seen)
{
    cq_buf_fini(&seen->rows);
}

/* The file in pieces of `piece` bytes. */
static enum cq_rc read_file(struct cq_slice file, const uint8_t *with, size_t piece, struct seen *seen,
                            struct cq_err *err)
{
    const struct dir_known_take take = {see_head, see_row, seen};
    struct dir_known_reader *reader = dir_known_reader_new(with, &take);
    enum cq_rc rc = CQ_OK;
    cq_buf_init(&seen->rows, 64u << 20);
    for (size_t at = 0; at < file.len && rc == CQ_OK; at += piece)
        rc = dir_known_reader_feed(reader, cq_slice_sub(file, at, piece), err);
    if (rc == CQ_OK)
        rc = dir_known_reader_end(reader, err);
    dir_known_reader_free(&reader);
    return rc;
}

/* `times` rounds of all rows. */
static struct cq_buf write_file(size_t times)
{
    struct cq_buf out;
    cq_buf_init(&out, 64u << 20);
    struct dir_known_writer *writer = dir_known_writer_new(key, &head, &out);
    for (size_t i = 0; i < times * ROWS; i++)
        assert_true(dir_known_writer_add(writer, &rows[i % ROWS]));
    dir_known_writer_end(writer);
    dir_known_writer_free(&writer);
    return out;
}

static void expect_refused(struct cq_slice file, const uint8_t *with, const char *words)
{
    struct seen seen = {0};
    struct cq_err err = {0};
    enum cq_rc rc = read_file(file, with, file.len + 1, &seen, &err);
    if (rc == CQ_OK || !strstr(err.text, words) || strchr(err.text, '\n'))
        fail_msg("%s: %s, want \"%s\"", cq_rc_name(rc), err.text, words);
    seen_fini(&seen);
}

/* ---- Tests ---- */

static void what_is_written_is_read_whole_and_byte_by_byte(void **state)
{
    (void)state;
    static const size_t times[] = {0, 1, 2000}; /* the last: many chunks */
    struct cq_buf expected;
    cq_buf_init(&expected, 64u << 20);
    for (size_t t = 0; t < 3; t++) {
        struct cq_buf file = write_file(times[t]);
        expected.len = 0;
        for (size_t i = 0; i < times[t] * ROWS; i++)
            assert_true(dir_row_put(&expected, &rows[i % ROWS]));
        for (size_t piece = 1; piece <= file.len; piece = piece * 37 + 5) {
            struct seen seen = {0};
            struct cq_err err = {0};
            if (read_file(cq_buf_slice(&file), key, piece, &seen, &err) != CQ_OK)
                fail_msg("%s", err.text);
            assert_int_equal(seen.count, times[t] * ROWS);
            assert_int_equal(seen.rows.len, expected.len);
            assert_true(expected.len == 0 || memcmp(seen.rows.data, expected.data, expected.len) == 0);
            assert_true(seen.head.written_us == 17 && seen.head.seen == 4711);
            assert_string_equal(seen.origin, "mail");
            seen_fini(&seen);
        }
        cq_buf_fini(&file);
    }
    cq_buf_fini(&expected);
}

static void each_kind_of_row_comes_back_as_it_was(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_buf bytes;
    struct dir_row row;
    cq_buf_init(&bytes, DIR_ROW_MAX);
    assert_true(dir_row_put(&bytes, &rows[3]));
    struct cq_slice in = cq_buf_slice(&bytes);
    assert_int_equal(dir_row_get(&in, pool, &row, NULL), CQ_OK);
    const struct dir_account *a = row.value;
    assert_true(row.kind == DIR_ROW_ACCOUNT && row.number == 7 && row.read_us == 103 && row.text.len == 0);
    assert_true(a->id == 7 && a->version == 12 && a->domain_id == 2 && a->state == DIR_DISABLED && a->admin);
    assert_true(a->services == (DIR_IMAP | DIR_SMTP) && a->plan == account.plan && a->quota_bytes == 1000);
    assert_true(a->quota_messages == 10 && a->created_us == 11 && a->state_us == 12);
    assert_slice(a->address, "x@a.test");
    assert_slice(a->home_dc, "dc1");
    bytes.len = 0;
    assert_true(dir_row_put(&bytes, &rows[4]));
    in = cq_buf_slice(&bytes);
    assert_int_equal(dir_row_get(&in, pool, &row, NULL), CQ_OK);
    const struct dir_row_credentials *c = row.value;
    assert_int_equal(c->count, 2);
    assert_true(c->rows[1].kind == DIR_APP_PASSWORD && c->rows[1].expires_us == 5 && c->rows[0].version == 9);
    assert_slice(c->rows[0].hash, "$argon2id$x");
    assert_slice(c->rows[1].label, "my phone");
    cq_buf_fini(&bytes);
    cq_pool_free(&pool);
}

static void a_row_that_ends_too_early_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        struct cq_buf bytes;
        cq_buf_init(&bytes, DIR_ROW_MAX);
        assert_true(dir_row_put(&bytes, &rows[i]));
        for (size_t len = 0; len < bytes.len; len++) {
            struct cq_pool *pool = cq_pool_new(1024);
            uint8_t *exact = len ? malloc(len) : NULL;
            struct dir_row row;
            if (len)
                memcpy(exact, bytes.data, len);
            struct cq_slice in = cq_slice_of(exact, len);
            assert_int_equal(dir_row_get(&in, pool, &row, NULL), CQ_E_CORRUPT);
            free(exact);
            cq_pool_free(&pool);
        }
        cq_buf_fini(&bytes);
    }
}

static void numbers_that_no_row_has_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t row, at;
        uint8_t value;
    } cases[] = {
        {0, 0, DIR_ROW_KINDS},                         /* kind of row */
        {1, 1 + 8 + 3 + 8 + 10, 3},                    /* kind of address */
        {1, 1 + 8 + 3 + 8 + 11 + 3, 1},                /* 2^24 targets */
        {3, 1 + 8 + 2 + 8 + 24 + 10, DIR_STATE_COUNT}, /* state */
        {3, 1 + 8 + 2 + 8 + 24 + 10 + 5, 2},           /* admin */
        {3, 1 + 8 + 2 + 8 + 24 + 10 + 8, 'B'} /* plan "Business" */,
        {4, 1 + 8 + 2 + 8 + 3, 1},      /* 2^24 credentials */
        {4, 1 + 8 + 2 + 8 + 4 + 16, 2}, /* kind of credential */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_pool *pool = cq_pool_new(1024);
        struct cq_buf bytes;
        struct dir_row row;
        cq_buf_init(&bytes, DIR_ROW_MAX);
        assert_true(dir_row_put(&bytes, &rows[cases[i].row]));
        struct cq_slice in = cq_buf_slice(&bytes);
        assert_int_equal(dir_row_get(&in, pool, &row, NULL), CQ_OK);
        assert_int_equal(in.len, 0);
        bytes.data[cases[i].at] = cases[i].value;
        in = cq_buf_slice(&bytes);
        if (dir_row_get(&in, pool, &row, NULL) != CQ_E_CORRUPT)
            fail_msg("case %zu", i);
        cq_buf_fini(&bytes);
        cq_pool_free(&pool);
    }
}

static void a_row_that_is_too_long_is_left_out_and_the_others_stay(void **state)
{
    (void)state;
    static uint8_t text[DIR_ROW_MAX];
    static const size_t lens[] = {DIR_ROW_MAX - 100, DIR_ROW_MAX, UINT16_MAX};
    static const bool kept[] = {true, false, false};
    struct cq_err err = {0};
    for (size_t i = 0; i < 3; i++) {
        struct cq_buf out;
        struct seen seen = {0};
        struct dir_credential long_one = {.hash = cq_slice_of(text, lens[i])};
        const struct dir_row_credentials one = {&long_one, 1};
        const struct dir_row row = {.kind = DIR_ROW_CREDENTIALS, .value = &one};
        cq_buf_init(&out, 1u << 20);
        struct dir_known_writer *writer = dir_known_writer_new(key, &head, &out);
        assert_true(dir_known_writer_add(writer, &rows[0]));
        assert_int_equal(dir_known_writer_add(writer, &row), kept[i]);
        assert_true(dir_known_writer_add(writer, &rows[1]));
        dir_known_writer_end(writer);
        dir_known_writer_free(&writer);
        if (read_file(cq_buf_slice(&out), key, out.len, &seen, &err) != CQ_OK)
            fail_msg("%s", err.text);
        assert_int_equal(seen.count, 2 + kept[i]);
        seen_fini(&seen);
        cq_buf_fini(&out);
    }
}

static void a_file_that_is_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    struct cq_buf file = write_file(1);
    for (size_t len = 0; len < file.len; len++)
        expect_refused(cq_slice_of(file.data, len), key, "");
    expect_refused(cq_slice_of(file.data, file.len - 1), key, "cut short");
    cq_buf_byte(&file, 0);
    expect_refused(cq_buf_slice(&file), key, "after its end");
    cq_buf_fini(&file);
}

static void a_file_in_which_any_byte_was_changed_is_refused(void **state)
{
    (void)state;
    struct cq_buf file = write_file(1);
    for (size_t at = 0; at < file.len; at++) {
        file.data[at] ^= 0x40;
        expect_refused(cq_buf_slice(&file), key, "");
        file.data[at] ^= 0x40;
    }
    cq_buf_fini(&file);
}

static void what_is_wrong_with_a_file_is_said(void **state)
{
    (void)state;
    struct cq_buf file = write_file(1);
    expect_refused(cq_buf_slice(&file), other_key, "another key");
    expect_refused(CQ_SLICE("From: somebody@example.test, and forty more characters"), key, "no file of known rows");
    expect_refused(CQ_SLICE_NONE, key, "cut short");
    file.data[8] = 2;
    expect_refused(cq_buf_slice(&file), key, "format 2");
    file.data[8] = 1;
    file.data[60] ^= 1;
    expect_refused(cq_buf_slice(&file), key, "another key");
    cq_buf_fini(&file);
}

static void chunks_that_change_places_are_refused(void **state)
{
    (void)state;
    struct cq_buf file = write_file(3000), swapped;
    size_t at = 40 + 4 + 17 + 22; /* after the head; every full chunk has the same rows, so perhaps the same length */
    size_t one = 4 + cq_slice_of(file.data, file.len).data[at] + 256u * file.data[at + 1] + 65536u * file.data[at + 2];
    size_t two = 4 + file.data[at + one] + 256u * file.data[at + one + 1] + 65536u * file.data[at + one + 2];
    cq_buf_init(&swapped, file.len);
    cq_buf_add(&swapped, file.data, at);
    cq_buf_add(&swapped, file.data + at + one, two);
    cq_buf_add(&swapped, file.data + at, one);
    cq_buf_add(&swapped, file.data + at + one + two, file.len - at - one - two);
    assert_int_equal(swapped.len, file.len);
    expect_refused(cq_buf_slice(&swapped), key, "damaged");
    cq_buf_fini(&file);
    cq_buf_fini(&swapped);
}

static void a_head_that_is_refused_ends_it_before_any_row(void **state)
{
    (void)state;
    struct cq_buf file = write_file(1);
    struct seen seen = {.refuse = CQ_E_STALE};
    struct cq_err err = {0};
    assert_int_equal(read_file(cq_buf_slice(&file), key, 1, &seen, &err), CQ_E_STALE);
    assert_int_equal(seen.count, 0);
    seen_fini(&seen);
    cq_buf_fini(&file);
}

static void no_secret_is_in_the_file_and_no_two_files_are_alike(void **state)
{
    (void)state;
    struct cq_buf one = write_file(1), two = write_file(1);
    assert_null(memmem(one.data, one.len, "argon2id", 8));
    assert_null(memmem(one.data, one.len, "a.test", 6));
    assert_int_equal(one.len, two.len);
    assert_memory_not_equal(one.data + 16, two.data + 16, one.len - 16);
    cq_buf_fini(&one);
    cq_buf_fini(&two);
}

static void the_key_is_made_of_a_long_enough_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"0123456789abcdef0123456789abcdef\n", true},
        {"0123456789abcdef0123456789abcdef", true},
        {"0123456789abcdef0123456789abcde\n", false},
        {"", false},
    };
    char path[] = "/tmp/chasqui-key-XXXXXX";
    uint8_t keys[4][DIR_KNOWN_KEY_SIZE] = {{0}};
    struct cq_err err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), strlen(cases[i].text));
        assert_int_equal(dir_known_key(path, keys[i], &err), cases[i].good ? CQ_OK : CQ_E_CONFIG);
    }
    assert_memory_equal(keys[0], keys[1], DIR_KNOWN_KEY_SIZE);
    assert_memory_not_equal(keys[0], keys[2], DIR_KNOWN_KEY_SIZE);
    close(fd);
    unlink(path);
    assert_int_equal(dir_known_key(path, keys[0], &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_whole_and_byte_by_byte),
        cmocka_unit_test(each_kind_of_row_comes_back_as_it_was),
        cmocka_unit_test(a_row_that_ends_too_early_is_none),
        cmocka_unit_test(numbers_that_no_row_has_are_refused),
        cmocka_unit_test(a_row_that_is_too_long_is_left_out_and_the_others_stay),
        cmocka_unit_test(a_file_that_is_cut_at_any_byte_is_refused),
        cmocka_unit_test(a_file_in_which_any_byte_was_changed_is_refused),
        cmocka_unit_test(what_is_wrong_with_a_file_is_said),
        cmocka_unit_test(chunks_that_change_places_are_refused),
        cmocka_unit_test(a_head_that_is_refused_ends_it_before_any_row),
        cmocka_unit_test(no_secret_is_in_the_file_and_no_two_files_are_alike),
        cmocka_unit_test(the_key_is_made_of_a_long_enough_line),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
