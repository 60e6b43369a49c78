#include "node/router_table.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "base/cq_mem.h"

static struct router_table *table;

static int setup(void **state)
{
    (void)state;
    table = cq_new(struct router_table);
    router_table_init(table);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    router_table_fini(table);
    free(table);
    return 0;
}

static void heard(unsigned number, uint64_t now_us)
{
    uint8_t id[ROUTER_ID_SIZE] = {0};
    memcpy(id, &number, sizeof number);
    router_table_heard(table, id, now_us);
}

static void each_router_counts_once_while_it_is_fresh(void **state)
{
    (void)state;
    assert_int_equal(router_table_count(table, 0), 0);
    heard(1, 1000);
    heard(2, 2000);
    heard(1, 3000);
    assert_int_equal(router_table_count(table, 500), 2); /* another thread's clock is a little behind */
    assert_int_equal(router_table_count(table, 2000 + ROUTER_FRESH_US - 1), 2);
    assert_int_equal(router_table_count(table, 2000 + ROUTER_FRESH_US), 1);
    assert_int_equal(router_table_count(table, 3000 + ROUTER_FRESH_US), 0);
    heard(2, 9000000);
    assert_int_equal(router_table_count(table, 9000000), 1);
}

static void of_more_than_it_holds_the_last_are_known(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUTERS_MAX + 5; i++)
        heard(i, 1000 + i);
    assert_int_equal(router_table_count(table, 5000), ROUTERS_MAX);
    heard(ROUTERS_MAX + 4, 6000); /* known: takes no other one's place */
    assert_int_equal(router_table_count(table, 6000), ROUTERS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_router_counts_once_while_it_is_fresh, setup, teardown),
        cmocka_unit_test_setup_teardown(of_more_than_it_holds_the_last_are_known, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
