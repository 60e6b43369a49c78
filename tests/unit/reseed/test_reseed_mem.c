/* Re-seeding on the store in memory: the stories of every store, and those with lost power. */
#include "unit/reseed/reseed_suite.h"

#include "reseed_rig.h"

static void destroy(struct store *store)
{
    store_close(&store);
}

static int setup(void **state)
{
    struct rig *rig = cq_new(struct rig);
    rig_init(rig, store_mem_new());
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    rig_fini(rig);
    store_close(&rig->store);
    free(rig);
    return 0;
}

/* Power is lost before the n-th write, for every n, with none, half or all of what was not synced. */
static void power_may_be_lost_before_any_write(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 12);
    unsigned n = 1;
    for (;; n++) {
        rig->writes = 0;
        rig->stop_write = n;
        if (rig_copy(rig) != CQ_E_CANCELLED)
            break;
        size_t unsynced = store_mem_unsynced(rig->store);
        store_mem_crash(rig->store, n % 3 == 0 ? 0 : n % 3 == 1 ? unsynced / 2 : unsynced);
    }
    assert_true(n > 10);
    rig_flip(rig, true);
    rig_assert_equal(rig, 1);
}

static void a_flip_that_was_not_synced_never_happened(void **state)
{
    struct rig *rig = *state;
    struct reseed_record record;
    rig_mail(rig, 8);
    assert_int_equal(rig_copy(rig), CQ_OK);
    rig_flip(rig, true);
    rig_cleanup(rig, 100);
    rig->generation = 1;
    rig_mail(rig, 4);
    assert_int_equal(rig_copy(rig), CQ_OK);
    store_mem_sync(rig->store);
    rig_flip(rig, false);
    store_mem_crash(rig->store, 0);
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &record, NULL), CQ_OK);
    assert_int_equal(record.phase, RESEED_STATE);
    rig_assert_equal(rig, 1); /* the old generation is whole */
    assert_int_equal(rig_copy(rig), CQ_OK);
    rig_flip(rig, true);
    store_mem_crash(rig->store, 0);
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &record, NULL), CQ_OK);
    assert_int_equal(record.phase, RESEED_CLEANUP);
    rig_assert_equal(rig, 2);
    rig_cleanup(rig, 2);
    rig_assert_equal(rig, 2);
}

static void a_flip_gives_the_replica_a_log_that_begins_after_the_state(void **state)
{
    struct rig *rig = *state;
    struct raft_boot *boot = NULL;
    rig_mail(rig, 8);
    assert_int_equal(rig_copy(rig), CQ_OK);
    assert_int_equal(raft_boot_read(rig->store, RIG_GROUP, RIG_REPLICA, &boot, NULL), CQ_E_NOT_FOUND);
    rig_flip(rig, true);
    assert_int_equal(raft_boot_read(rig->store, RIG_GROUP, RIG_REPLICA, &boot, NULL), CQ_OK);
    raft_boot_free(&boot);
}

static void a_chunk_that_the_source_has_lost_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct store *source = shard_store(rig->shard, 0);
    rig_mail(rig, 8);
    struct store_iter *iter = store_iter_new(source, NULL, STORE_CHUNK, CQ_SLICE_NONE, CQ_SLICE_NONE);
    struct store_batch *batch = store_batch_new(source);
    assert_int_equal(store_iter_next(iter), CQ_OK);
    store_batch_delete(batch, STORE_CHUNK, store_iter_key(iter));
    store_iter_free(&iter);
    assert_int_equal(store_write(source, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(rig_copy(rig), CQ_E_CORRUPT);
    assert_false(rig->digest);
}

static void a_record_is_read_back_and_a_damaged_one_refused(void **state)
{
    struct rig *rig = *state;
    struct reseed_record record = {.group = RIG_GROUP,
                                   .phase = RESEED_SUMMARIES,
                                   .suspect = SUSPECT_PARTS,
                                   .old_generation = 3,
                                   .generation = 4,
                                   .replica = 9,
                                   .base_index = 10,
                                   .base_term = 11,
                                   .index = 12,
                                   .term = 13},
                         got;
    struct cq_err err;
    static const uint8_t key[] = {'r', 0, 0, 0, RIG_GROUP};
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &got, &err), CQ_E_NOT_FOUND);
    for (size_t len = 0; len <= sizeof record.cursor.at; len += sizeof record.cursor.at / 2) {
        record.cursor.len = len;
        memset(record.cursor.at, 7, len);
        struct store_batch *batch = store_batch_new(rig->store);
        reseed_record_put(batch, &record);
        assert_int_equal(store_write(rig->store, batch, true, NULL), CQ_OK);
        store_batch_free(&batch);
        memset(&got, 0, sizeof got);
        assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &got, &err), CQ_OK);
        assert_true(got.phase == record.phase && got.suspect == SUSPECT_PARTS && got.old_generation == 3 &&
                    got.generation == 4 && got.replica == 9 && got.base_index == 10 && got.base_term == 11 &&
                    got.index == 12 && got.term == 13);
        assert_true(cq_slice_eq(reseed_cursor_slice(&got.cursor), reseed_cursor_slice(&record.cursor)));
    }
    assert_true(store_mem_corrupt(rig->store, STORE_LOCAL, cq_slice_of(key, sizeof key), 30));
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &got, &err), CQ_E_CORRUPT);
}

/* ---- Hostile pages ---- */

static void add(struct cq_buf *page, enum reseed_row_kind kind, size_t key, size_t value)
{
    static const uint8_t zeros[8192];
    reseed_row_put(page, &(struct reseed_row){kind, cq_slice_of(zeros, key), cq_slice_of(zeros, value)});
}

static void pages_that_no_source_sends_are_refused(void **state)
{
    struct rig *rig = *state;
    static const struct {
        enum reseed_row_kind kind;
        size_t key, value;
    } rows[] = {
        {RESEED_CHUNK, 28, 10},      /* another incarnation */
        {RESEED_CHUNK, 27, 10},      /* no chunk key */
        {RESEED_CHUNK_HASH, 28, 19}, /* no hash */
        {RESEED_RECORD, 9, 10},      /* among chunks */
        {RESEED_NAME_CHUNK, 28, 0},
    };
    rig_mail(rig, 3);
    rig->stop_ask = 1;
    assert_int_equal(rig_copy(rig), CQ_E_CANCELLED);
    struct store_batch *batch = store_batch_new(rig->store);
    struct cq_buf page, names;
    cq_buf_init(&page, RESEED_PAGE_MAX);
    cq_buf_init(&names, RESEED_PAGE_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cq_buf_reset(&page, RESEED_PAGE_MAX);
        add(&page, rows[i].kind, rows[i].key, rows[i].value);
        assert_int_equal(reseed_take_chunks(&rig->target, cq_buf_slice(&page), batch, &names, &rig->err), CQ_E_PROTO);
        for (size_t cut = 1; cut < page.len; cut++) {
            struct reseed_row row;
            struct cq_slice left = cq_slice_of(page.data, cut);
            assert_int_equal(reseed_row_next(&left, &row, NULL), CQ_E_PROTO);
        }
    }
    rig->target.record.phase = RESEED_STATE;
    static const uint8_t low[] = "\0\0\0\0\0\0\0\0A", high[] = "\0\0\0\0\0\0\0\1A";
    struct reseed_cursor next = {.len = 0};
    const struct cq_slice keys[][2] = {{cq_slice_of(high, 9), cq_slice_of(low, 9)},
                                       {cq_slice_of(low, 9), cq_slice_of(low, 9)}};
    for (size_t i = 0; i < 2; i++) {
        cq_buf_reset(&page, RESEED_PAGE_MAX);
        for (size_t j = 0; j < 2; j++) {
            uint8_t whole[17] = {0}, value[5] = {1};
            memcpy(whole + 8, keys[i][j].data, 9);
            uint32_t trailer = (uint32_t)db_record_hash(cq_slice_of(whole, 17), cq_slice_of(value, 1)).low;
            memcpy(value + 1, &trailer, 4);
            reseed_row_put(&page, &(struct reseed_row){RESEED_RECORD, keys[i][j], cq_slice_of(value, 5)});
        }
        assert_int_equal(reseed_take_state(&rig->target, cq_buf_slice(&page), &next, true, batch, &names, &rig->err),
                         CQ_E_PROTO);
        rig->target.state_at.len = 0;
    }
    cq_buf_fini(&page);
    cq_buf_fini(&names);
    store_batch_free(&batch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct reseed_backend backend = {store_mem_new, destroy};
    const struct CMUnitTest tests[] = {
        TEST(power_may_be_lost_before_any_write),
        TEST(a_flip_that_was_not_synced_never_happened),
        TEST(a_flip_gives_the_replica_a_log_that_begins_after_the_state),
        TEST(a_chunk_that_the_source_has_lost_is_noticed),
        TEST(a_record_is_read_back_and_a_damaged_one_refused),
        TEST(pages_that_no_source_sends_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + reseed_suite_run(&backend) + check_suite_run(&backend);
}
