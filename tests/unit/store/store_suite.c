#include "unit/store/store_suite.h"

#include "unit/cq_cmocka.h"

#include "base/cq_endian.h"
#include "base/cq_rand.h"

#include <stdlib.h>

/* cmocka's group functions take no context. */
static const struct store_backend *backend;

static int setup(void **state)
{
    *state = backend->create(backend->ctx);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    backend->destroy(backend->ctx, *state);
    return 0;
}

static void put(struct store *s, enum store_family family, const char *key, const char *value)
{
    struct store_batch *b = store_batch_new(s);
    store_batch_put(b, family, cq_slice_cstr(key), cq_slice_cstr(value));
    assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
    store_batch_free(&b);
}

static void assert_value(struct store *s, struct store_snapshot *snap, enum store_family family, const char *key,
                         const char *value)
{
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    enum cq_rc rc = store_get(s, snap, family, cq_slice_cstr(key), &out, NULL);
    assert_int_equal(rc, value ? CQ_OK : CQ_E_NOT_FOUND);
    if (value)
        assert_slice(cq_buf_slice(&out), value);
    cq_buf_fini(&out);
}

/* The keys in [from, to) with a blank after each. */
static void assert_keys(struct store *s, struct store_snapshot *snap, const char *from, const char *to,
                        const char *expected)
{
    struct cq_buf got;
    cq_buf_init(&got, 10000);
    struct store_iter *i = store_iter_new(s, snap, STORE_STATE, cq_slice_cstr(from), cq_slice_cstr(to));
    enum cq_rc rc;
    while ((rc = store_iter_next(i)) == CQ_OK) {
        cq_buf_slice_add(&got, store_iter_key(i));
        cq_buf_byte(&got, ' ');
    }
    assert_int_equal(rc, CQ_E_EOF);
    assert_int_equal(store_iter_next(i), CQ_E_EOF);
    store_iter_free(&i);
    assert_null(i);
    assert_slice(cq_buf_slice(&got), expected);
    cq_buf_fini(&got);
}

static void a_written_value_is_read(void **state)
{
    struct store *s = *state;
    assert_value(s, NULL, STORE_STATE, "k", NULL);
    put(s, STORE_STATE, "k", "v1");
    assert_value(s, NULL, STORE_STATE, "k", "v1");
    put(s, STORE_STATE, "k", "v2");
    assert_value(s, NULL, STORE_STATE, "k", "v2");
    put(s, STORE_STATE, "empty", "");
    assert_value(s, NULL, STORE_STATE, "empty", "");
}

static void families_are_separate(void **state)
{
    struct store *s = *state;
    static const char *const values[STORE_FAMILY_COUNT] = {"log", "chunk", "state", "local"};
    for (int f = 0; f < STORE_FAMILY_COUNT; f++)
        put(s, (enum store_family)f, "same", values[f]);
    for (int f = 0; f < STORE_FAMILY_COUNT; f++)
        assert_value(s, NULL, (enum store_family)f, "same", values[f]);
}

static void get_appends_to_the_buffer(void **state)
{
    struct store *s = *state;
    put(s, STORE_STATE, "k", "value");
    struct cq_buf out;
    cq_buf_init(&out, 100);
    cq_buf_cstr(&out, "before ");
    assert_int_equal(store_get(s, NULL, STORE_STATE, CQ_SLICE("k"), &out, NULL), CQ_OK);
    assert_slice(cq_buf_slice(&out), "before value");
    cq_buf_fini(&out);
}

static void a_value_over_the_buffers_maximum_is_a_limit_error(void **state)
{
    struct store *s = *state;
    put(s, STORE_STATE, "k", "12345");
    static const struct {
        size_t max;
        enum cq_rc rc;
    } cases[] = {{5, CQ_OK}, {4, CQ_E_LIMIT}, {0, CQ_E_LIMIT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_buf out;
        cq_buf_init(&out, cases[i].max);
        assert_int_equal(store_get(s, NULL, STORE_STATE, CQ_SLICE("k"), &out, NULL), cases[i].rc);
        cq_buf_fini(&out);
    }
}

static void parts_become_one_value(void **state)
{
    struct store *s = *state;
    struct store_batch *b = store_batch_new(s);
    const struct cq_slice parts[] = {CQ_SLICE("one "), CQ_SLICE_NONE, CQ_SLICE("two"), CQ_SLICE(" three")};
    store_batch_putv(b, STORE_LOG, CQ_SLICE("none"), parts, 0);
    store_batch_putv(b, STORE_LOG, CQ_SLICE("one"), parts, 1);
    store_batch_putv(b, STORE_LOG, CQ_SLICE("all"), parts, 4);
    assert_int_equal(store_write(s, b, true, NULL), CQ_OK);
    store_batch_free(&b);
    assert_value(s, NULL, STORE_LOG, "none", "");
    assert_value(s, NULL, STORE_LOG, "one", "one ");
    assert_value(s, NULL, STORE_LOG, "all", "one two three");
}

static void a_batch_copies_what_it_is_given(void **state)
{
    struct store *s = *state;
    char key[] = "key";
    char value[] = "value";
    struct store_batch *b = store_batch_new(s);
    store_batch_put(b, STORE_STATE, cq_slice_cstr(key), cq_slice_cstr(value));
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
    store_batch_free(&b);
    assert_value(s, NULL, STORE_STATE, "key", "value");
}

static void operations_of_a_batch_act_in_their_order(void **state)
{
    struct store *s = *state;
    put(s, STORE_STATE, "b", "old");
    struct store_batch *b = store_batch_new(s);
    store_batch_put(b, STORE_STATE, CQ_SLICE("a"), CQ_SLICE("1"));
    store_batch_delete(b, STORE_STATE, CQ_SLICE("a"));
    store_batch_delete(b, STORE_STATE, CQ_SLICE("b"));
    store_batch_put(b, STORE_STATE, CQ_SLICE("b"), CQ_SLICE("new"));
    store_batch_put(b, STORE_STATE, CQ_SLICE("c"), CQ_SLICE("3"));
    store_batch_delete_range(b, STORE_STATE, CQ_SLICE("c"), CQ_SLICE("e"));
    store_batch_put(b, STORE_STATE, CQ_SLICE("d"), CQ_SLICE("4"));
    assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
    store_batch_free(&b);
    assert_keys(s, NULL, "", "", "b d ");
    assert_value(s, NULL, STORE_STATE, "b", "new");
}

static void nothing_is_visible_before_the_write(void **state)
{
    struct store *s = *state;
    struct store_batch *b = store_batch_new(s);
    store_batch_put(b, STORE_STATE, CQ_SLICE("k"), CQ_SLICE("v"));
    assert_value(s, NULL, STORE_STATE, "k", NULL);
    store_batch_free(&b);
    assert_null(b);
    store_batch_free(&b);
    assert_value(s, NULL, STORE_STATE, "k", NULL);
}

static void a_cleared_batch_is_empty_and_usable(void **state)
{
    struct store *s = *state;
    struct store_batch *b = store_batch_new(s);
    size_t empty = store_batch_bytes(b);
    store_batch_put(b, STORE_STATE, CQ_SLICE("gone"), CQ_SLICE("v"));
    assert_true(store_batch_bytes(b) > empty);
    store_batch_clear(b);
    assert_int_equal(store_batch_bytes(b), empty);
    store_batch_put(b, STORE_STATE, CQ_SLICE("kept"), CQ_SLICE("v"));
    assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
    store_batch_free(&b);
    assert_keys(s, NULL, "", "", "kept ");
}

static void a_batch_counts_its_bytes(void **state)
{
    struct store *s = *state;
    struct store_batch *b = store_batch_new(s);
    uint8_t value[10000] = {0};
    store_batch_put(b, STORE_CHUNK, CQ_SLICE("k"), cq_slice_of(value, sizeof value));
    assert_in_range(store_batch_bytes(b), sizeof value, sizeof value + 200);
    store_batch_free(&b);
}

static void ranges_include_from_and_exclude_to(void **state)
{
    struct store *s = *state;
    static const char *const keys[] = {"a", "aa", "b", "b\x01", "c", "\xff", "\xff\xff"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        put(s, STORE_STATE, keys[i], "v");
    assert_keys(s, NULL, "", "", "a aa b b\x01 c \xff \xff\xff ");
    assert_keys(s, NULL, "aa", "b", "aa ");
    assert_keys(s, NULL, "aa", "b\x01", "aa b ");
    assert_keys(s, NULL, "ab", "ac", "");
    assert_keys(s, NULL, "c", "", "c \xff \xff\xff ");
    assert_keys(s, NULL, "\xff", "\xff\xff", "\xff ");
    assert_keys(s, NULL, "x", "y", "");
}

static void deleting_a_range_spares_its_end(void **state)
{
    struct store *s = *state;
    static const struct {
        const char *from;
        const char *to;
        const char *left;
    } cases[] = {
        {"b", "c", "a c d "}, {"c", "c", "a c d "}, {"d", "c", "a c d "},
        {"a", "b", "c d "},   {"x", "y", "c d "},   {"", "d", "d "},
    };
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        put(s, STORE_STATE, keys[i], "v");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct store_batch *b = store_batch_new(s);
        store_batch_delete_range(b, STORE_STATE, cq_slice_cstr(cases[i].from), cq_slice_cstr(cases[i].to));
        assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
        store_batch_free(&b);
        assert_keys(s, NULL, "", "", cases[i].left);
    }
    put(s, STORE_STATE, "b", "again");
    assert_keys(s, NULL, "", "", "b d ");
}

static void seek_finds_the_first_key_not_before(void **state)
{
    struct store *s = *state;
    static const char *const keys[] = {"a", "c", "e", "g"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        put(s, STORE_STATE, keys[i], keys[i]);
    struct store_iter *i = store_iter_new(s, NULL, STORE_STATE, CQ_SLICE("b"), CQ_SLICE("g"));
    assert_int_equal(store_iter_seek(i, CQ_SLICE("d")), CQ_OK);
    assert_slice(store_iter_key(i), "e");
    assert_slice(store_iter_value(i), "e");
    assert_int_equal(store_iter_next(i), CQ_E_EOF);
    assert_int_equal(store_iter_seek(i, CQ_SLICE("c")), CQ_OK);
    assert_slice(store_iter_key(i), "c");
    assert_int_equal(store_iter_seek(i, CQ_SLICE("a")), CQ_OK); /* never before the range */
    assert_slice(store_iter_key(i), "c");
    assert_int_equal(store_iter_next(i), CQ_OK);
    assert_slice(store_iter_key(i), "e");
    assert_int_equal(store_iter_seek(i, CQ_SLICE("f")), CQ_E_EOF); /* never past it */
    assert_int_equal(store_iter_seek(i, CQ_SLICE("z")), CQ_E_EOF);
    store_iter_free(&i);
}

static void an_iterator_sees_the_store_of_its_birth(void **state)
{
    struct store *s = *state;
    put(s, STORE_STATE, "a", "1");
    put(s, STORE_STATE, "c", "3");
    struct store_iter *i = store_iter_new(s, NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
    assert_int_equal(store_iter_next(i), CQ_OK);
    put(s, STORE_STATE, "b", "2");
    assert_int_equal(store_iter_next(i), CQ_OK);
    assert_slice(store_iter_key(i), "c");
    store_iter_free(&i);
    assert_keys(s, NULL, "", "", "a b c ");
}

static void a_snapshot_does_not_change(void **state)
{
    struct store *s = *state;
    put(s, STORE_STATE, "a", "1");
    put(s, STORE_STATE, "b", "1");
    struct store_snapshot *snap = store_snapshot_new(s);
    put(s, STORE_STATE, "a", "2");
    put(s, STORE_STATE, "c", "2");
    struct store_batch *b = store_batch_new(s);
    store_batch_delete_range(b, STORE_STATE, CQ_SLICE("b"), CQ_SLICE("c"));
    assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
    store_batch_free(&b);
    assert_value(s, snap, STORE_STATE, "a", "1");
    assert_value(s, snap, STORE_STATE, "c", NULL);
    assert_keys(s, snap, "", "", "a b ");
    assert_keys(s, NULL, "", "", "a c ");
    store_snapshot_free(s, &snap);
    assert_null(snap);
    store_snapshot_free(s, &snap);
}

static void large_values_come_back_whole(void **state)
{
    struct store *s = *state;
    static const size_t sizes[] = {1023, 1024, 1025, 65536, 512 * 1024, 3 * 1024 * 1024};
    struct cq_prng prng = {7};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *value = malloc(sizes[i]);
        for (size_t n = 0; n < sizes[i]; n++)
            value[n] = (uint8_t)cq_prng_next(&prng);
        struct store_batch *b = store_batch_new(s);
        store_batch_put(b, STORE_CHUNK, CQ_SLICE("big"), cq_slice_of(value, sizes[i]));
        assert_int_equal(store_write(s, b, true, NULL), CQ_OK);
        store_batch_free(&b);
        struct cq_buf out;
        cq_buf_init(&out, sizes[i]);
        assert_int_equal(store_get(s, NULL, STORE_CHUNK, CQ_SLICE("big"), &out, NULL), CQ_OK);
        assert_int_equal(out.len, sizes[i]);
        assert_memory_equal(out.data, value, sizes[i]);
        cq_buf_fini(&out);
        free(value);
    }
}

static void keys_are_ordered_by_unsigned_bytes(void **state)
{
    struct store *s = *state;
    static const uint64_t numbers[] = {0, 1, 127, 128, 255, 256, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};
    struct store_batch *b = store_batch_new(s);
    for (size_t i = sizeof numbers / sizeof *numbers; i-- > 0;) {
        uint8_t key[8];
        cq_put_be64(key, numbers[i]);
        store_batch_put(b, STORE_LOG, cq_slice_of(key, 8), CQ_SLICE("v"));
    }
    assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
    store_batch_free(&b);
    struct store_iter *it = store_iter_new(s, NULL, STORE_LOG, CQ_SLICE_NONE, CQ_SLICE_NONE);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_int_equal(store_iter_next(it), CQ_OK);
        assert_int_equal(store_iter_key(it).len, 8);
        assert_true(cq_get_be64(store_iter_key(it).data) == numbers[i]);
    }
    assert_int_equal(store_iter_next(it), CQ_E_EOF);
    store_iter_free(&it);
}

/* A model of 256 keys is compared after each of many random batches. */
static void random_batches_leave_what_a_model_says(void **state)
{
    struct store *s = *state;
    struct cq_prng prng = {42};
    int model[256];
    memset(model, -1, sizeof model);
    for (int round = 0; round < 200; round++) {
        struct store_batch *b = store_batch_new(s);
        for (int n = (int)cq_prng_below(&prng, 12); n >= 0; n--) {
            uint8_t key = (uint8_t)cq_prng_next(&prng), to = (uint8_t)cq_prng_next(&prng);
            uint8_t value = (uint8_t)cq_prng_next(&prng);
            uint32_t kind = cq_prng_below(&prng, 10);
            if (kind < 7) {
                store_batch_put(b, STORE_STATE, cq_slice_of(&key, 1), cq_slice_of(&value, 1));
                model[key] = value;
            } else if (kind < 9) {
                store_batch_delete(b, STORE_STATE, cq_slice_of(&key, 1));
                model[key] = -1;
            } else {
                to = (uint8_t)(key + to % 16 < 256 ? key + to % 16 : 255);
                store_batch_delete_range(b, STORE_STATE, cq_slice_of(&key, 1), cq_slice_of(&to, 1));
                for (int k = key; k < to; k++)
                    model[k] = -1;
            }
        }
        assert_int_equal(store_write(s, b, false, NULL), CQ_OK);
        store_batch_free(&b);
        if (backend->reopen && round % 50 == 49)
            *state = s = backend->reopen(backend->ctx, s);
        struct store_iter *i = store_iter_new(s, NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
        for (int k = 0; k < 256; k++) {
            if (model[k] < 0)
                continue;
            assert_int_equal(store_iter_next(i), CQ_OK);
            assert_int_equal(store_iter_key(i).data[0], k);
            assert_int_equal(store_iter_value(i).data[0], model[k]);
        }
        assert_int_equal(store_iter_next(i), CQ_E_EOF);
        store_iter_free(&i);
    }
}

static void what_was_written_is_there_after_a_reopen(void **state)
{
    struct store *s = *state;
    if (!backend->reopen)
        return;
    put(s, STORE_STATE, "state", "1");
    put(s, STORE_LOG, "log", "2");
    uint8_t body[5000];
    memset(body, 'b', sizeof body);
    struct store_batch *b = store_batch_new(s);
    store_batch_put(b, STORE_CHUNK, CQ_SLICE("body"), cq_slice_of(body, sizeof body));
    assert_int_equal(store_write(s, b, true, NULL), CQ_OK);
    store_batch_free(&b);
    *state = s = backend->reopen(backend->ctx, s);
    assert_non_null(s);
    assert_value(s, NULL, STORE_STATE, "state", "1");
    assert_value(s, NULL, STORE_LOG, "log", "2");
    struct cq_buf out;
    cq_buf_init(&out, sizeof body);
    assert_int_equal(store_get(s, NULL, STORE_CHUNK, CQ_SLICE("body"), &out, NULL), CQ_OK);
    assert_memory_equal(out.data, body, sizeof body);
    cq_buf_fini(&out);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int store_suite_run(const struct store_backend *b)
{
    static const struct CMUnitTest tests[] = {
        CASE(a_written_value_is_read),
        CASE(families_are_separate),
        CASE(get_appends_to_the_buffer),
        CASE(a_value_over_the_buffers_maximum_is_a_limit_error),
        CASE(parts_become_one_value),
        CASE(a_batch_copies_what_it_is_given),
        CASE(operations_of_a_batch_act_in_their_order),
        CASE(nothing_is_visible_before_the_write),
        CASE(a_cleared_batch_is_empty_and_usable),
        CASE(a_batch_counts_its_bytes),
        CASE(ranges_include_from_and_exclude_to),
        CASE(deleting_a_range_spares_its_end),
        CASE(seek_finds_the_first_key_not_before),
        CASE(an_iterator_sees_the_store_of_its_birth),
        CASE(a_snapshot_does_not_change),
        CASE(large_values_come_back_whole),
        CASE(keys_are_ordered_by_unsigned_bytes),
        CASE(random_batches_leave_what_a_model_says),
        CASE(what_was_written_is_there_after_a_reopen),
    };
    backend = b;
    return cmocka_run_group_tests_name(b->name, tests, NULL, NULL);
}
