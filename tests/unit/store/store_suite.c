#include "unit/store/store_suite.h"

#include "unit/cq_cmocka.h"

#include <string.h>

static struct store *open_store(void **state)
{
    struct store_suite *suite = *state;
    return suite->open(suite->arg);
}

static void put(struct store *store, const char *key, const char *value)
{
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_STATE, cq_slice_cstr(key), cq_slice_cstr(value));
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void put_all(struct store *store, const char *keys)
{
    for (; *keys; keys++)
        put(store, (char[]){*keys, 0}, (char[]){*keys, *keys, 0});
}

/* The keys that an iterator gives from where it stands, one character each. */
static void assert_keys(struct store_iter *iter, const char *want)
{
    for (; *want; want++) {
        assert_int_equal(store_iter_next(iter), CQ_OK);
        assert_slice(store_iter_key(iter), ((char[]){*want, 0}));
        assert_slice(store_iter_value(iter), ((char[]){*want, *want, 0}));
    }
    assert_int_equal(store_iter_next(iter), CQ_E_EOF);
    assert_int_equal(store_iter_next(iter), CQ_E_EOF);
}

static void assert_range(struct store *store, struct store_snapshot *snapshot, const char *from, const char *to,
                         const char *want)
{
    struct store_iter *iter = store_iter_new(store, snapshot, STORE_STATE, cq_slice_cstr(from), cq_slice_cstr(to));
    assert_keys(iter, want);
    store_iter_free(&iter);
}

void a_value_is_read_back_as_its_parts_put_together(void **state)
{
    struct store *store = open_store(state);
    struct store_batch *batch = store_batch_new(store);
    const struct cq_slice parts[] = {CQ_SLICE("one "), CQ_SLICE_NONE, CQ_SLICE("two")};
    store_batch_putv(batch, STORE_CHUNK, CQ_SLICE("k\0k"), parts, 3);
    store_batch_put(batch, STORE_CHUNK, CQ_SLICE("empty"), CQ_SLICE_NONE);
    assert_true(store_batch_bytes(batch) >= 10);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    struct cq_buf out;
    cq_buf_init(&out, 100);
    assert_int_equal(store_get(store, NULL, STORE_CHUNK, CQ_SLICE("k\0k"), &out, NULL), CQ_OK);
    assert_int_equal(store_get(store, NULL, STORE_CHUNK, CQ_SLICE("empty"), &out, NULL), CQ_OK);
    assert_slice(cq_buf_slice(&out), "one two");
    cq_buf_fini(&out);
    store_close(&store);
}

void a_missing_key_is_not_found(void **state)
{
    struct store *store = open_store(state);
    struct cq_buf out;
    cq_buf_init(&out, 100);
    put_all(store, "ac");
    assert_int_equal(store_get(store, NULL, STORE_STATE, CQ_SLICE("b"), &out, NULL), CQ_E_NOT_FOUND);
    assert_int_equal(store_get(store, NULL, STORE_STATE, CQ_SLICE(""), &out, NULL), CQ_E_NOT_FOUND);
    assert_int_equal(out.len, 0);
    cq_buf_fini(&out);
    store_close(&store);
}

void a_value_over_the_buffers_maximum_is_a_limit(void **state)
{
    struct store *store = open_store(state);
    struct cq_buf out;
    cq_buf_init(&out, 3);
    put(store, "k", "four");
    assert_int_equal(store_get(store, NULL, STORE_STATE, CQ_SLICE("k"), &out, NULL), CQ_E_LIMIT);
    cq_buf_fini(&out);
    store_close(&store);
}

void keys_come_in_byte_order_within_the_range(void **state)
{
    struct store *store = open_store(state);
    assert_range(store, NULL, "", "", "");
    put_all(store, "dbeca");
    assert_range(store, NULL, "", "", "abcde");
    assert_range(store, NULL, "b", "d", "bc");
    assert_range(store, NULL, "bb", "", "cde");
    assert_range(store, NULL, "x", "", "");
    assert_range(store, NULL, "b", "b", "");
    store_close(&store);
}

void seek_goes_to_the_first_key_not_below(void **state)
{
    struct store *store = open_store(state);
    put_all(store, "abdfg");
    struct store_iter *iter = store_iter_new(store, NULL, STORE_STATE, CQ_SLICE("b"), CQ_SLICE("g"));
    assert_int_equal(store_iter_seek(iter, CQ_SLICE("c")), CQ_OK);
    assert_slice(store_iter_key(iter), "d");
    assert_keys(iter, "f");
    assert_int_equal(store_iter_seek(iter, CQ_SLICE("g")), CQ_E_EOF); /* outside the range */
    assert_int_equal(store_iter_seek(iter, CQ_SLICE("a")), CQ_OK);
    assert_slice(store_iter_key(iter), "b");
    assert_keys(iter, "df");
    store_iter_free(&iter);
    store_close(&store);
}

void a_batch_acts_in_the_order_of_its_operations(void **state)
{
    struct store *store = open_store(state);
    put_all(store, "abc");
    struct store_batch *batch = store_batch_new(store);
    store_batch_delete_range(batch, STORE_STATE, CQ_SLICE("a"), CQ_SLICE("z"));
    store_batch_put(batch, STORE_STATE, CQ_SLICE("b"), CQ_SLICE("bb"));
    store_batch_put(batch, STORE_STATE, CQ_SLICE("d"), CQ_SLICE("dd"));
    store_batch_put(batch, STORE_STATE, CQ_SLICE("e"), CQ_SLICE("ee"));
    store_batch_delete(batch, STORE_STATE, CQ_SLICE("d"));
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK);
    assert_range(store, NULL, "", "", "be");
    store_batch_clear(batch);
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK); /* empty now */
    assert_range(store, NULL, "", "", "be");
    store_batch_free(&batch);
    store_close(&store);
}

void a_range_deletion_spares_its_end(void **state)
{
    struct store *store = open_store(state);
    put_all(store, "abcde");
    struct store_batch *batch = store_batch_new(store);
    store_batch_delete_range(batch, STORE_STATE, CQ_SLICE("b"), CQ_SLICE("d"));
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_range(store, NULL, "", "", "ade");
    store_close(&store);
}

void families_do_not_mix(void **state)
{
    struct store *store = open_store(state);
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_LOG, CQ_SLICE("x"), CQ_SLICE("log"));
    store_batch_put(batch, STORE_LOCAL, CQ_SLICE("x"), CQ_SLICE("local"));
    store_batch_delete_range(batch, STORE_STATE, CQ_SLICE("a"), CQ_SLICE("z"));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    struct cq_buf out;
    cq_buf_init(&out, 100);
    assert_int_equal(store_get(store, NULL, STORE_LOG, CQ_SLICE("x"), &out, NULL), CQ_OK);
    assert_int_equal(store_get(store, NULL, STORE_LOCAL, CQ_SLICE("x"), &out, NULL), CQ_OK);
    assert_slice(cq_buf_slice(&out), "loglocal");
    assert_int_equal(store_get(store, NULL, STORE_STATE, CQ_SLICE("x"), &out, NULL), CQ_E_NOT_FOUND);
    cq_buf_fini(&out);
    store_close(&store);
}

void an_iterator_and_a_snapshot_see_the_moment_of_their_birth(void **state)
{
    struct store *store = open_store(state);
    put_all(store, "abcd");
    struct store_snapshot *snapshot = store_snapshot_new(store);
    struct store_iter *iter = store_iter_new(store, NULL, STORE_STATE, CQ_SLICE("a"), CQ_SLICE_NONE);
    assert_int_equal(store_iter_next(iter), CQ_OK);
    struct store_batch *batch = store_batch_new(store);
    store_batch_delete(batch, STORE_STATE, CQ_SLICE("a"));
    store_batch_delete(batch, STORE_STATE, CQ_SLICE("b"));
    store_batch_put(batch, STORE_STATE, CQ_SLICE("bb"), CQ_SLICE("new"));
    store_batch_put(batch, STORE_STATE, CQ_SLICE("c"), CQ_SLICE("changed"));
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK);
    store_batch_free(&batch);
    put(store, "c", "again");
    assert_slice(store_iter_value(iter), "aa");
    assert_keys(iter, "bcd");
    store_iter_free(&iter);
    assert_range(store, snapshot, "", "", "abcd");
    struct cq_buf out;
    cq_buf_init(&out, 100);
    assert_int_equal(store_get(store, snapshot, STORE_STATE, CQ_SLICE("c"), &out, NULL), CQ_OK);
    assert_int_equal(store_get(store, NULL, STORE_STATE, CQ_SLICE("c"), &out, NULL), CQ_OK);
    assert_slice(cq_buf_slice(&out), "ccagain");
    assert_int_equal(store_get(store, snapshot, STORE_STATE, CQ_SLICE("bb"), &out, NULL), CQ_E_NOT_FOUND);
    cq_buf_fini(&out);
    store_snapshot_free(store, &snapshot);
    store_close(&store);
}
