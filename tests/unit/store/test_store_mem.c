#include "store/store_mem.h"

#include "base/cq_rand.h"

#include "unit/cq_cmocka.h"
#include "unit/store/store_suite.h"

static struct store *create_mem(void *ctx)
{
    (void)ctx;
    return store_mem_new();
}

/* A synced crash is the nearest to a close: what was written stays, nothing else does. */
static struct store *reopen_mem(void *ctx, struct store *store)
{
    (void)ctx;
    store_mem_crash(store, store_mem_unsynced(store));
    return store;
}

static void destroy_mem(void *ctx, struct store *store)
{
    (void)ctx;
    store_close(&store);
}

static void write_one(struct store *store, const char *key, const char *value, bool sync)
{
    struct store_batch *batch = store_batch_new(store);
    if (value)
        store_batch_put(batch, STORE_LOG, cq_slice_cstr(key), cq_slice_cstr(value));
    else
        store_batch_delete(batch, STORE_LOG, cq_slice_cstr(key));
    assert_int_equal(store_write(store, batch, sync, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void assert_value(struct store *store, const char *key, const char *want)
{
    struct cq_buf out;
    cq_buf_init(&out, 100);
    enum cq_rc rc = store_get(store, NULL, STORE_LOG, cq_slice_cstr(key), &out, NULL);
    assert_int_equal(rc, want ? CQ_OK : CQ_E_NOT_FOUND);
    if (want)
        assert_slice(cq_buf_slice(&out), want);
    cq_buf_fini(&out);
}

/* Four writes: put k=1 (synced), put k=2 and n=1, delete k, put k=3. */
static struct store *four_writes(void)
{
    struct store *store = store_mem_new();
    write_one(store, "k", "1", true);
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_LOG, CQ_SLICE("k"), CQ_SLICE("2"));
    store_batch_put(batch, STORE_LOG, CQ_SLICE("n"), CQ_SLICE("1"));
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK);
    store_batch_free(&batch);
    write_one(store, "k", NULL, false);
    write_one(store, "k", "3", false);
    return store;
}

static void a_crash_keeps_what_was_synced_and_the_oldest_of_the_rest(void **state)
{
    (void)state;
    static const struct {
        size_t keep;
        const char *k, *n;
    } cases[] = {{0, "1", NULL}, {1, "2", "1"}, {2, NULL, "1"}, {3, "3", "1"}};
    for (size_t i = 0; i < 4; i++) {
        struct store *store = four_writes();
        assert_int_equal(store_mem_unsynced(store), 3);
        store_mem_crash(store, cases[i].keep);
        assert_value(store, "k", cases[i].k);
        assert_value(store, "n", cases[i].n);
        assert_int_equal(store_mem_unsynced(store), 0);
        store_mem_crash(store, 0); /* what survived once is durable */
        assert_value(store, "k", cases[i].k);
        store_close(&store);
    }
}

static void a_synced_write_makes_all_before_it_durable(void **state)
{
    (void)state;
    struct store *store = four_writes();
    write_one(store, "x", "y", true);
    assert_int_equal(store_mem_unsynced(store), 0);
    store_mem_crash(store, 0);
    assert_value(store, "k", "3");
    assert_value(store, "x", "y");
    store_close(&store);
    store = four_writes();
    store_mem_sync(store);
    store_mem_crash(store, 0);
    assert_value(store, "k", "3");
    store_close(&store);
}

static void a_crash_undoes_a_range_deletion(void **state)
{
    (void)state;
    struct store *store = store_mem_new();
    write_one(store, "a", "1", true);
    write_one(store, "b", "2", true);
    struct store_batch *batch = store_batch_new(store);
    store_batch_delete_range(batch, STORE_LOG, CQ_SLICE("a"), CQ_SLICE("c"));
    store_batch_put(batch, STORE_LOG, CQ_SLICE("a"), CQ_SLICE("3"));
    assert_int_equal(store_write(store, batch, false, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_value(store, "a", "3");
    assert_value(store, "b", NULL);
    store_mem_crash(store, 0);
    assert_value(store, "a", "1");
    assert_value(store, "b", "2");
    store_close(&store);
}

static void the_nth_write_and_all_after_it_fail_and_change_nothing(void **state)
{
    (void)state;
    struct store *store = store_mem_new();
    store_mem_fail_write(store, 2);
    write_one(store, "a", "1", true);
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_LOG, CQ_SLICE("a"), CQ_SLICE("2"));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_E_IO);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_E_IO);
    assert_value(store, "a", "1");
    store_mem_fail_write(store, 0);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    assert_value(store, "a", "2");
    store_batch_free(&batch);
    store_close(&store);
}

static void a_corrupted_value_reads_differently(void **state)
{
    (void)state;
    struct store *store = store_mem_new();
    write_one(store, "a", "value", true);
    assert_false(store_mem_corrupt(store, STORE_LOG, CQ_SLICE("b"), 0));
    assert_true(store_mem_corrupt(store, STORE_LOG, CQ_SLICE("a"), 6));
    assert_value(store, "a", "vqlue");
    store_close(&store);
}

/* A thousand random batches against a plain array of what each key should hold, with crashes in between. */
enum { MODEL_KEYS = 40 };
struct model {
    int value[MODEL_KEYS]; /* 0: absent */
};

static void model_check(struct store *store, const struct model *model)
{
    struct store_iter *iter = store_iter_new(store, NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
    for (int i = 0; i < MODEL_KEYS; i++) {
        if (!model->value[i])
            continue;
        assert_int_equal(store_iter_next(iter), CQ_OK);
        assert_int_equal(store_iter_key(iter).data[0], i);
        assert_int_equal(store_iter_value(iter).len, (size_t)model->value[i]);
    }
    assert_int_equal(store_iter_next(iter), CQ_E_EOF);
    store_iter_free(&iter);
}

static void model_step(struct store_batch *batch, struct model *model, struct cq_prng *prng)
{
    uint8_t key = (uint8_t)cq_prng_below(prng, MODEL_KEYS), to = (uint8_t)cq_prng_below(prng, MODEL_KEYS);
    static const uint8_t zeros[32];
    uint32_t size = 1 + cq_prng_below(prng, 30);
    switch (cq_prng_below(prng, 8)) {
    case 0:
        store_batch_delete_range(batch, STORE_STATE, cq_slice_of(&key, 1), cq_slice_of(&to, 1));
        for (int i = key; i < to; i++)
            model->value[i] = 0;
        break;
    case 1:
    case 2:
        store_batch_delete(batch, STORE_STATE, cq_slice_of(&key, 1));
        model->value[key] = 0;
        break;
    default:
        store_batch_put(batch, STORE_STATE, cq_slice_of(&key, 1), cq_slice_of(zeros, size));
        model->value[key] = (int)size;
    }
}

static void random_batches_and_crashes_match_a_plain_model(void **state)
{
    (void)state;
    struct cq_prng prng = {.state = 7};
    struct store *store = store_mem_new();
    struct model after[9] = {0}; /* after[i]: what i unsynced batches give */
    size_t unsynced = 0;
    for (int round = 0; round < 3000; round++) {
        struct store_batch *batch = store_batch_new(store);
        struct model now = after[unsynced];
        for (uint32_t n = cq_prng_below(&prng, 6); n-- > 0;)
            model_step(batch, &now, &prng);
        bool sync = unsynced == 8 || cq_prng_below(&prng, 4) == 0;
        assert_int_equal(store_write(store, batch, sync, NULL), CQ_OK);
        store_batch_free(&batch);
        unsynced = sync ? 0 : unsynced + 1;
        after[unsynced] = now;
        if (cq_prng_below(&prng, 20) == 0) {
            size_t keep = cq_prng_below(&prng, (uint32_t)unsynced + 1);
            store_mem_crash(store, keep);
            after[0] = after[keep];
            unsynced = 0;
        }
        model_check(store, &after[unsynced]);
    }
    store_close(&store);
}

int main(void)
{
    static const struct store_backend mem = {
        .name = "store in memory", .create = create_mem, .reopen = reopen_mem, .destroy = destroy_mem};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_keeps_what_was_synced_and_the_oldest_of_the_rest),
        cmocka_unit_test(a_synced_write_makes_all_before_it_durable),
        cmocka_unit_test(a_crash_undoes_a_range_deletion),
        cmocka_unit_test(the_nth_write_and_all_after_it_fail_and_change_nothing),
        cmocka_unit_test(a_corrupted_value_reads_differently),
        cmocka_unit_test(random_batches_and_crashes_match_a_plain_model),
    };
    return store_suite_run(&mem) + cmocka_run_group_tests_name("crashes of the store in memory", tests, NULL, NULL);
}
