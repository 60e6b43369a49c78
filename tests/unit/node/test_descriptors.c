#include "node/descriptors.h"

#include "unit/cq_cmocka.h"

static struct node_config config_of(int64_t files, int64_t connections, int64_t workers)
{
    struct node_config config = {0};
    config.store.open_files = files;
    config.server.connections_max = connections;
    config.node.workers = workers;
    return config;
}

static void what_is_asked_for_is_given_as_far_as_the_limit_goes(void **state)
{
    (void)state;
    static const struct {
        uint64_t limit;
        bool lowered;
        int64_t files, connections;
    } cases[] = {
        {1000000, false, 1000, 1024},
        {1000 + DESCRIPTORS_OTHER + 2048, false, 1000, 1024},
        {1000 + DESCRIPTORS_OTHER + 2047, true, 1000, 1023},
        {1024, true, 512, (1024 - 512 - DESCRIPTORS_OTHER) / 2},
        {400, true, 200, (400 - 200 - DESCRIPTORS_OTHER) / 2},
        {256, true, 128, DESCRIPTORS_CONNECTIONS_MIN},
        {0, true, 0, DESCRIPTORS_CONNECTIONS_MIN},
        {UINT64_MAX, false, 1000, 1024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct node_config config = config_of(1000, 1024, 2);
        assert_int_equal(descriptors_share(&config, cases[i].limit), cases[i].lowered);
        assert_int_equal(config.store.open_files, cases[i].files);
        assert_int_equal(config.server.connections_max, cases[i].connections);
    }
}

static void a_node_without_rpc_threads_has_one_server(void **state)
{
    (void)state;
    struct node_config none = config_of(1000, 1024, 0), one = config_of(1000, 1024, 1);
    assert_true(descriptors_share(&none, 1024));
    assert_true(descriptors_share(&one, 1024));
    assert_int_equal(none.server.connections_max, one.server.connections_max);
}

static void a_setting_below_the_smallest_share_stays(void **state)
{
    (void)state;
    struct node_config config = config_of(64, 4, 1);
    assert_false(descriptors_share(&config, 1024));
    assert_int_equal(config.server.connections_max, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_for_is_given_as_far_as_the_limit_goes),
        cmocka_unit_test(a_node_without_rpc_threads_has_one_server),
        cmocka_unit_test(a_setting_below_the_smallest_share_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
