/* What the check of a replica finds, and what it does not take for damage; on every store. */
#include "unit/reseed/reseed_suite.h"

#include "reseed_rig.h"

#include "reseed/replica_check.h"
#include "reseed/reseed_refs.h"

static const struct reseed_backend *backend;

/* A whole replica in the store under test. */
static int setup(void **state)
{
    struct rig *rig = cq_new(struct rig);
    rig_init(rig, backend->create());
    rig_mail(rig, 12);
    assert_int_equal(rig_copy(rig), CQ_OK);
    rig_flip(rig, true);
    rig_cleanup(rig, 1000);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    rig_fini(rig);
    backend->destroy(rig->store);
    free(rig);
    return 0;
}

static enum cq_rc check(struct store *store, size_t step, struct replica_check *check_r)
{
    struct cq_err err = {0};
    enum cq_rc rc = replica_check_begin(check_r, store, RIG_GROUP, 1, &err);
    while (rc == CQ_OK)
        rc = replica_check_step(check_r, step, &err);
    replica_check_end(check_r);
    assert_true(rc == CQ_E_EOF || err.text[0]);
    assert_int_equal(rc == CQ_E_CORRUPT, check_r->found != CHECK_SOUND);
    return rc;
}

static void assert_finds(struct rig *rig, enum check_found found)
{
    struct replica_check c;
    static const size_t steps[] = {1, 500, 1 << 20};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(check(rig->store, steps[i], &c), found == CHECK_SOUND ? CQ_E_EOF : CQ_E_CORRUPT);
        assert_int_equal(c.found, found);
    }
}

/* The n-th key of a family's range, changed: its value with one octet turned, shorter by one, or gone. */
enum harm { TURN, CUT, DELETE };

static void harm(struct store *store, enum store_family family, struct cq_slice from, unsigned n, enum harm how)
{
    struct store_iter *iter = store_iter_new(store, NULL, family, from, CQ_SLICE_NONE);
    struct store_batch *batch = store_batch_new(store);
    uint8_t value[4096];
    do
        assert_int_equal(store_iter_next(iter), CQ_OK);
    while (n--);
    struct cq_slice old = store_iter_value(iter);
    assert_true(old.len > 4 && old.len <= sizeof value);
    memcpy(value, old.data, old.len);
    value[old.len / 2] ^= 0x10;
    if (how == DELETE)
        store_batch_delete(batch, family, store_iter_key(iter));
    else
        store_batch_put(batch, family, store_iter_key(iter), cq_slice_of(value, old.len - (how == CUT)));
    store_iter_free(&iter);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static struct cq_slice state_from(void)
{
    static struct state_keyspace space;
    state_keyspace_init(&space, RIG_GROUP, 1);
    return cq_slice_of(space.prefix, sizeof space.prefix);
}

static void a_sound_replica_is_found_sound(void **state)
{
    struct rig *rig = *state;
    struct replica_check c;
    assert_finds(rig, CHECK_SOUND);
    check(rig->store, 300, &c);
    assert_int_equal(c.records, c.mark.records);
    assert_int_equal(c.records, rig_count(rig->store, STORE_STATE, state_from().data, state_from().len));
    assert_int_equal(c.chunks, rig_count(rig->store, STORE_CHUNK, "", 0));
    assert_true(c.chunks > 5 && c.bytes > 1000);
}

static void a_changed_octet_in_any_record_is_found(void **state)
{
    struct rig *rig = *state;
    struct replica_check c;
    assert_int_equal(check(rig->store, 1000, &c), CQ_E_EOF);
    for (unsigned n = 0; n < c.records; n++) {
        harm(rig->store, STORE_STATE, state_from(), n, TURN);
        assert_finds(rig, CHECK_RECORD);
        harm(rig->store, STORE_STATE, state_from(), n, TURN); /* and back */
    }
    assert_finds(rig, CHECK_SOUND);
}

static void a_record_that_is_gone_changes_the_digest(void **state)
{
    struct rig *rig = *state;
    harm(rig->store, STORE_STATE, state_from(), 3, DELETE);
    assert_finds(rig, CHECK_DIGEST);
}

static void a_wrong_counter_is_found(void **state)
{
    struct rig *rig = *state;
    struct db_mark mark, wrong;
    assert_int_equal(db_mark_read(rig->store, NULL, RIG_GROUP, 1, &mark, NULL), CQ_OK);
    for (int i = 0; i < 3; i++) {
        wrong = mark;
        wrong.digest.low += i == 0;
        wrong.digest.high += i == 1;
        wrong.records += i == 2;
        struct store_batch *batch = store_batch_new(rig->store);
        db_mark_put(batch, RIG_GROUP, 1, &wrong);
        assert_int_equal(store_write(rig->store, batch, true, NULL), CQ_OK);
        store_batch_free(&batch);
        assert_finds(rig, CHECK_DIGEST);
    }
}

static void a_changed_octet_in_any_chunk_is_found(void **state)
{
    struct rig *rig = *state;
    size_t chunks = rig_count(rig->store, STORE_CHUNK, "", 0);
    for (unsigned n = 0; n < chunks; n++) {
        harm(rig->store, STORE_CHUNK, CQ_SLICE_NONE, n, TURN);
        assert_finds(rig, CHECK_CHUNK);
        harm(rig->store, STORE_CHUNK, CQ_SLICE_NONE, n, TURN);
    }
    assert_finds(rig, CHECK_SOUND);
    harm(rig->store, STORE_CHUNK, CQ_SLICE_NONE, 2, CUT);
    assert_finds(rig, CHECK_CHUNK);
}

static void a_missing_chunk_is_found(void **state)
{
    struct rig *rig = *state;
    harm(rig->store, STORE_CHUNK, CQ_SLICE_NONE, 4, DELETE);
    assert_finds(rig, CHECK_MISSING);
}

static enum cq_rc count_ref(void *arg, const struct chunk_ref *ref, struct cq_err *err)
{
    size_t *count = arg;
    (void)ref, (void)err;
    ++*count;
    return CQ_OK;
}

static size_t refs_from(struct store *store, const struct refs_at *at, struct refs_at *first_r)
{
    struct refs refs;
    size_t count = 0;
    enum cq_rc rc;
    refs_open(&refs, store, NULL, RIG_GROUP, 1, at);
    while ((rc = refs_next(&refs, count_ref, &count, NULL)) == CQ_OK)
        if (first_r->key.len == 0)
            *first_r = refs.at;
    assert_int_equal(rc, CQ_E_EOF);
    refs_close(&refs);
    return count;
}

/* A walk stopped inside a body's chunks; before it goes on, in another snapshot, that message was expunged. */
static void a_body_that_went_while_it_was_looked_at_hides_no_chunk_of_the_next(void **state)
{
    struct rig *rig = *state;
    struct refs_at at = {.row = 0}, unused = {.key = {.len = 1}};
    size_t all = refs_from(rig->store, &(struct refs_at){.row = 0}, &at);
    assert_true(all > 5 && at.key.len > 1);
    at.key.len--; /* the cursor behind the first record is its key and an octet of 0 */
    at.row = 1;
    assert_int_equal(refs_from(rig->store, &at, &unused), all - 1); /* it is still there: its one chunk was seen */
    at.key.at[at.key.len - 1]--;
    assert_int_equal(refs_from(rig->store, &at, &unused), all); /* another record, and it has gone */
}

/* Between all steps messages come and go, and the chunks of dead bodies are removed. */
static void writes_meanwhile_are_no_damage(void **state)
{
    struct rig *rig = *state;
    struct store *store = shard_store(rig->shard, 0);
    struct replica_check c;
    unsigned steps = 0;
    assert_int_equal(replica_check_begin(&c, store, RIG_GROUP, 1, NULL), CQ_OK);
    uint64_t index = c.mark.index;
    enum cq_rc rc;
    while ((rc = replica_check_step(&c, 700, &rig->err)) == CQ_OK) {
        if (steps++ < 40) {
            rig_mail(rig, 3);
            rig_sweep(rig->shard, 0);
        }
    }
    replica_check_end(&c);
    assert_int_equal(rc, CQ_E_EOF);
    assert_true(steps > 5);
    assert_int_equal(c.mark.index, index);
    assert_true(shard_last_index(rig->shard) > index + 10);
}

static void a_copy_that_is_replaced_meanwhile_is_not_called_sound(void **state)
{
    struct rig *rig = *state;
    struct replica_check c;
    assert_int_equal(replica_check_begin(&c, rig->store, RIG_GROUP, 1, NULL), CQ_OK);
    struct store_batch *batch = store_batch_new(rig->store);
    db_generation_delete(batch, RIG_GROUP, 1);
    assert_int_equal(store_write(rig->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    enum cq_rc rc;
    while ((rc = replica_check_step(&c, 100, &rig->err)) == CQ_OK)
        ;
    replica_check_end(&c);
    assert_int_equal(rc, CQ_E_NOT_FOUND);
    assert_int_equal(c.found, CHECK_SOUND);
    assert_int_equal(check(rig->store, 100, &c), CQ_E_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int check_suite_run(const struct reseed_backend *b)
{
    backend = b;
    const struct CMUnitTest tests[] = {
        TEST(a_sound_replica_is_found_sound),
        TEST(a_changed_octet_in_any_record_is_found),
        TEST(a_record_that_is_gone_changes_the_digest),
        TEST(a_wrong_counter_is_found),
        TEST(a_changed_octet_in_any_chunk_is_found),
        TEST(a_missing_chunk_is_found),
        TEST(a_body_that_went_while_it_was_looked_at_hides_no_chunk_of_the_next),
        TEST(writes_meanwhile_are_no_damage),
        TEST(a_copy_that_is_replaced_meanwhile_is_not_called_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
