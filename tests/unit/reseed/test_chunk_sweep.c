/* Chunks that RocksDB cannot read are found by their keys, with real blob files. */
#include "reseed/chunk_sweep.h"
#include "reseed/reseed_target.h"
#include "store/store_rocksdb.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNKS 40
#define LENGTH 5000

static const struct store_rocksdb_config config = {
    .block_cache = 8 << 20,
    .write_buffer = 4 << 20,
    .write_buffers = 4,
    .wal_max = 16 << 20,
    .background_jobs = 2,
    .open_files = 64,
    .quiet = true,
};
static char base_dir[] = "/tmp/chasqui-sweep-XXXXXX";
static char path[64];

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(name);
}

static int fresh(void **state)
{
    (void)state;
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* Ids far apart and close together, of two groups. */
static struct chunk_id id_of(unsigned i)
{
    return (struct chunk_id){(uint64_t)(i / 20 + 1) << 32 | 1, 3 + i / 10, i * 1000003ull, i % 3};
}

static struct store *open_store(bool create)
{
    struct store *store = NULL;
    struct cq_err err = {0};
    if (store_rocksdb_open(path, create, &config, &store, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return store;
}

static void fill(void)
{
    struct store *store = open_store(true);
    struct store_batch *batch = store_batch_new(store);
    static uint8_t octets[LENGTH];
    for (unsigned i = 0; i < CHUNKS; i++) {
        uint8_t key[CHUNK_KEY_SIZE];
        const struct chunk_id id = id_of(i);
        chunk_key(&id, key);
        memset(octets, (int)i, sizeof octets);
        store_batch_put(batch, STORE_CHUNK, cq_slice_of(key, sizeof key), cq_slice_of(octets, sizeof octets));
    }
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(store_rocksdb_flush(store, NULL), CQ_OK);
    store_close(&store);
}

/* In the one blob file, values stand in the order of their keys. */
static void damage(unsigned i)
{
    char pattern[128];
    glob_t files;
    snprintf(pattern, sizeof pattern, "%s/*.blob", path);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, 1);
    struct stat st;
    assert_int_equal(stat(files.gl_pathv[0], &st), 0);
    int fd = open(files.gl_pathv[0], O_RDWR);
    off_t record = (st.st_size - 62) / CHUNKS; /* header 30, footer 32 */
    assert_int_equal(pwrite(fd, "damaged", 7, 30 + record * (off_t)i + record / 2), 7);
    close(fd);
    globfree(&files);
}

static void delete_chunk(struct store *store, const struct chunk_id *id)
{
    uint8_t key[CHUNK_KEY_SIZE];
    struct store_batch *batch = store_batch_new(store);
    chunk_key(id, key);
    store_batch_delete(batch, STORE_CHUNK, cq_slice_of(key, sizeof key));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static size_t sweep(size_t step, struct chunk_id *found)
{
    struct store *store = open_store(false);
    struct chunk_sweep s;
    size_t count = 0;
    chunk_sweep_begin(&s, store);
    for (int steps = 0; !s.done; steps++) {
        assert_true(steps < 1000 && count <= CHUNKS);
        enum cq_rc rc = chunk_sweep_step(&s, step, &found[count], NULL);
        if (rc == CQ_E_CORRUPT)
            delete_chunk(store, &found[count++]);
        else
            assert_int_equal(rc, CQ_OK);
    }
    store_close(&store);
    return count;
}

static void assert_found(const unsigned *which, size_t count, size_t step)
{
    struct chunk_id found[CHUNKS + 1];
    fresh(NULL);
    fill();
    for (size_t i = 0; i < count; i++)
        damage(which[i]);
    assert_int_equal(sweep(step, found), count);
    for (size_t i = 0; i < count; i++) {
        bool there = false;
        for (size_t j = 0; j < count; j++) {
            const struct chunk_id id = id_of(which[i]);
            there |= found[j].incarnation == id.incarnation && found[j].term == id.term && found[j].index == id.index &&
                     found[j].ordinal == id.ordinal;
        }
        if (!there)
            fail_msg("chunk %u was not found", which[i]);
    }
    assert_int_equal(sweep(step, found), 0); /* and nothing is left */
}

static void every_chunk_that_does_not_read_is_found_and_no_other(void **state)
{
    (void)state;
    static const unsigned first[] = {0}, one[] = {17}, last[] = {CHUNKS - 1};
    static const unsigned neighbours[] = {5, 6, 7}, many[] = {0, 3, 4, 19, 20, 38};
    assert_found(NULL, 0, 1 << 20);
    assert_found(first, 1, 1 << 20);
    assert_found(one, 1, 1 << 20);
    assert_found(last, 1, 1 << 20);
    assert_found(neighbours, 3, 1 << 20);
    assert_found(many, 6, 1 << 20);
    assert_found(many, 6, 1); /* one chunk a step */
}

/* What RocksDB's own work meets stops all writes, of whatever it concerns, until the store is opened again. */
static enum cq_rc write_something(struct store *store, struct cq_err *err)
{
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_LOCAL, CQ_SLICE("key"), CQ_SLICE("value"));
    enum cq_rc rc = store_write(store, batch, true, err);
    store_batch_free(&batch);
    return rc;
}

static struct store *open_loud(void)
{
    struct store_rocksdb_config loud = config;
    struct store *store = NULL;
    loud.quiet = false;
    assert_int_equal(store_rocksdb_open(path, false, &loud, &store, NULL), CQ_OK);
    return store;
}

static void collect_garbage(struct store *store)
{
    const struct chunk_id id = id_of(1);
    delete_chunk(store, &id); /* so that there is some */
    assert_int_equal(store_rocksdb_flush(store, NULL), CQ_OK);
    store_rocksdb_reclaim(store, UINT64_C(1) << 40);
}

static void a_store_that_met_damage_goes_on_after_the_sweep(void **state)
{
    (void)state;
    struct chunk_id found[CHUNKS + 1];
    struct cq_err err = {0};
    fill();
    damage(17);
    damage(30);
    struct store *store = open_loud();
    for (unsigned i = 2; i < 16; i++) {
        const struct chunk_id id = id_of(i);
        delete_chunk(store, &id);
    }
    collect_garbage(store);
    assert_int_equal(write_something(store, &err), CQ_E_IO);
    if (!strstr(err.text, "Corruption"))
        fail_msg("%s", err.text);
    store_close(&store);
    store = open_store(false);
    collect_garbage(store); /* quiet: it does not */
    assert_int_equal(write_something(store, &err), CQ_OK);
    store_close(&store);
    assert_int_equal(sweep(1 << 20, found), 2);
    store = open_loud();
    collect_garbage(store);
    assert_int_equal(write_something(store, &err), CQ_OK);
    store_close(&store);
}

static void an_empty_store_has_nothing_to_find(void **state)
{
    (void)state;
    struct chunk_id found[CHUNKS + 1];
    struct store *store = open_store(true);
    store_close(&store);
    assert_int_equal(sweep(1, found), 0);
}

/* ---- After a flip (reseed_cleanup_step) ---- */

static size_t keys_of(struct store *store, enum store_family family)
{
    struct store_iter *iter = store_iter_new(store, NULL, family, CQ_SLICE_NONE, CQ_SLICE_NONE);
    size_t count = 0;
    enum cq_rc rc;
    while ((rc = store_iter_next(iter)) == CQ_OK)
        count++;
    assert_int_equal(rc, CQ_E_EOF); /* all of them read */
    store_iter_free(&iter);
    return count;
}

/* Of the first group, whose state names none. */
static void clean_up(struct store *store, uint64_t log_first, size_t chunks_max)
{
    struct reseed_record record = {
        .group = 1, .phase = RESEED_CLEANUP, .generation = 2, .index = UINT64_MAX, .term = UINT64_MAX};
    const struct reseed_cleanup how = {(uint64_t)1 << 32 | 1, log_first, chunks_max};
    bool done = false;
    for (int steps = 0; !done; steps++) {
        uint64_t removed;
        struct store_batch *batch = store_batch_new(store);
        assert_true(steps < 100); /* a step that gets no further is repeated for ever */
        assert_int_equal(reseed_cleanup_step(store, &record, &how, batch, &removed, &done, NULL), CQ_OK);
        assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
        store_batch_free(&batch);
    }
}

static void a_dead_chunk_that_does_not_read_goes_and_others_stay_while_the_log_has_their_entries(void **state)
{
    (void)state;
    static const unsigned which[] = {0, 5, 6, 19};
    static const size_t steps[] = {1, 3, 1000};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fresh(NULL);
        fill();
        for (size_t d = 0; d < 4; d++)
            damage(which[d]);
        struct store *store = open_store(false);
        clean_up(store, 0, steps[i]);
        assert_int_equal(keys_of(store, STORE_CHUNK), CHUNKS - 4);
        assert_int_equal(keys_of(store, STORE_LOCAL), 16); /* marked */
        clean_up(store, UINT64_MAX, steps[i]);
        assert_int_equal(keys_of(store, STORE_CHUNK), CHUNKS - 20);
        store_close(&store);
    }
}

int main(void)
{
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(path, sizeof path, "%s/store", base_dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_chunk_that_does_not_read_is_found_and_no_other, fresh),
        cmocka_unit_test_setup(a_store_that_met_damage_goes_on_after_the_sweep, fresh),
        cmocka_unit_test_setup(an_empty_store_has_nothing_to_find, fresh),
        cmocka_unit_test_setup(a_dead_chunk_that_does_not_read_goes_and_others_stay_while_the_log_has_their_entries,
                               fresh),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(base_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
