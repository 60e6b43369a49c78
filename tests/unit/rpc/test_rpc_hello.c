#include "rpc/rpc_hello.h"

#include "unit/cq_cmocka.h"

static void every_field_survives(void **state)
{
    (void)state;
    struct rpc_hello hello = {.has_node = true, .boot = UINT64_MAX}, got;
    struct cq_buf buf;
    cq_buf_init(&buf, 4096);
    RPC_HELLO_SET(hello.cluster, "c1");
    RPC_HELLO_SET(hello.program, "chasqui-storage-node");
    RPC_HELLO_SET(hello.version, "0.1.0");
    RPC_HELLO_SET(hello.address, "node-0.storage:7000");
    memcpy(hello.node, "0123456789abcdef", 16);
    assert_true(rpc_hello_encode(&buf, &hello));
    assert_int_equal(rpc_hello_decode(cq_buf_slice(&buf), &got, NULL), CQ_OK);
    assert_string_equal(got.cluster, "c1");
    assert_string_equal(got.program, "chasqui-storage-node");
    assert_string_equal(got.version, "0.1.0");
    assert_string_equal(got.address, "node-0.storage:7000");
    assert_memory_equal(got.node, hello.node, 16);
    assert_true(got.has_node);
    assert_true(got.boot == UINT64_MAX);
    cq_buf_fini(&buf);
}

static void an_empty_hello_is_a_hello_without_anything(void **state)
{
    (void)state;
    struct rpc_hello got;
    assert_int_equal(rpc_hello_decode(CQ_SLICE_NONE, &got, NULL), CQ_OK);
    assert_string_equal(got.cluster, "");
    assert_false(got.has_node);
}

static void hostile_hellos_are_refused(void **state)
{
    (void)state;
    uint8_t long_cluster[2 + 64] = {0x0a, 64};
    memset(long_cluster + 2, 'a', 64);
    uint8_t long_program[3 + 256] = {0x12, 0x80, 0x02};
    memset(long_program + 3, 'a', 256);
    const struct {
        struct cq_slice bytes;
        enum cq_rc rc;
    } cases[] = {
        {cq_slice_of(long_cluster, sizeof long_cluster), CQ_E_PROTO},
        {cq_slice_of(long_program, sizeof long_program), CQ_E_PROTO},
        {CQ_SLICE("\x22\x0f"
                  "0123456789abcde"),
         CQ_E_PROTO}, /* node id of 15 bytes */
        {CQ_SLICE("\x22\x10"
                  "0123456789abcdef"),
         CQ_OK}, /* of 16 */
        {CQ_SLICE("\x22\x11"
                  "0123456789abcdefg"),
         CQ_E_PROTO}, /* of 17 */
        {CQ_SLICE("\x0a\x7f"
                  "short"),
         CQ_E_PROTO}, /* length past the end */
        {CQ_SLICE("\xff\xff\xff\xff\xff\xff\xff"), CQ_E_PROTO},
        {CQ_SLICE("\xba\x3e\x01x"), CQ_OK}, /* an unknown field of a newer peer */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_hello got;
        if (rpc_hello_decode(cases[i].bytes, &got, NULL) != cases[i].rc)
            fail_msg("case %zu", i);
    }
}

static void texts_are_cut_to_their_size(void **state)
{
    (void)state;
    char text[8];
    rpc_hello_text(text, sizeof text, "0123456789");
    assert_string_equal(text, "0123456");
    rpc_hello_text(text, sizeof text, NULL);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives),
        cmocka_unit_test(an_empty_hello_is_a_hello_without_anything),
        cmocka_unit_test(hostile_hellos_are_refused),
        cmocka_unit_test(texts_are_cut_to_their_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
