/* FETCH and CHANGES: batches, supersets, what happens at the limits and with a damaged store. */
#include "unit/state/mail_helpers.h"

#include "state/state_key.h"
#include "state/state_limits.h"

static void batches_of_fetch_say_where_to_go_on(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__Fetch fetch = W(FETCH);
    uint32_t ranges[] = {1, 3, 5, 5, 9, 100}, want[] = {1, 2, 3, 5, 9, 10};
    Chasqui__Mail__UidSet set = W(UID_SET);
    for (int i = 0; i < 10; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    fetch.mailbox = INBOX;
    fetch.uids = &set;
    fetch.max_records = 2;
    set.ranges = ranges;
    set.n_ranges = 6;
    uint32_t next = 1, seen = 0;
    while (next) {
        const void *reply;
        struct cq_slice raw;
        struct fetch_record record;
        uint32_t rest[6];
        size_t n = 0;
        for (size_t i = 0; i < 6; i += 2) {
            if (ranges[i + 1] < next)
                continue;
            rest[n++] = ranges[i] > next ? ranges[i] : next;
            rest[n++] = ranges[i + 1];
        }
        set.ranges = rest;
        set.n_ranges = n;
        assert_int_equal(shard_read(s, 0, M(FETCH), ANA, &fetch.base, D(fetch_reply), &reply, &raw), CQ_OK);
        while (fetch_record_next(&raw, &record) == CQ_OK)
            assert_int_equal(record.uid, want[seen++]);
        next = ((const Chasqui__Mail__FetchReply *)reply)->next_uid;
    }
    assert_int_equal(seen, 6);
}

static void a_batch_ends_near_one_mebibyte(void **state)
{
    struct shard *s = *state;
    static uint8_t summary[200 << 10];
    struct h_message m = {.text = "x"};
    for (int i = 0; i < 12; i++) {
        struct shard_call call = h_append_call(s, INBOX, &m);
        ((Chasqui__Mail__Append *)(uintptr_t)call.message)->messages[0]->summary =
            (ProtobufCBinaryData){sizeof summary, summary};
        assert_int_equal(shard_run(s, &call).rc, CQ_OK);
    }
    Chasqui__Mail__Fetch fetch = W(FETCH);
    const void *reply;
    struct cq_slice raw;
    fetch.mailbox = INBOX;
    fetch.uids = h_set(1, 12);
    fetch.summaries = true;
    assert_int_equal(shard_read(s, 0, M(FETCH), ANA, &fetch.base, D(fetch_reply), &reply, &raw), CQ_OK);
    assert_int_equal(((const Chasqui__Mail__FetchReply *)reply)->next_uid, 7);
    assert_in_range(raw.len, 1 << 20, (1 << 20) + sizeof summary + 200);
}

static void a_batch_of_changes_never_splits_a_modseq(void **state)
{
    struct shard *s = *state;
    for (int i = 0; i < 30; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    uint64_t since = h_account(s)->modseq;
    assert_int_equal(h_flag(s, INBOX, 1, 10, 1, 1), CQ_OK);  /* ten in one modseq */
    assert_int_equal(h_flag(s, INBOX, 11, 12, 1, 1), CQ_OK); /* two in the next */
    assert_int_equal(h_flag(s, INBOX, 13, 13, 1, 1), CQ_OK);
    static const struct {
        uint32_t max, records;
        uint64_t until;
        bool more;
    } cases[] = {{1, 10, 1, true},  {10, 10, 1, true},  {11, 12, 2, true},
                 {12, 12, 2, true}, {13, 13, 3, false}, {0, 13, 3, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Chasqui__Mail__ChangesReply *got = h_changes(s, INBOX, since, cases[i].max, NULL);
        assert_int_equal(got->records, cases[i].records);
        assert_int_equal(got->until_modseq, since + cases[i].until);
        assert_int_equal(got->more, cases[i].more);
    }
    assert_int_equal(h_changes(s, INBOX, since + 99, 0, NULL)->records, 0);
    assert_int_equal(h_changes(s, INBOX, UINT64_MAX, 0, NULL)->until_modseq, UINT64_MAX);
    assert_true(h_changes(s, 99, 0, 0, NULL)->mailbox_gone);
}

static void expunges_beyond_memory_are_answered_with_a_superset(void **state)
{
    struct shard *s = *state;
    enum { N = STATE_VANISHED_MAX + 40 };
    for (int i = 0; i < 2 * N; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    uint64_t since = h_account(s)->modseq;
    for (uint32_t uid = 2; uid <= 2 * N; uid += 2) {
        assert_int_equal(h_flag(s, INBOX, uid, uid, 1, 8), CQ_OK);
        assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    }
    uint64_t now = h_account(s)->modseq;
    static const uint64_t steps_back[] = {1, 2, 2 * 700, 2 * 800, 2 * STATE_VANISHED_MAX, 2 * N};
    for (size_t i = 0; i < sizeof steps_back / sizeof steps_back[0]; i++) {
        const Chasqui__Mail__ChangesReply *got = h_changes(s, INBOX, now - steps_back[i], 0, NULL);
        uint64_t vanished = 0;
        for (size_t r = 0; r < got->vanished->n_ranges; r += 2) {
            vanished += got->vanished->ranges[r + 1] - got->vanished->ranges[r] + 1;
            assert_int_equal(got->vanished->ranges[r] % 2, 0); /* never one that is there */
        }
        assert_in_range(vanished, (steps_back[i] + 1) / 2, N);
        if (steps_back[i] <= 2 * 700)
            assert_int_equal(vanished, (steps_back[i] + 1) / 2);
    }
    assert_true(now - 2 * N >= since);
    assert_int_equal(h_changes(s, INBOX, 0, 0, NULL)->vanished->n_ranges, 2 * N);
}

static void many_vanished_ranges_come_in_batches(void **state)
{
    struct shard *s = *state;
    static const int n = 24000;
    static const struct h_message m = {.text = ""};
    for (int i = 0; i < n; i++)
        assert_int_equal(h_append(s, INBOX, m), CQ_OK);
    uint64_t since = h_account(s)->modseq;
    for (uint32_t from = 1; from < (uint32_t)n; from += 4000) {
        Chasqui__Mail__Expunge expunge = W(EXPUNGE);
        static uint32_t ranges[4000];
        Chasqui__Mail__UidSet set = W(UID_SET);
        for (uint32_t i = 0; i < 2000; i++)
            ranges[2 * i] = ranges[2 * i + 1] = from + 2 * i;
        set.ranges = ranges;
        set.n_ranges = 4000;
        assert_int_equal(h_flag(s, INBOX, from, from + 3999, 1, 8), CQ_OK);
        expunge.mailbox = INBOX;
        expunge.has_uids = true;
        expunge.uids = &set;
        assert_int_equal(h_run(s, M(EXPUNGE), &expunge).rc, CQ_OK);
    }
    uint64_t vanished = 0, records = 0;
    int batches = 0;
    for (bool more = true; more; batches++) {
        const Chasqui__Mail__ChangesReply *got = h_changes(s, INBOX, since, 0, NULL);
        vanished += got->vanished->n_ranges / 2;
        records += got->records;
        assert_true(got->until_modseq > since);
        since = got->until_modseq;
        more = got->more;
    }
    assert_int_equal(records, n / 2);
    assert_true(vanished >= (uint64_t)n / 2);
    assert_in_range(batches, 2, 10);
}

/* ---- damage ---- */

static void a_corrupt_record_breaks_the_machine_and_nothing_else(void **state)
{
    (void)state;
    struct shard *s = h_shard_with(NULL);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    shard_write(s, 0, true);
    struct state_keyspace space;
    struct state_key key;
    state_keyspace_init(&space, 5, 1);
    key_begin(&key, &space, ANA, KEY_MAILBOX);
    key_u64(&key, INBOX);
    assert_true(store_mem_corrupt(shard_store(s, 0), STORE_STATE, key_slice(&key), 20));
    struct machine *machine = shard_machine(s, 0);
    uint64_t applied = machine->ops->applied(machine);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "y"}), CQ_E_CORRUPT);
    assert_int_equal(machine->ops->health(machine), CQ_E_CORRUPT);
    assert_int_equal(machine->ops->applied(machine), applied);
    assert_null(machine->ops->effects_take(machine));
    Chasqui__Mail__Empty empty = W(EMPTY);
    const void *reply;
    assert_int_equal(shard_read(s, 0, M(GET_ACCOUNT), ANA, &empty.base, D(account_reply), &reply, NULL), CQ_E_CORRUPT);
    shard_free(&s);
}

static void a_flipped_bit_is_found_in_every_record(void **state)
{
    (void)state;
    struct shard *s = h_shard_with(NULL);
    uint64_t records, flipped = 0;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .keyword = (char *)"k", .flags = 8}), CQ_OK);
    shard_write(s, 0, true);
    struct store_iter *iter = store_iter_new(shard_store(s, 0), NULL, STORE_STATE, CQ_SLICE_NONE, CQ_SLICE_NONE);
    struct cq_slice keys[256];
    while (store_iter_next(iter) == CQ_OK && flipped < 256)
        keys[flipped++] = cq_pool_slice(shard_pool(s), store_iter_key(iter));
    store_iter_free(&iter);
    assert_true(flipped > 30);
    for (uint64_t i = 0; i < flipped; i++) {
        for (size_t at = 0; at < 3; at++) {
            assert_true(store_mem_corrupt(shard_store(s, 0), STORE_STATE, keys[i], at * 5));
            struct machine *machine;
            struct machine_config config = {
                .store = shard_store(s, 0), .group = 5, .generation = 1, .incarnation = SHARD_INCARNATION};
            enum cq_rc rc = mail_machine_open(&config, &machine, NULL);
            if (rc == CQ_OK) {
                rc = mail_machine_verify(machine, &records, NULL);
                machine->ops->close(machine);
            }
            assert_int_equal(rc, CQ_E_CORRUPT);
            assert_true(store_mem_corrupt(shard_store(s, 0), STORE_STATE, keys[i], at * 5));
        }
    }
    h_finish(s);
}

static void a_corrupt_or_missing_chunk_is_never_served(void **state)
{
    struct shard *s = *state;
    struct cq_slice octets;
    uint8_t key[CHUNK_KEY_SIZE];
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "precious"}), CQ_OK);
    chunk_key(&(struct chunk_id){SHARD_INCARNATION, 3, shard_last_index(s), 0}, key);
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 8, &octets), CQ_OK);
    assert_true(store_mem_corrupt(shard_store(s, 0), STORE_CHUNK, cq_slice_of(key, sizeof key), 7));
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 1, &octets), CQ_E_CORRUPT);
    assert_int_equal(octets.len, 0);
    struct store_batch *batch = store_batch_new(shard_store(s, 0));
    store_batch_delete(batch, STORE_CHUNK, cq_slice_of(key, sizeof key));
    assert_int_equal(store_write(shard_store(s, 0), batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 1, &octets), CQ_E_CORRUPT); /* its message lives */
    assert_int_equal(shard_machine(s, 0)->ops->health(shard_machine(s, 0)), CQ_OK);
    assert_int_equal(h_flag(s, INBOX, 1, 1, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 1, &octets), CQ_E_NOT_FOUND);
}

/* The only message goes, and its chunk at once. */
static void expunge_and_sweep(struct shard *s)
{
    uint8_t from[CHUNK_KEY_SIZE] = {0}, to[CHUNK_KEY_SIZE];
    memset(to, 0xff, sizeof to);
    assert_int_equal(h_flag(s, INBOX, 1, 1, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    struct store_iter *iter = store_iter_new(shard_store(s, 0), NULL, STORE_CHUNK, cq_slice_of(from, sizeof from),
                                             cq_slice_of(to, sizeof to));
    assert_int_equal(store_iter_next(iter), CQ_OK);
    struct store_batch *batch = store_batch_new(shard_store(s, 0));
    store_batch_delete(batch, STORE_CHUNK, store_iter_key(iter));
    store_iter_free(&iter);
    assert_int_equal(store_write(shard_store(s, 0), batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void a_body_that_is_swept_while_it_is_read_is_not_found(void **state)
{
    struct shard *s = *state;
    struct cq_slice octets;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "going"}), CQ_OK);
    shard_before_chunks(s, expunge_and_sweep);
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 5, &octets), CQ_E_NOT_FOUND);
    assert_int_equal(octets.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H_TEST(batches_of_fetch_say_where_to_go_on),
        H_TEST(a_batch_ends_near_one_mebibyte),
        H_TEST(a_batch_of_changes_never_splits_a_modseq),
        H_TEST(expunges_beyond_memory_are_answered_with_a_superset),
        H_TEST(many_vanished_ranges_come_in_batches),
        cmocka_unit_test(a_corrupt_record_breaks_the_machine_and_nothing_else),
        cmocka_unit_test(a_flipped_bit_is_found_in_every_record),
        H_TEST(a_corrupt_or_missing_chunk_is_never_served),
        H_TEST(a_body_that_is_swept_while_it_is_read_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
