#include "rpc/rpc_role.h"

#include "unit/cq_cmocka.h"

static void a_uri_gives_its_role_only_in_its_own_cluster(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        uint32_t role;
    } cases[] = {
        {"chasqui://c1/role/frontend", RPC_ROLE_FRONTEND},
        {"chasqui://c1/role/admin", RPC_ROLE_ADMIN},
        {"chasqui://c1/role/router", RPC_ROLE_ROUTER},
        {"chasqui://c1/role/storage", RPC_ROLE_STORAGE},
        {"chasqui://c1/role/quota", RPC_ROLE_QUOTA},
        {"chasqui://c1/role/operator", RPC_ROLE_OPERATOR},
        {"chasqui://c2/role/operator", 0},
        {"chasqui://c11/role/operator", 0},
        {"chasqui://c/role/operator", 0},
        {"chasqui:///role/operator", 0},
        {"chasqui://c1/role/operators", 0},
        {"chasqui://c1/role/operato", 0},
        {"chasqui://c1/role/operator/", 0},
        {"chasqui://c1/role/Operator", 0},
        {"Chasqui://c1/role/operator", 0},
        {"chasqui://c1/role/", 0},
        {"chasqui://c1/role", 0},
        {"https://c1/role/operator", 0},
        {"chasqui://x@c1/role/operator", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (rpc_role_of_uri(cq_slice_cstr(cases[i].uri), CQ_SLICE("c1")) != cases[i].role)
            fail_msg("%s", cases[i].uri);
    /* A NUL inside a name is no end. */
    assert_int_equal(rpc_role_of_uri(CQ_SLICE("chasqui://c1/role/operator\0x"), CQ_SLICE("c1")), 0);
}

static void several_uris_add_up(void **state)
{
    (void)state;
    const struct cq_slice uris[] = {CQ_SLICE("chasqui://c1/role/frontend"), CQ_SLICE("chasqui://c2/role/operator"),
                                    CQ_SLICE("spiffe://c1/role/quota"), CQ_SLICE("chasqui://c1/role/admin")};
    assert_int_equal(rpc_roles_of_uris(uris, 4, CQ_SLICE("c1")), RPC_ROLE_FRONTEND | RPC_ROLE_ADMIN);
    assert_int_equal(rpc_roles_of_uris(uris, 0, CQ_SLICE("c1")), 0);
    assert_int_equal(rpc_roles_of_uris(uris, 4, CQ_SLICE("")), 0);
}

static void a_cluster_id_is_1_to_63_plain_bytes(void **state)
{
    (void)state;
    char text[65];
    memset(text, 'a', sizeof text);
    assert_true(rpc_cluster_id_valid(cq_slice_of(text, 1)));
    assert_true(rpc_cluster_id_valid(cq_slice_of(text, 63)));
    assert_false(rpc_cluster_id_valid(cq_slice_of(text, 64)));
    assert_false(rpc_cluster_id_valid(cq_slice_of(text, 0)));
    assert_true(rpc_cluster_id_valid(CQ_SLICE("0-9z")));
    static const char *const bad[] = {"A", "a/b", "a b", "a.b", "a_b", "\xc3\xa9"};
    for (size_t i = 0; i < 6; i++)
        assert_false(rpc_cluster_id_valid(cq_slice_cstr(bad[i])));
}

static void all_roles_have_a_text_that_fits(void **state)
{
    (void)state;
    char text[RPC_ROLES_TEXT_SIZE];
    rpc_roles_text(RPC_ROLE_ALL, text);
    assert_string_equal(text, "frontend,admin,router,storage,quota,operator");
    rpc_roles_text(0, text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri_gives_its_role_only_in_its_own_cluster),
        cmocka_unit_test(several_uris_add_up),
        cmocka_unit_test(a_cluster_id_is_1_to_63_plain_bytes),
        cmocka_unit_test(all_roles_have_a_text_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
