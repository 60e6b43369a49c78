/* The system shard's machine: which command version is finalized, and who is refused then. */
#include "system_rig.h"

#include "state/entry.h"

#include <stdio.h>

static uint32_t finalized(const struct sys_fixture *f)
{
    return system_machine_active_version(f->machine);
}

/* The first three nodes (uuid 2, 1, 0 at h0, h1, h2), each as a build that knows up to its version. */
static void init_versions(struct sys_fixture *f, const uint32_t versions[3])
{
    struct sys_init init;
    sys_init_fill(&init, 3);
    for (unsigned i = 0; i < 3; i++)
        init.nodes[i].command_version = versions[i];
    assert_int_equal(sys_apply(f, M(INIT_CLUSTER), &init.msg.base), CQ_OK);
}

static enum cq_rc register_version(struct sys_fixture *f, unsigned n, uint32_t version, uint64_t boot)
{
    Chasqui__System__RegisterNode reg = CHASQUI__SYSTEM__REGISTER_NODE__INIT;
    Chasqui__System__Node node = CHASQUI__SYSTEM__NODE__INIT;
    char address[8];
    snprintf(address, sizeof address, "n%u:1", n);
    node.uuid = sys_uuid(n);
    node.address = address;
    node.command_version = version;
    node.boot = boot;
    reg.node = &node;
    return sys_apply(f, M(REGISTER_NODE), &reg.base);
}

static enum cq_rc finalize(struct sys_fixture *f, uint32_t version)
{
    Chasqui__System__FinalizeVersion msg = CHASQUI__SYSTEM__FINALIZE_VERSION__INIT;
    msg.version = version;
    return sys_apply(f, M(FINALIZE_VERSION), &msg.base);
}

static void set_known(struct sys_fixture *f, uint16_t known)
{
    f->known = known;
    sys_reopen(f);
}

static void a_new_cluster_starts_at_what_all_its_first_nodes_can_apply(void **state)
{
    static const struct {
        uint32_t nodes[3], finalized;
    } cases[] = {{{0, 0, 0}, 1}, {{3, 3, 3}, 3}, {{3, 2, 3}, 2}, {{3, 0, 2}, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sys_fixture *f;
        sys_setup((void **)&f);
        set_known(f, 3);
        init_versions(f, cases[i].nodes);
        assert_int_equal(finalized(f), cases[i].finalized);
        sys_reopen(f);
        assert_int_equal(finalized(f), cases[i].finalized);
        sys_teardown((void **)&f);
    }
    (void)state;
}

static void finalizing_needs_every_node_that_has_not_gone_and_names_the_others(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__SetNodeState gone = CHASQUI__SYSTEM__SET_NODE_STATE__INIT;
    set_known(f, 3);
    sys_init_cluster(f);
    assert_int_equal(finalize(f, 2), CQ_E_CONFLICT);
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(register_version(f, n, n == 1 ? 3 : 2, 1), CQ_OK);
    assert_int_equal(register_version(f, 7, 0, 1), CQ_OK); /* an old one that only waits */
    assert_int_equal(finalize(f, 2), CQ_E_CONFLICT);
    assert_non_null(strstr(f->answer->text, "n7:1"));
    assert_null(strstr(f->answer->text, "n1:1"));
    assert_int_equal(finalized(f), 1);
    assert_int_equal(sys_decommission(f, 7, false), CQ_OK);
    assert_int_equal(finalize(f, 2), CQ_E_CONFLICT); /* it leaves, but has not gone */
    gone.uuid = sys_uuid(7);
    gone.state = CHASQUI__SYSTEM__NODE_STATE__NODE_GONE;
    assert_int_equal(sys_apply(f, M(SET_NODE_STATE), &gone.base), CQ_OK);
    assert_int_equal(finalize(f, 3), CQ_E_CONFLICT); /* one above what all can */
    assert_int_equal(finalize(f, 2), CQ_OK);
    uint64_t now = sys_epoch(f);
    assert_int_equal(finalize(f, 2), CQ_OK); /* again, and back: nothing */
    assert_int_equal(finalize(f, 1), CQ_OK);
    assert_int_equal(sys_epoch(f), now);
    assert_int_equal(finalized(f), 2);
    assert_int_equal(finalize(f, UINT32_MAX), CQ_E_CONFLICT);
}

static void a_node_below_the_finalized_version_is_not_registered(void **state)
{
    struct sys_fixture *f = *state;
    set_known(f, 2);
    init_versions(f, (const uint32_t[]){2, 2, 2});
    uint64_t now = sys_epoch(f);
    assert_int_equal(register_version(f, 0, 1, 5), CQ_E_VERSION); /* it was rolled back */
    assert_int_equal(register_version(f, 9, 0, 1), CQ_E_VERSION); /* a new one */
    assert_non_null(strstr(f->answer->text, "version 2 is finalized"));
    assert_int_equal(register_version(f, 3, 65536, 1), CQ_E_INVALID);
    assert_int_equal(sys_epoch(f), now);
    assert_int_equal(register_version(f, 0, 3, 6), CQ_OK);
}

static void entries_above_the_finalized_version_are_refused_and_up_to_it_taken(void **state)
{
    struct sys_fixture *f = *state;
    set_known(f, 2);
    sys_init_cluster(f);
    f->version = 2;
    assert_int_equal(register_version(f, 0, 2, 1), CQ_E_VERSION);
    f->version = 1;
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(register_version(f, n, 2, 1), CQ_OK);
    assert_int_equal(finalize(f, 2), CQ_OK);
    f->version = 2;
    assert_int_equal(register_version(f, 0, 2, 2), CQ_OK);
    f->version = 1;
    assert_int_equal(register_version(f, 0, 2, 3), CQ_OK);
    f->version = 3;
    assert_int_equal(register_version(f, 0, 2, 4), CQ_E_VERSION);
}

static void an_old_build_stops_at_the_entry_that_finalizes_more_than_it_knows(void **state)
{
    struct sys_fixture *f = *state;
    Chasqui__System__FinalizeVersion msg = CHASQUI__SYSTEM__FINALIZE_VERSION__INIT;
    uint8_t bytes[16], digest[2][16];
    sys_init_cluster(f);
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(register_version(f, n, 2, 1), CQ_OK); /* as nodes might say that lie about their build */
    sys_flush(f);
    f->machine->ops->digest(f->machine, digest[0]);
    uint64_t applied = f->machine->ops->applied(f->machine);
    msg.version = 2;
    struct entry entry = {.version = 1, .method = M(FINALIZE_VERSION), .time = f->time};
    entry.body = cq_slice_of(bytes, protobuf_c_message_pack(&msg.base, bytes));
    struct cq_buf buf;
    cq_buf_init(&buf, ENTRY_MAX);
    assert_int_equal(entry_encode(&entry, &buf, NULL), CQ_OK);
    f->machine->ops->apply(f->machine, (struct machine_position){++f->index, 1}, cq_buf_slice(&buf), f->pool, &f->last);
    assert_int_equal(f->machine->ops->health(f->machine), CQ_E_VERSION);
    assert_int_equal(f->machine->ops->applied(f->machine), applied);
    assert_null(f->machine->ops->effects_take(f->machine));
    f->machine->ops->digest(f->machine, digest[1]);
    assert_memory_equal(digest[0], digest[1], 16);
    set_known(f, 2); /* the upgrade: the same entry again */
    f->machine->ops->apply(f->machine, (struct machine_position){f->index, 1}, cq_buf_slice(&buf), f->pool, &f->last);
    assert_int_equal(f->last.rc, CQ_OK);
    assert_int_equal(finalized(f), 2);
    cq_buf_fini(&buf);
    sys_flush(f);
    struct machine *older = NULL;
    const struct machine_config config = {.store = f->store, .group = 0, .generation = 1, .incarnation = 1, .known = 1};
    assert_int_equal(system_machine_open(&config, &older, NULL), CQ_E_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYS_TEST(a_new_cluster_starts_at_what_all_its_first_nodes_can_apply),
        SYS_TEST(finalizing_needs_every_node_that_has_not_gone_and_names_the_others),
        SYS_TEST(a_node_below_the_finalized_version_is_not_registered),
        SYS_TEST(entries_above_the_finalized_version_are_refused_and_up_to_it_taken),
        SYS_TEST(an_old_build_stops_at_the_entry_that_finalizes_more_than_it_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
