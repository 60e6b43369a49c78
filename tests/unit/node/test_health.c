#include "node/health.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

#include "base/cq_mem.h"
#include "node/space.h"

static void a_report_comes_out_as_it_went_in(void **state)
{
    (void)state;
    const struct health_report in = {
        .disk = DISK_SLOW, .space = 2, .sync_us = 123456, .free_bytes = 1ull << 40, .total_bytes = 3ull << 40};
    struct health_report out;
    uint8_t bytes[HEALTH_SIZE];
    health_encode(&in, bytes);
    assert_int_equal(health_decode(cq_slice_of(bytes, sizeof bytes), &out), CQ_OK);
    assert_int_equal(out.disk, in.disk);
    assert_int_equal(out.space, in.space);
    assert_int_equal(out.sync_us, in.sync_us);
    assert_int_equal(out.free_bytes, in.free_bytes);
    assert_int_equal(out.total_bytes, in.total_bytes);
}

static void routers_are_counted_up_to_what_fits_and_older_reports_have_none(void **state)
{
    (void)state;
    static const struct {
        bool counts;
        uint8_t in, out;
    } rows[] = {{true, 0, 0},
                {true, 1, 1},
                {true, HEALTH_ROUTERS_MAX, HEALTH_ROUTERS_MAX},
                {true, 255, HEALTH_ROUTERS_MAX},
                {false, 7, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct health_report in = {.counts_routers = rows[i].counts, .routers = rows[i].in};
        struct health_report out;
        uint8_t bytes[HEALTH_SIZE];
        health_encode(&in, bytes);
        assert_int_equal(health_decode(cq_slice_of(bytes, sizeof bytes), &out), CQ_OK);
        assert_int_equal(out.counts_routers, rows[i].counts);
        assert_int_equal(out.routers, rows[i].out);
    }
}

static void what_is_too_short_or_no_report_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[HEALTH_SIZE] = {HEALTH_VERSION};
    struct health_report out;
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_int_equal(health_decode(cq_slice_of(bytes, len), &out), CQ_E_PROTO);
    bytes[0] = 0;
    assert_int_equal(health_decode(cq_slice_of(bytes, sizeof bytes), &out), CQ_E_PROTO);
}

/* From a newer release: longer, and with states that we do not know, which are taken for the worst. */
static void a_newer_report_is_understood_as_far_as_it_goes(void **state)
{
    (void)state;
    uint8_t bytes[HEALTH_SIZE + 8] = {HEALTH_VERSION + 1, 200, 200};
    struct health_report out;
    assert_int_equal(health_decode(cq_slice_of(bytes, sizeof bytes), &out), CQ_OK);
    assert_int_equal(out.disk, DISK_STALLED);
    assert_int_equal(out.space, SPACE_FULL);
}

static struct raft_node node_of(unsigned number)
{
    struct raft_node node = {{0}};
    memcpy(node.uuid, &number, sizeof number);
    return node;
}

static void the_last_report_of_each_node_is_kept_while_it_is_fresh(void **state)
{
    (void)state;
    struct health_table *table = cq_new(struct health_table);
    struct health_report got;
    const struct raft_node a = node_of(1), b = node_of(2);
    health_table_init(table);
    assert_false(health_table_get(table, &a, 5, &got));
    health_table_set(table, &a, &(struct health_report){.sync_us = 1}, 100);
    health_table_set(table, &b, &(struct health_report){.sync_us = 2}, 100);
    health_table_set(table, &a, &(struct health_report){.sync_us = 3}, 200);
    assert_true(health_table_get(table, &a, 200 + HEALTH_FRESH_US - 1, &got));
    assert_int_equal(got.sync_us, 3);
    assert_false(health_table_get(table, &a, 200 + HEALTH_FRESH_US, &got));
    assert_true(health_table_get(table, &b, 50, &got)); /* another thread's clock is a little behind */
    assert_int_equal(got.sync_us, 2);
    health_table_fini(table);
    free(table);
}

static void a_full_table_forgets_whom_it_has_not_heard_for_longest(void **state)
{
    (void)state;
    struct health_table *table = cq_new(struct health_table);
    struct health_report got;
    health_table_init(table);
    for (unsigned i = 0; i <= HEALTH_NODES_MAX; i++) {
        const struct raft_node node = node_of(i + 1);
        health_table_set(table, &node, &(struct health_report){.sync_us = i}, 1000 + i);
    }
    const struct raft_node first = node_of(1), second = node_of(2), last = node_of(HEALTH_NODES_MAX + 1);
    assert_false(health_table_get(table, &first, 3000, &got));
    assert_true(health_table_get(table, &second, 3000, &got));
    assert_true(health_table_get(table, &last, 3000, &got));
    health_table_fini(table);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_comes_out_as_it_went_in),
        cmocka_unit_test(routers_are_counted_up_to_what_fits_and_older_reports_have_none),
        cmocka_unit_test(what_is_too_short_or_no_report_is_refused),
        cmocka_unit_test(a_newer_report_is_understood_as_far_as_it_goes),
        cmocka_unit_test(the_last_report_of_each_node_is_kept_while_it_is_fresh),
        cmocka_unit_test(a_full_table_forgets_whom_it_has_not_heard_for_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
