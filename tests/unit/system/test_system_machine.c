/* The system shard's machine over a store in memory: any entry has an outcome, the same entries give the same state,
 * and what is read of it. Beside this: its commands by what they are about. */
#include "system_rig.h"

#include "base/cq_endian.h"
#include "base/cq_rand.h"
#include "state/entry.h"
#include "store/store_mem.h"

static void any_bytes_are_an_entry_with_an_outcome(void **state)
{
    struct sys_fixture *f = *state;
    struct cq_prng prng = {7};
    sys_init_cluster(f);
    assert_int_not_equal(sys_apply_bytes(f, CQ_SLICE_NONE), CQ_OK);
    assert_int_not_equal(sys_apply_bytes(f, CQ_SLICE("garbage that is no entry")), CQ_OK);
    assert_int_equal(sys_apply_body(f, 999, CQ_SLICE_NONE), CQ_E_UNSUPPORTED);
    assert_int_equal(sys_apply_body(f, M(GET_TOPOLOGY), CQ_SLICE_NONE), CQ_E_UNSUPPORTED);
    for (int i = 0; i < 3000; i++) {
        uint8_t body[64];
        size_t len = cq_prng_below(&prng, sizeof body);
        for (size_t b = 0; b < len; b++)
            body[b] = (uint8_t)cq_prng_next(&prng);
        sys_apply_body(f, 200 + cq_prng_below(&prng, 8), cq_slice_of(body, len));
    }
    assert_int_equal(f->machine->ops->health(f->machine), CQ_OK);
    assert_int_equal(f->machine->ops->applied(f->machine), f->index);
}

static void wrong_versions_accounts_and_times_are_refused(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    static const struct {
        struct entry entry;
        enum cq_rc rc;
    } cases[] = {
        {{.version = 2, .method = M(ALLOCATE_REPLICAS), .time = 5}, CQ_E_VERSION},
        {{.version = 0, .method = M(ALLOCATE_REPLICAS), .time = 5}, CQ_E_VERSION},
        {{.version = 1, .method = M(ALLOCATE_REPLICAS), .account = 1, .time = 5}, CQ_E_INVALID},
        {{.version = 1, .method = M(ALLOCATE_REPLICAS), .time = ENTRY_TIME_END}, CQ_E_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_buf buf;
        cq_buf_init(&buf, ENTRY_MAX);
        assert_int_equal(entry_encode(&cases[i].entry, &buf, NULL), CQ_OK);
        enum cq_rc rc = sys_apply_bytes(f, cq_buf_slice(&buf));
        /* The entry's own decoder may refuse it first. */
        if (rc != cases[i].rc && rc != CQ_E_CORRUPT)
            fail_msg("case %zu: %s", i, cq_rc_name(rc));
        cq_buf_fini(&buf);
    }
    assert_int_equal(sys_epoch(f), 1);
}

static void the_entry_time_never_falls(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    uint64_t high = system_machine_time(f->machine);
    f->time = 5;
    sys_allocate(f, 1);
    assert_int_equal(system_machine_time(f->machine), high);
    assert_int_equal(f->last.entry_time, high);
    f->time = high + 100;
    sys_allocate(f, 0); /* refused, but its time counts */
    assert_int_equal(system_machine_time(f->machine), high + 100);
    sys_reopen(f);
    assert_int_equal(system_machine_time(f->machine), high + 100);
}

static void the_same_entries_give_the_same_digest_however_they_are_written(void **state)
{
    struct sys_fixture *f = *state;
    void *other_state = NULL;
    sys_setup(&other_state);
    struct sys_fixture *other = other_state;
    for (int i = 0; i < 2; i++) {
        struct sys_fixture *one = i ? other : f;
        sys_init_cluster(one);
        if (i)
            sys_reopen(one);
        sys_register_node(one, 0, "x:1", 2);
        if (i)
            sys_flush(one);
        sys_register_node(one, 5, "y:1", 1);
        sys_allocate(one, 3);
        sys_set_state(one, 5, TOPOLOGY_NODE_UP);
    }
    uint8_t a[16], b[16], zero[16] = {0};
    sys_digest_of(f, a);
    sys_digest_of(other, b);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, zero, 16);
    sys_reopen(f);
    sys_digest_of(f, b);
    assert_memory_equal(a, b, 16);
    sys_allocate(f, 1);
    sys_digest_of(f, b);
    assert_memory_not_equal(a, b, 16);
    sys_teardown(&other_state);
}

static void an_entry_that_was_applied_is_ignored(void **state)
{
    struct sys_fixture *f = *state;
    uint8_t before[16], after[16];
    Chasqui__System__AllocateReplicas msg = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    msg.count = 5;
    sys_init_cluster(f);
    sys_apply(f, M(ALLOCATE_REPLICAS), &msg.base);
    sys_digest_of(f, before);
    f->index--;
    assert_int_equal(sys_apply(f, M(ALLOCATE_REPLICAS), &msg.base), CQ_OK);
    assert_int_equal(f->last.answer.len, 0);
    sys_digest_of(f, after);
    assert_memory_equal(before, after, 16);
    assert_int_equal(sys_allocate(f, 1), 201); /* the five once */
}

static const struct topology *read_topology(struct sys_fixture *f, uint64_t known)
{
    Chasqui__System__GetTopology ask = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    uint8_t body[32], message[64];
    struct cq_buf answer, raw;
    const struct topology *t = NULL;
    ask.known_epoch = known;
    call.body = (ProtobufCBinaryData){chasqui__system__get_topology__pack(&ask, body), body};
    const struct machine_read read = {.method = M(GET_TOPOLOGY),
                                      .message = cq_slice_of(message, chasqui__mail__call__pack(&call, message))};
    cq_buf_init(&answer, 1 << 20);
    cq_buf_init(&raw, 1 << 20);
    assert_int_equal(f->machine->ops->read(f->machine, &read, f->pool, &answer, &raw, NULL), CQ_OK);
    Chasqui__Mail__Answer *msg = chasqui__mail__answer__unpack(NULL, answer.len, answer.data);
    assert_int_equal(msg->entry_time, system_machine_time(f->machine));
    assert_int_equal(topology_decode(cq_slice_of(msg->body.data, msg->body.len), &t, NULL), CQ_OK);
    chasqui__mail__answer__free_unpacked(msg, NULL);
    cq_buf_fini(&answer);
    cq_buf_fini(&raw);
    return t;
}

static void the_topology_is_read_whole_or_only_its_epoch(void **state)
{
    struct sys_fixture *f = *state;
    const struct topology *t = read_topology(f, 0);
    assert_int_equal(t->epoch, 0);
    topology_unref(&t);
    sys_init_cluster(f);
    t = read_topology(f, 0);
    assert_int_equal(t->epoch, 1);
    assert_int_equal(t->shard_count, 65);
    topology_unref(&t);
    t = read_topology(f, 1);
    assert_int_equal(t->epoch, 1);
    assert_int_equal(t->shard_count, 0);
    topology_unref(&t);
    sys_add_node(f, 7);
    assert_int_equal(sys_join(f, 7), CQ_OK);
    t = read_topology(f, 0);
    assert_true(t->move_count > 0);
    topology_unref(&t);
    t = read_topology(f, sys_epoch(f)); /* moves name nodes, which are left out */
    assert_int_equal(t->move_count, 0);
    topology_unref(&t);
}

static void reads_that_are_none_are_refused(void **state)
{
    struct sys_fixture *f = *state;
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    struct machine_read read = {.method = M(INIT_CLUSTER)};
    assert_int_equal(f->machine->ops->read(f->machine, &read, f->pool, &out, &out, NULL), CQ_E_UNSUPPORTED);
    read = (struct machine_read){.method = M(GET_TOPOLOGY), .message = CQ_SLICE("\xff\xff")};
    assert_int_equal(f->machine->ops->read(f->machine, &read, f->pool, &out, &out, NULL), CQ_E_PROTO);
    cq_buf_fini(&out);
    assert_true(system_method_find(M(INIT_CLUSTER))->command);
    assert_false(system_method_find(M(GET_TOPOLOGY))->command);
    assert_null(system_method_find(M(WATCH_TOPOLOGY)));
    assert_null(system_method_find(20));
}

static void a_corrupt_record_is_found_at_the_start(void **state)
{
    struct sys_fixture *f = *state;
    sys_init_cluster(f);
    sys_flush(f);
    f->machine->ops->close(f->machine);
    f->machine = NULL;
    uint8_t key[17] = {0}; /* group 0, generation 1, account 0, 'Y' */
    cq_put_be32(key + 4, 1);
    key[16] = 'Y';
    assert_true(store_mem_corrupt(f->store, STORE_STATE, cq_slice_of(key, sizeof key), 40));
    const struct machine_config config = {.store = f->store, .group = 0, .generation = 1, .incarnation = 1};
    assert_int_equal(system_machine_open(&config, &f->machine, NULL), CQ_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYS_TEST(any_bytes_are_an_entry_with_an_outcome),
        SYS_TEST(wrong_versions_accounts_and_times_are_refused),
        SYS_TEST(the_entry_time_never_falls),
        SYS_TEST(the_same_entries_give_the_same_digest_however_they_are_written),
        SYS_TEST(an_entry_that_was_applied_is_ignored),
        SYS_TEST(the_topology_is_read_whole_or_only_its_epoch),
        SYS_TEST(reads_that_are_none_are_refused),
        SYS_TEST(a_corrupt_record_is_found_at_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
