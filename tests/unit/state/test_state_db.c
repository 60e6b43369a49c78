/* Overlay, store and digest against a plain table, through takes, writes, undone commands and crashes. */
#include "unit/cq_cmocka.h"

#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "state/layer.h"
#include "state/state_db.h"
#include "store/store_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 300

struct fixture {
    struct store *store;
    struct state_db *db;
    struct cq_pool *pool;
    struct cq_prng dice;
    int table[KEYS]; /* the value of key i, 0: none */
    struct machine_effects *taken[16];
    unsigned taken_count;
    uint64_t index;
};

static struct machine_config config_of(struct fixture *f)
{
    return (struct machine_config){.store = f->store, .group = 1, .generation = 2, .incarnation = 3};
}

static struct state_key key_of(struct fixture *f, int i)
{
    struct state_key key;
    key_begin(&key, db_space(f->db), (uint64_t)(i % 3), KEY_MESSAGE);
    key_u32(&key, (uint32_t)(i * 7));
    return key;
}

static int setup(void **state)
{
    struct fixture *f = cq_new(struct fixture);
    f->store = store_mem_new();
    struct machine_config config = config_of(f);
    assert_int_equal(db_open(&config, &f->db, NULL), CQ_OK);
    f->pool = cq_pool_new(4096);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    db_close(&f->db);
    store_close(&f->store);
    cq_pool_free(&f->pool);
    free(f);
    return 0;
}

static void put(struct fixture *f, int i, int value)
{
    struct state_key key = key_of(f, i);
    char text[32];
    snprintf(text, sizeof text, "value %d", value);
    if (value)
        db_put(f->db, &key, cq_slice_cstr(text));
    else
        db_delete(f->db, &key);
    f->table[i] = value;
}

static int get(struct fixture *f, int i)
{
    struct state_key key = key_of(f, i);
    struct cq_slice value;
    int number;
    char text[32];
    enum cq_rc rc = db_get(f->db, &key, f->pool, &value);
    if (rc == CQ_E_NOT_FOUND)
        return 0;
    assert_int_equal(rc, CQ_OK);
    snprintf(text, sizeof text, "%.*s", CQ_SLICE_ARG(value));
    assert_int_equal(sscanf(text, "value %d", &number), 1);
    return number;
}

static void check_all(struct fixture *f)
{
    struct cq_hash128 sum = {0, 0};
    uint64_t records = 0;
    int seen[KEYS] = {0};
    struct state_key all = {.len = 0}, last = {.len = 0};
    key_bytes(&all, db_space(f->db)->prefix, STATE_KEY_PREFIX);
    struct db_iter *iter = db_iter_prefix(f->db, &all);
    while (db_iter_next(iter) == CQ_OK) {
        struct cq_slice key = db_iter_key(iter);
        assert_true(cq_slice_cmp(key, key_slice(&last)) > 0);
        last.len = 0;
        key_bytes(&last, key.data, key.len);
        sum = hash128_add(sum, db_record_hash(key, db_iter_value(iter)));
        records++;
        int i = (key.data[key.len - 1] | key.data[key.len - 2] << 8) / 7;
        assert_int_equal(i % 3, key.data[15]);
        seen[i]++;
    }
    assert_int_equal(db_iter_next(iter), CQ_E_EOF);
    db_iter_free(&iter);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(seen[i], f->table[i] != 0);
        assert_int_equal(get(f, i), f->table[i]);
    }
    assert_int_equal(records, db_mark(f->db)->records);
    assert_true(cq_hash128_eq(sum, db_mark(f->db)->digest));
}

static void check_seek(struct fixture *f)
{
    struct state_key first = key_of(f, 0), after;
    first.len = STATE_KEY_HEAD;
    key_after_prefix(&first, &after);
    struct db_iter *iter = db_iter_new(f->db, key_slice(&first), key_slice(&after));
    for (int round = 0; round < 5; round++) {
        int from = (int)cq_prng_below(&f->dice, KEYS);
        from -= from % 3; /* account 0 */
        struct state_key key = key_of(f, from);
        db_iter_seek(iter, &key);
        for (int want = from, steps = (int)cq_prng_below(&f->dice, 5); steps >= 0; steps--) {
            while (want < KEYS && !f->table[want])
                want += 3;
            enum cq_rc rc = db_iter_next(iter);
            assert_int_equal(rc, want < KEYS ? CQ_OK : CQ_E_EOF);
            if (rc != CQ_OK)
                break;
            struct state_key expected = key_of(f, want);
            assert_true(cq_slice_eq(db_iter_key(iter), key_slice(&expected)));
            want += 3;
        }
    }
    db_iter_free(&iter);
}

static void take(struct fixture *f)
{
    struct machine_effects *effects = f->taken_count < 16 ? db_effects_take(f->db) : NULL;
    if (effects)
        f->taken[f->taken_count++] = effects;
}

static void write_some(struct fixture *f, unsigned count)
{
    if (count > f->taken_count)
        count = f->taken_count;
    struct store_batch *batch = store_batch_new(f->store);
    for (unsigned i = 0; i < count; i++)
        db_effects_encode(f->taken[i], batch);
    assert_int_equal(store_write(f->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    for (unsigned i = 0; i < count; i++)
        db_effects_written(f->db, f->taken[i]);
    f->taken_count -= count;
    memmove(f->taken, f->taken + count, f->taken_count * sizeof f->taken[0]);
}

static void command(struct fixture *f)
{
    int before[KEYS];
    bool keep = cq_prng_below(&f->dice, 4) != 0;
    memcpy(before, f->table, sizeof before);
    db_begin(f->db);
    for (uint32_t n = cq_prng_below(&f->dice, 12); n > 0; n--) {
        int i = (int)cq_prng_below(&f->dice, KEYS);
        if (cq_prng_below(&f->dice, 2))
            assert_int_equal(get(f, i), f->table[i]);
        put(f, i, cq_prng_below(&f->dice, 3) ? 1 + (int)cq_prng_below(&f->dice, 100000) : 0);
    }
    db_end(f->db, keep);
    if (!keep)
        memcpy(f->table, before, sizeof before);
    db_advance(f->db, (struct machine_position){++f->index, 1});
}

static void reopen(struct fixture *f)
{
    take(f);
    write_some(f, 16);
    db_close(&f->db);
    struct machine_config config = config_of(f);
    assert_int_equal(db_open(&config, &f->db, NULL), CQ_OK);
    assert_int_equal(db_mark(f->db)->index, f->index);
}

static void the_db_is_a_table_with_a_digest(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        f->dice.state = seed;
        for (int step = 0; step < 1500; step++) {
            switch (cq_prng_below(&f->dice, 20)) {
            case 0:
                take(f);
                break;
            case 1:
                write_some(f, 1 + cq_prng_below(&f->dice, 3));
                break;
            case 2:
                check_seek(f);
                break;
            case 3:
                if (cq_prng_below(&f->dice, 10) == 0)
                    reopen(f);
                break;
            case 4:
                check_all(f);
                break;
            default:
                command(f);
            }
        }
        check_all(f);
    }
    for (unsigned i = 0; i < f->taken_count; i++)
        assert_non_null(f->taken[i]);
    write_some(f, 16);
}

static void an_undone_command_leaves_no_local_mark_and_no_effect(void **state)
{
    struct fixture *f = *state;
    struct store_mem_counts counts;
    db_begin(f->db);
    put(f, 1, 5);
    db_local_put(f->db, CQ_SLICE("kept"), CQ_SLICE("1"));
    db_end(f->db, true);
    db_advance(f->db, (struct machine_position){1, 1});
    db_begin(f->db);
    put(f, 1, 0);
    put(f, 2, 6);
    db_local_put(f->db, CQ_SLICE("undone"), CQ_SLICE("1"));
    db_end(f->db, false);
    f->table[1] = 5;
    f->table[2] = 0;
    check_all(f);
    take(f);
    write_some(f, 1);
    store_mem_counts(f->store, &counts);
    assert_int_equal(counts.keys[STORE_STATE], 1);
    assert_int_equal(counts.keys[STORE_LOCAL], 2); /* "kept" and where the state stands */
    assert_null(db_effects_take(f->db));
}

static void a_mark_of_a_newer_build_is_refused(void **state)
{
    struct fixture *f = *state;
    struct machine_config config = config_of(f);
    static const struct {
        uint8_t value[45];
        size_t len;
        enum cq_rc want;
    } cases[] = {{{2}, 45, CQ_E_VERSION}, {{1}, 45, CQ_E_CORRUPT}, {{1}, 44, CQ_E_CORRUPT}, {{1}, 0, CQ_E_CORRUPT}};
    static const uint8_t key[] = {'a', 0, 0, 0, 1, 0, 0, 0, 2};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct store_batch *batch = store_batch_new(f->store);
        struct state_db *db;
        store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), cq_slice_of(cases[i].value, cases[i].len));
        assert_int_equal(store_write(f->store, batch, true, NULL), CQ_OK);
        store_batch_free(&batch);
        assert_int_equal(db_open(&config, &db, NULL), cases[i].want);
        assert_null(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_db_is_a_table_with_a_digest, setup, teardown),
        cmocka_unit_test_setup_teardown(an_undone_command_leaves_no_local_mark_and_no_effect, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mark_of_a_newer_build_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
