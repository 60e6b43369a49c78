#include "raft_log_format.h"

#include "base/cq_mem.h"
#include "raft_conf.h"
#include "raft_load.h"
#include "raft_boot.h"
#include "store/store_mem.h"

#include "unit/cq_cmocka.h"
#include "unit/raft/raft_samples.h"

#include <stdlib.h>

static const struct raft_log_owner owner = {.group = 3, .replica = 101, .incarnation = 9};

static struct store *bootstrapped(void)
{
    const struct raft_member members[] = {sample_member(0), sample_member(1), sample_member(2)};
    struct store *store = store_mem_new();
    struct store_batch *batch = store_batch_new(store);
    assert_int_equal(raft_boot_write(batch, owner.group, owner.replica, members, 3, NULL), CQ_OK);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    return store;
}

static void run_job(struct store *store, struct raft_job *job)
{
    struct store_batch *batch = store_batch_new(store);
    raft_job_encode(job, batch);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    raft_job_free(&job);
}

/* Entries 2 to `last`, each with one chunk of 100 bytes. */
static void append(struct store *store, uint64_t last, uint64_t term)
{
    struct raft_job *job = raft_job_new(1);
    for (uint64_t i = 2; i <= last; i++) {
        struct raft_item *item = sample_item("entry", (uint32_t[]){100}, 1);
        raft_job_append(job, &owner, i, term, item);
        raft_item_unref(&item);
    }
    raft_job_vote(job, &owner, term, 102);
    run_job(store, job);
}

static enum cq_rc boot_rc(struct store *store)
{
    struct raft_boot *boot;
    enum cq_rc rc = raft_boot_read(store, owner.group, owner.replica, &boot, NULL);
    raft_boot_free(&boot);
    return rc;
}

static void entry_keys_sort_by_index_behind_the_single_records(void **state)
{
    (void)state;
    uint8_t a[RAFT_ENTRY_KEY_SIZE], b[RAFT_ENTRY_KEY_SIZE], single[RAFT_KEY_SIZE];
    raft_entry_key(1, 2, 255, a);
    raft_entry_key(1, 2, 256, b);
    raft_key(1, 2, RAFT_RECORD_MARKER, single);
    assert_true(memcmp(a, b, sizeof a) < 0);
    assert_true(memcmp(single, a, sizeof single) < 0);
    assert_true(raft_entry_key_index(cq_slice_of(b, sizeof b)) == 256);
    assert_true(raft_entry_key_index(cq_slice_of(single, sizeof single)) == 0);
}

static void a_record_is_refused_when_changed_or_moved_to_another_key(void **state)
{
    (void)state;
    uint8_t value[RAFT_RECORD_HEAD + 7];
    const struct raft_record record = {
        .kind = 1, .chunk_count = 2, .term = 3, .body_bytes = 4, .payload = CQ_SLICE("payload")};
    struct raft_record got;
    raft_record_head(CQ_SLICE("key"), &record, value);
    memcpy(value + RAFT_RECORD_HEAD, "payload", 7);
    struct cq_slice all = cq_slice_of(value, sizeof value);
    assert_int_equal(raft_record_parse(CQ_SLICE("key"), all, &got, NULL), CQ_OK);
    assert_true(got.kind == 1 && got.chunk_count == 2 && got.term == 3 && got.body_bytes == 4);
    assert_slice(got.payload, "payload");
    assert_int_equal(raft_record_parse(CQ_SLICE("kez"), all, &got, NULL), CQ_E_CORRUPT);
    assert_int_equal(raft_record_parse(CQ_SLICE("key"), cq_slice_sub(all, 0, 31), &got, NULL), CQ_E_CORRUPT);
    for (size_t i = 1; i < sizeof value; i++) {
        value[i] ^= 4;
        assert_int_equal(raft_record_parse(CQ_SLICE("key"), all, &got, NULL), CQ_E_CORRUPT);
        value[i] ^= 4;
    }
    value[0] = 2;
    assert_int_equal(raft_record_parse(CQ_SLICE("key"), all, &got, NULL), CQ_E_VERSION);
}

static void a_new_replica_boots_with_the_first_configuration(void **state)
{
    (void)state;
    struct store *store = bootstrapped();
    struct raft_boot *boot;
    assert_int_equal(raft_boot_read(store, owner.group, owner.replica, &boot, NULL), CQ_OK);
    assert_true(boot->term == 1 && boot->vote == 0 && !boot->marker_conf);
    assert_true(boot->log.first == 1 && raft_log_last(&boot->log) == 1 && raft_log_term(&boot->log, 1) == 1);
    raft_boot_free(&boot);
    assert_int_equal(raft_boot_read(store, owner.group, owner.replica + 1, &boot, NULL), CQ_E_NOT_FOUND);
    assert_int_equal(raft_boot_read(store, owner.group + 1, owner.replica, &boot, NULL), CQ_E_NOT_FOUND);
    store_close(&store);
}

static void what_a_job_wrote_is_there_at_the_next_boot(void **state)
{
    (void)state;
    struct store *store = bootstrapped();
    append(store, 10, 5);
    struct raft_job *job = raft_job_new(2);
    for (uint64_t i = 9; i <= 10; i++)
        raft_job_remove(job, &owner, i, 5, 1);
    struct raft_item *item = sample_item("other", (uint32_t[]){7, 8}, 2);
    raft_job_append(job, &owner, 9, 6, item);
    raft_item_unref(&item);
    raft_job_vote(job, &owner, 6, 0);
    run_job(store, job);
    struct store_mem_counts counts;
    store_mem_counts(store, &counts);
    assert_int_equal(counts.keys[STORE_CHUNK], 7 + 2); /* those of 9 and 10 went with them */
    struct raft_boot *boot;
    assert_int_equal(raft_boot_read(store, owner.group, owner.replica, &boot, NULL), CQ_OK);
    assert_true(boot->term == 6 && raft_log_last(&boot->log) == 9 && raft_log_term(&boot->log, 9) == 6);
    assert_int_equal(raft_log_at(&boot->log, 9)->chunk_count, 2);
    assert_int_equal(raft_log_at(&boot->log, 9)->body_bytes, 15);
    raft_boot_free(&boot);
    store_close(&store);
}

static void a_trimmed_log_boots_from_its_marker(void **state)
{
    (void)state;
    struct store *store = bootstrapped();
    append(store, 20, 5);
    struct raft_item *conf = sample_change(3);
    const struct raft_marker marker = {12, 5, 1, conf->entry};
    struct raft_job *job = raft_job_new(2);
    raft_job_trim(job, &owner, &marker, 1, 10);
    run_job(store, job);
    raft_item_unref(&conf);
    struct raft_boot *boot;
    assert_int_equal(raft_boot_read(store, owner.group, owner.replica, &boot, NULL), CQ_OK);
    assert_true(boot->log.first == 10 && raft_log_last(&boot->log) == 20);
    assert_true(boot->log.marker_index == 12 && boot->log.marker_term == 5 && boot->marker_conf_index == 1);
    raft_boot_free(&boot);
    store_close(&store);
}

static void delete_entry(struct store *store, uint64_t index)
{
    uint8_t key[RAFT_ENTRY_KEY_SIZE];
    struct store_batch *batch = store_batch_new(store);
    raft_entry_key(owner.group, owner.replica, index, key);
    store_batch_delete(batch, STORE_LOG, cq_slice_of(key, sizeof key));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void a_damaged_log_does_not_boot(void **state)
{
    (void)state;
    uint8_t key[RAFT_ENTRY_KEY_SIZE], vote[RAFT_KEY_SIZE];
    struct store *store = bootstrapped();
    append(store, 10, 5);
    assert_int_equal(boot_rc(store), CQ_OK);
    raft_entry_key(owner.group, owner.replica, 4, key);
    store_mem_corrupt(store, STORE_LOG, cq_slice_of(key, sizeof key), 40);
    assert_int_equal(boot_rc(store), CQ_E_CORRUPT);
    store_mem_corrupt(store, STORE_LOG, cq_slice_of(key, sizeof key), 40);
    assert_int_equal(boot_rc(store), CQ_OK);
    raft_key(owner.group, owner.replica, RAFT_RECORD_VOTE, vote);
    store_mem_corrupt(store, STORE_LOG, cq_slice_of(vote, sizeof vote), 9);
    assert_int_equal(boot_rc(store), CQ_E_CORRUPT);
    store_mem_corrupt(store, STORE_LOG, cq_slice_of(vote, sizeof vote), 9);
    delete_entry(store, 4); /* a gap */
    assert_int_equal(boot_rc(store), CQ_E_CORRUPT);
    store_close(&store);
    store = bootstrapped();
    append(store, 10, 5);
    delete_entry(store, 1); /* no configuration, no marker */
    assert_int_equal(boot_rc(store), CQ_E_CORRUPT);
    store_close(&store);
}

static struct raft_load *load_for(struct store *store, uint64_t peer, uint64_t from, uint64_t to, uint64_t bytes)
{
    struct raft_load *load = raft_load_new(&owner, peer, from, to, bytes);
    raft_load_run(load, store);
    return load;
}

static struct raft_load *load_range(struct store *store, uint64_t from, uint64_t to, uint64_t bytes)
{
    return load_for(store, 7, from, to, bytes);
}

static void a_load_reads_entries_with_their_bodies_up_to_its_bytes(void **state)
{
    (void)state;
    struct store *store = bootstrapped();
    append(store, 10, 5);
    struct raft_load *load = load_range(store, 3, 8, UINT64_MAX);
    assert_int_equal(load->rc, CQ_OK);
    assert_int_equal(load->count, 6);
    assert_int_equal(load->entries[5].term, 5);
    assert_int_equal(load->entries[5].item->body_bytes, 100);
    raft_load_free(&load);
    load = load_range(store, 3, 8, 1);
    assert_int_equal(load->count, 1); /* at least one */
    raft_load_free(&load);
    load = load_range(store, 11, 20, UINT64_MAX);
    assert_true(load->rc == CQ_OK && load->count == 0);
    raft_load_free(&load);
    store_close(&store);
}

static void assert_ends_before_entry_5(struct store *store)
{
    struct raft_load *load = load_range(store, 2, 10, UINT64_MAX);
    assert_true(load->rc == CQ_OK && load->damaged && load->count == 3);
    raft_load_free(&load);
    load = load_range(store, 5, 10, UINT64_MAX);
    assert_true(load->rc == CQ_OK && load->damaged && load->count == 0);
    raft_load_free(&load);
    load = load_for(store, 0, 2, 10, UINT64_MAX); /* to apply it, its body is not needed */
    assert_true(load->rc == CQ_OK && !load->damaged && load->count == 9);
    assert_int_equal(load->entries[3].item->body_count, 0);
    raft_load_free(&load);
}

static void a_load_for_a_follower_ends_before_a_corrupt_or_missing_body(void **state)
{
    (void)state;
    static const uint8_t key[] = {0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0};
    struct store *store = bootstrapped();
    append(store, 10, 5);
    assert_true(store_mem_corrupt(store, STORE_CHUNK, cq_slice_of(key, sizeof key), 50));
    assert_ends_before_entry_5(store);
    struct store_batch *batch = store_batch_new(store);
    store_batch_delete(batch, STORE_CHUNK, cq_slice_of(key, sizeof key));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_ends_before_entry_5(store);
    store_close(&store);
}

static void members_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct raft_member members[RAFT_MEMBERS_MAX + 1];
    struct store *store = store_mem_new();
    struct store_batch *batch = store_batch_new(store);
    for (unsigned i = 0; i <= RAFT_MEMBERS_MAX; i++)
        members[i] = sample_member(i);
    assert_int_equal(raft_boot_write(batch, 1, 100, members, 0, NULL), CQ_E_INVALID);
    assert_int_equal(raft_boot_write(batch, 1, 100, members, RAFT_MEMBERS_MAX, NULL), CQ_OK);
    assert_int_equal(raft_boot_write(batch, 1, 100, members, RAFT_MEMBERS_MAX + 1, NULL), CQ_E_INVALID);
    assert_int_equal(raft_boot_write(batch, 1, 103, members, 3, NULL), CQ_E_INVALID); /* not among them */
    members[1].replica = 100;
    assert_int_equal(raft_boot_write(batch, 1, 100, members, 3, NULL), CQ_E_INVALID);
    members[1].replica = 0;
    assert_int_equal(raft_boot_write(batch, 1, 100, members, 3, NULL), CQ_E_INVALID);
    members[1].replica = 101;
    members[1].node = members[2].node;
    assert_int_equal(raft_boot_write(batch, 1, 100, members, 3, NULL), CQ_E_INVALID);
    store_batch_free(&batch);
    store_close(&store);
}

static void a_configuration_has_one_encoding_and_no_other_parses(void **state)
{
    (void)state;
    struct raft_item *item = sample_change(3);
    struct raft_conf conf;
    uint8_t *copy = cq_memdup(item->entry.data, item->entry.len);
    size_t len = item->entry.len;
    assert_int_equal(raft_conf_parse(item->entry, &conf, NULL), CQ_OK);
    assert_int_equal(conf.count, 3);
    assert_true(raft_conf_find(&conf, 102) && !raft_conf_find(&conf, 103));
    for (size_t i = 0; i < len; i++)
        assert_int_equal(raft_conf_parse(cq_slice_of(copy, i), &conf, NULL), CQ_E_CORRUPT);
    copy[len - 1] = 1; /* padding */
    assert_int_equal(raft_conf_parse(cq_slice_of(copy, len), &conf, NULL), CQ_E_CORRUPT);
    copy[len - 1] = 0;
    copy[17] = 'A'; /* upper case */
    assert_int_equal(raft_conf_parse(cq_slice_of(copy, len), &conf, NULL), CQ_E_CORRUPT);
    copy[17] = 'a';
    copy[1] = 200; /* members */
    assert_int_equal(raft_conf_parse(cq_slice_of(copy, len), &conf, NULL), CQ_E_CORRUPT);
    free(copy);
    raft_item_unref(&item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_keys_sort_by_index_behind_the_single_records),
        cmocka_unit_test(a_record_is_refused_when_changed_or_moved_to_another_key),
        cmocka_unit_test(a_new_replica_boots_with_the_first_configuration),
        cmocka_unit_test(what_a_job_wrote_is_there_at_the_next_boot),
        cmocka_unit_test(a_trimmed_log_boots_from_its_marker),
        cmocka_unit_test(a_damaged_log_does_not_boot),
        cmocka_unit_test(a_load_reads_entries_with_their_bodies_up_to_its_bytes),
        cmocka_unit_test(a_load_for_a_follower_ends_before_a_corrupt_or_missing_body),
        cmocka_unit_test(members_that_cannot_be_are_refused),
        cmocka_unit_test(a_configuration_has_one_encoding_and_no_other_parses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
