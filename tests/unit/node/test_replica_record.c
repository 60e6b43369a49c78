#include "node/replica_record.h"

#include "unit/cq_cmocka.h"

#include "store/store_mem.h"

#include <string.h>

static void put(struct store *store, uint32_t group, uint64_t replica)
{
    const struct replica_record record = {
        .group = group, .generation = 3, .replica = replica, .incarnation = group_first_incarnation(group)};
    struct store_batch *batch = store_batch_new(store);
    replica_record_put(batch, &record);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void put_raw(struct store *store, struct cq_slice key, struct cq_slice value)
{
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_LOCAL, key, value);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static enum cq_rc read_all(struct store *store, struct replica_record *records, size_t max, size_t *count)
{
    struct cq_err err = {0};
    return replica_records_read(store, records, max, count, &err);
}

static void records_come_back_in_the_order_of_groups(void **state)
{
    (void)state;
    struct store *store = store_mem_new();
    struct replica_record records[4];
    size_t count = 9;
    assert_int_equal(read_all(store, records, 4, &count), CQ_OK);
    assert_int_equal(count, 0);
    put(store, 300, 7);
    put(store, 0, 1);
    put(store, 2, UINT64_MAX);
    put_raw(store, CQ_SLICE("f"), CQ_SLICE("another kind before"));
    put_raw(store, CQ_SLICE("h"), CQ_SLICE("and after"));
    assert_int_equal(read_all(store, records, 4, &count), CQ_OK);
    assert_int_equal(count, 3);
    assert_int_equal(records[0].group, 0);
    assert_int_equal(records[1].group, 2);
    assert_true(records[1].replica == UINT64_MAX);
    assert_int_equal(records[2].group, 300);
    assert_int_equal(records[2].generation, 3);
    assert_true(records[2].incarnation == (UINT64_C(300) << 32 | 1));
    assert_int_equal(read_all(store, records, 3, &count), CQ_OK);
    assert_int_equal(read_all(store, records, 2, &count), CQ_E_LIMIT);
    store_close(&store);
}

static void every_changed_bit_is_noticed(void **state)
{
    (void)state;
    static const uint8_t key[] = {'g', 0, 0, 0, 5};
    struct store *store = store_mem_new();
    struct replica_record record;
    size_t count;
    struct cq_buf value;
    put(store, 5, 42);
    cq_buf_init(&value, 100);
    assert_int_equal(store_get(store, NULL, STORE_LOCAL, cq_slice_of(key, 5), &value, NULL), CQ_OK);
    for (size_t bit = 0; bit < value.len * 8; bit++) {
        value.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put_raw(store, cq_slice_of(key, 5), cq_buf_slice(&value));
        enum cq_rc rc = read_all(store, &record, 1, &count);
        assert_true(rc == CQ_E_CORRUPT || (bit < 32 && rc == CQ_E_VERSION));
        value.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < value.len; len++) {
        put_raw(store, cq_slice_of(key, 5), cq_slice_of(value.data, len));
        assert_int_equal(read_all(store, &record, 1, &count), CQ_E_CORRUPT);
    }
    put_raw(store, cq_slice_of(key, 5), cq_buf_slice(&value));
    assert_int_equal(read_all(store, &record, 1, &count), CQ_OK);
    put_raw(store, CQ_SLICE("g\0\0\0\6"), cq_buf_slice(&value)); /* another group's record */
    struct replica_record two[2];
    assert_int_equal(read_all(store, two, 2, &count), CQ_E_CORRUPT);
    cq_buf_fini(&value);
    store_close(&store);
}

static void put_floor(struct store *store, uint64_t id)
{
    struct store_batch *batch = store_batch_new(store);
    replica_floor_put(batch, id);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void the_floor_is_what_was_written_or_the_largest_replica_here(void **state)
{
    (void)state;
    struct store *store = store_mem_new();
    uint64_t id = 7;
    assert_int_equal(replica_floor_read(store, &id, NULL), CQ_OK);
    assert_true(id == 0);
    put(store, 1, 31);
    put(store, 2, 12);
    assert_int_equal(replica_floor_read(store, &id, NULL), CQ_OK);
    assert_true(id == 31);
    put_floor(store, 44);
    assert_int_equal(replica_floor_read(store, &id, NULL), CQ_OK);
    assert_true(id == 44);
    put_floor(store, REPLICA_FLOOR_UNKNOWN);
    assert_int_equal(replica_floor_read(store, &id, NULL), CQ_OK);
    assert_true(id == REPLICA_FLOOR_UNKNOWN);
    for (size_t at = 0; at < 20; at++) {
        struct cq_err err;
        put_floor(store, 5);
        assert_true(store_mem_corrupt(store, STORE_LOCAL, CQ_SLICE("i"), at));
        enum cq_rc rc = replica_floor_read(store, &id, &err);
        assert_true(rc == CQ_E_CORRUPT || (at < 4 && rc == CQ_E_VERSION));
    }
    store_close(&store);
}

static void a_withheld_replica_is_that_until_the_record_is_deleted(void **state)
{
    (void)state;
    static const uint8_t key[] = {'w', 0, 0, 0, 2};
    struct store *store = store_mem_new();
    enum replica_withheld why;
    size_t count = 9;
    put(store, 2, 5);
    put(store, 7, 6);
    assert_int_equal(replica_withheld_read(store, 2, &why, NULL), CQ_OK);
    assert_int_equal(why, REPLICA_KEPT);
    struct store_batch *batch = store_batch_new(store);
    replica_withhold_put(batch, 2, REPLICA_REFUTED);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    assert_int_equal(replica_withheld_read(store, 2, &why, NULL), CQ_OK);
    assert_int_equal(why, REPLICA_REFUTED);
    assert_int_equal(replica_withheld_read(store, 7, &why, NULL), CQ_OK);
    assert_int_equal(why, REPLICA_KEPT);
    store_batch_clear(batch);
    assert_int_equal(replica_withhold_all(store, batch, &count, NULL), CQ_OK);
    assert_int_equal(count, 2);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    for (uint32_t group = 2; group <= 7; group += 5) {
        assert_int_equal(replica_withheld_read(store, group, &why, NULL), CQ_OK);
        assert_int_equal(why, REPLICA_FORGETS);
    }
    assert_true(store_mem_corrupt(store, STORE_LOCAL, cq_slice_of(key, sizeof key), 4));
    assert_int_equal(replica_withheld_read(store, 2, &why, NULL), CQ_E_CORRUPT);
    store_batch_clear(batch);
    replica_withhold_delete(batch, 7);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(replica_withheld_read(store, 7, &why, NULL), CQ_OK);
    assert_int_equal(why, REPLICA_KEPT);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_withheld_replica_is_that_until_the_record_is_deleted),
        cmocka_unit_test(records_come_back_in_the_order_of_groups),
        cmocka_unit_test(every_changed_bit_is_noticed),
        cmocka_unit_test(the_floor_is_what_was_written_or_the_largest_replica_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
