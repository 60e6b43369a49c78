#include "node/peer_admission.h"

#include "unit/cq_cmocka.h"

#include <string.h>

static struct topology_node nodes[] = {
    {.uuid = {1}, .address = "a:1", .boot = 7, .state = TOPOLOGY_NODE_UP},
    {.uuid = {2}, .address = "b:1", .boot = 1, .state = TOPOLOGY_NODE_JOINING},
    {.uuid = {3}, .address = "c:1", .boot = 4, .state = TOPOLOGY_NODE_GONE},
};
static const struct topology known = {.nodes = nodes, .node_count = 3};

static enum cq_rc admit(const struct topology *t, uint8_t node, const char *address, uint64_t boot, const char *text)
{
    struct rpc_hello hello = {.has_node = node != 0, .node = {node}, .boot = boot};
    struct cq_err err = {0};
    RPC_HELLO_SET(hello.address, address);
    enum cq_rc rc = peer_admit(t, &hello, &err);
    if (text && !strstr(err.text, text))
        fail_msg("\"%s\" does not contain \"%s\"", err.text, text);
    return rc;
}

static void a_peer_is_held_against_what_the_system_shard_knows(void **state)
{
    (void)state;
    static const struct {
        uint8_t node;
        const char *address;
        uint64_t boot;
        enum cq_rc rc;
        const char *text;
    } cases[] = {
        {1, "a:1", 7, CQ_OK, NULL},
        {1, "a:1", 8, CQ_OK, NULL}, /* started again, not registered yet */
        {1, "x:9", 8, CQ_OK, NULL}, /* and moved */
        {1, "", 7, CQ_OK, NULL},
        {1, "a:1", 6, CQ_E_CONFLICT, "older copy of its data directory (start 6; the cluster has seen start 7"},
        {1, "x:9", 7, CQ_E_CONFLICT, "two processes have this node's data directory, the other one is at a:1"},
        {2, "b:1", 0, CQ_E_CONFLICT, "older copy"},
        {3, "c:1", 5, CQ_E_DENIED, "removed from the cluster"},
        {9, "n:1", 1, CQ_OK, NULL}, /* about to join */
        {0, "r:1", 0, CQ_OK, NULL}, /* no storage node */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(admit(&known, cases[i].node, cases[i].address, cases[i].boot, cases[i].text), cases[i].rc);
}

static void before_anything_is_known_everybody_may_come(void **state)
{
    (void)state;
    assert_int_equal(admit(NULL, 3, "c:1", 0, NULL), CQ_OK);
    assert_int_equal(admit(&(struct topology){0}, 3, "c:1", 0, NULL), CQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_is_held_against_what_the_system_shard_knows),
        cmocka_unit_test(before_anything_is_known_everybody_may_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
