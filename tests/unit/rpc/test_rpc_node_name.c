#include "rpc/rpc_node_name.h"

#include "unit/cq_cmocka.h"

#define NODE "chasqui://c1/node/01234567-89ab-4cde-8f00-010203040506"
static const uint8_t node[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde, 0x8f, 0, 1, 2, 3, 4, 5, 6};

static void a_certificate_that_names_nodes_speaks_for_no_other(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *uris[4];
        bool allowed;
    } cases[] = {
        {"no names", {NULL}, true},
        {"a role only", {"chasqui://c1/role/storage"}, true},
        {"this node", {"chasqui://c1/role/storage", NODE}, true},
        {"this node among others", {"chasqui://c1/node/11111111-89ab-4cde-8f00-010203040506", NODE}, true},
        {"another node",
         {"chasqui://c1/role/storage", "chasqui://c1/node/01234567-89ab-4cde-8f00-010203040507"},
         false},
        {"its beginning", {"chasqui://c1/node/01234567-89ab-4cde-8f00-01020304050"}, false},
        {"more than it", {NODE "0"}, false},
        {"without dashes", {"chasqui://c1/node/0123456789ab4cde8f00010203040506"}, false},
        {"upper case", {"chasqui://c1/node/01234567-89AB-4CDE-8F00-010203040506"}, false},
        {"no name of a node", {"chasqui://c1/node/"}, false},
        {"of another cluster, which counts for nothing",
         {"chasqui://c2/node/01234567-89ab-4cde-8f00-010203040507"},
         true},
        {"of a cluster whose name goes on", {"chasqui://c11/node/01234567-89ab-4cde-8f00-010203040507"}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (rpc_uris_allow_node(cases[i].uris, CQ_SLICE("c1"), node) != cases[i].allowed)
            fail_msg("%s", cases[i].what);
    assert_true(rpc_uris_allow_node(NULL, CQ_SLICE("c1"), node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_certificate_that_names_nodes_speaks_for_no_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
