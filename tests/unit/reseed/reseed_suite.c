#include "unit/reseed/reseed_suite.h"

#include "reseed_rig.h"

#include "base/cq_endian.h"

static const struct reseed_backend *backend; /* cmocka's group functions take no context */

static int setup(void **state)
{
    struct rig *rig = cq_new(struct rig);
    rig_init(rig, backend->create());
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

static void assert_copied(struct rig *rig)
{
    if (rig_copy(rig) != CQ_OK)
        fail_msg("%s", rig->err.text);
}

static size_t chunks_of(struct store *store)
{
    uint8_t prefix[8];
    cq_put_be64(prefix, SHARD_INCARNATION);
    return rig_count(store, STORE_CHUNK, prefix, sizeof prefix);
}

static size_t records_of(struct store *store, uint32_t generation)
{
    struct state_keyspace space;
    state_keyspace_init(&space, RIG_GROUP, generation);
    return rig_count(store, STORE_STATE, space.prefix, sizeof space.prefix);
}

/* ---- Stories ---- */

static void an_empty_replica_becomes_equal(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 12);
    assert_copied(rig);
    assert_int_equal(rig_flip(rig, true), RAFT_INSTALL_REPLACED);
    rig_assert_equal(rig, 1);
    rig_sweep(rig->shard, 0);
    rig_cleanup(rig, 4);
    assert_int_equal(chunks_of(rig->store), chunks_of(shard_store(rig->shard, 0)));
    rig_assert_equal(rig, 1);
}

static void a_copy_stopped_before_every_question_goes_on(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 12);
    unsigned stops = 0;
    for (rig->stop_ask = 1; rig_copy(rig) == CQ_E_CANCELLED; stops++) {
        rig->asks = 0;
        rig->stop_ask = stops + 2;
    }
    assert_true(stops > 10);
    rig_flip(rig, true);
    rig_assert_equal(rig, 1);
}

/* Phase one does not begin again: the questions of all attempts together are few more than those of one. */
static void what_phase_one_has_copied_is_not_asked_for_again(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 30);
    unsigned chunk_rows = 0, attempts = 0;
    rig->stop_ask = 3;
    while (rig->target.record.phase < RESEED_STATE && rig_copy(rig) == CQ_E_CANCELLED) {
        rig->asks = 0;
        attempts++;
        chunk_rows += (unsigned)rig->target.chunks;
        assert_true(attempts < 1000);
    }
    assert_true(attempts > 3);
    assert_int_equal(chunk_rows, chunks_of(shard_store(rig->shard, 0)));
}

static void write_on(struct rig *rig, const struct reseed_question *question)
{
    if (question->kind != RESEED_ASK_STATE)
        return;
    char text[64];
    snprintf(text, sizeof text, "Subject: meanwhile\r\n\r\n%u\r\n", rig->asks);
    assert_int_equal(h_append(rig->shard, INBOX, (struct h_message){.text = text}), CQ_OK);
    assert_int_equal(h_flag(rig->shard, INBOX, 1, 1000, CHASQUI__MAIL__STORE__MODE__ADD,
                            rig->asks % 2 ? CHASQUI__MAIL__SYSTEM_FLAG__SEEN : CHASQUI__MAIL__SYSTEM_FLAG__DELETED),
                     CQ_OK);
    if (rig->asks % 5 == 0)
        assert_int_equal(h_expunge(rig->shard, INBOX), CQ_OK);
    shard_write(rig->shard, 0, true);
    rig_sweep(rig->shard, 0);
}

static void writes_during_phase_two_come_after_it(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 20);
    uint64_t index = shard_last_index(rig->shard);
    rig->before_ask = write_on;
    assert_copied(rig);
    assert_true(shard_last_index(rig->shard) > index + 10);
    assert_true(rig->offer.mark.index == index);
    rig_flip(rig, true);
    rig_assert_equal(rig, 1); /* with the entries after it */
}

static void expunge_on(struct rig *rig, const struct reseed_question *question)
{
    if (question->kind != RESEED_ASK_CHUNKS && question->kind != RESEED_ASK_SUMMARIES)
        return;
    uint32_t uid = rig->asks;
    h_flag(rig->shard, INBOX, uid, uid + 1, CHASQUI__MAIL__STORE__MODE__ADD, CHASQUI__MAIL__SYSTEM_FLAG__DELETED);
    assert_int_equal(h_expunge(rig->shard, INBOX), CQ_OK);
    shard_write(rig->shard, 0, true);
    rig_sweep(rig->shard, 0);
}

static void bodies_expunged_during_phase_one_are_swept_after_the_flip(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 40);
    rig->before_ask = expunge_on;
    assert_copied(rig);
    assert_true(chunks_of(rig->store) > chunks_of(shard_store(rig->shard, 0)));
    rig_flip(rig, true);
    rig_assert_equal(rig, 1);
    assert_true(rig_cleanup(rig, 3) > 0);
    assert_int_equal(chunks_of(rig->store), chunks_of(shard_store(rig->shard, 0)));
    rig_assert_equal(rig, 1);
}

/* The log was kept: another member may still need these entries, with their bodies. */
static void bodies_of_entries_in_the_log_are_only_marked_dead(void **state)
{
    struct rig *rig = *state;
    uint8_t from[DEAD_CHUNK_KEY_SIZE], to[DEAD_CHUNK_KEY_SIZE];
    rig_mail(rig, 40);
    rig->before_ask = expunge_on;
    assert_copied(rig);
    size_t all = chunks_of(rig->store), alive = chunks_of(shard_store(rig->shard, 0));
    assert_true(all > alive);
    rig_flip(rig, true);
    rig->log_first = 1;
    assert_int_equal(rig_cleanup(rig, 3), 0);
    assert_int_equal(chunks_of(rig->store), all);
    dead_chunk_range(RIG_GROUP, rig->offer.mark.index + 1, from, to);
    assert_int_equal(rig_count(rig->store, STORE_LOCAL, from, 5), all - alive); /* kind and group */
    rig_assert_equal(rig, 1);
}

static void change_source(struct rig *rig, const struct reseed_question *question)
{
    if (question->kind == RESEED_ASK_STATE && question->from->len && rig->source == 0 && rig->stop_ask == 0)
        rig->stop_ask = rig->asks + 1; /* the first leader dies in the middle of phase two */
}

static void another_leader_goes_on_where_phase_one_was(void **state)
{
    struct rig *rig = *state;
    shard_free(&rig->shard);
    rig->shard = shard_new(2);
    shard_own_all(rig->shard);
    assert_int_equal(h_create_account(rig->shard, NULL).rc, CQ_OK);
    rig_mail(rig, 20);
    assert_true(shard_catch_up(rig->shard, 1, shard_last_index(rig->shard)));
    shard_write(rig->shard, 1, true);
    rig->before_ask = change_source;
    assert_int_equal(rig_copy(rig), CQ_E_CANCELLED);
    assert_int_equal(rig->target.record.phase, RESEED_STATE);
    assert_int_equal(h_append(rig->shard, INBOX, (struct h_message){.text = "one more"}), CQ_OK);
    assert_true(shard_catch_up(rig->shard, 1, shard_last_index(rig->shard)));
    shard_write(rig->shard, 1, true);
    rig->source = 1;
    rig->stop_ask = 0;
    assert_copied(rig);
    assert_true(rig->offer.mark.index == shard_last_index(rig->shard));
    rig_flip(rig, true);
    rig_assert_equal(rig, 1);
}

static void lose_a_row(struct rig *rig, const struct reseed_question *question, struct reseed_answer *answer)
{
    struct reseed_row row;
    struct cq_slice left = cq_buf_slice(&answer->page);
    if (question->kind != RESEED_ASK_STATE || question->from->len == 0 || rig->named == 777)
        return;
    rig->named = 777;
    assert_int_equal(reseed_row_next(&left, &row, NULL), CQ_OK);
    cq_buf_consume(&answer->page, answer->page.len - left.len);
}

static void a_copy_whose_digest_is_another_is_not_flipped(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 20);
    rig->after_ask = lose_a_row;
    assert_int_equal(rig_copy(rig), CQ_E_CORRUPT);
    assert_true(rig->digest);
    assert_non_null(strstr(rig->err.text, "digest"));
    rig->after_ask = NULL;
    assert_copied(rig); /* the next attempt does not suffer from it */
    rig_flip(rig, true);
    rig_assert_equal(rig, 1);
}

/* ---- A replica that has something already ---- */

/* Makes the target a replica with generation 1 at the source's present index. */
static void have_replica(struct rig *rig)
{
    rig_mail(rig, 15);
    assert_copied(rig);
    rig_flip(rig, true);
    rig_cleanup(rig, 100);
    rig->generation = 1;
    rig->asks = rig->writes = rig->named = 0;
}

static void a_replica_that_is_behind_gets_only_what_it_lacks(void **state)
{
    struct rig *rig = *state;
    have_replica(rig);
    size_t before = chunks_of(rig->store);
    rig_mail(rig, 10);
    assert_copied(rig);
    assert_int_equal(rig->target.chunks, 10);
    assert_int_equal(chunks_of(rig->store), before + 10);
    assert_true(records_of(rig->store, 1) > 0 && records_of(rig->store, 2) > 0);
    rig_flip(rig, true);
    rig_assert_equal(rig, 2);
    rig_cleanup(rig, 7);
    assert_int_equal(records_of(rig->store, 1), 0);
    rig_sweep(rig->shard, 0);
    assert_int_equal(chunks_of(rig->store), chunks_of(shard_store(rig->shard, 0)));
    rig_assert_equal(rig, 2);
}

/* Overwrites one chunk with other octets. */
static void damage_a_chunk(struct store *store)
{
    uint8_t prefix[8];
    cq_put_be64(prefix, SHARD_INCARNATION);
    struct store_iter *iter =
        store_iter_new(store, NULL, STORE_CHUNK, cq_slice_of(prefix, sizeof prefix), CQ_SLICE_NONE);
    struct store_batch *batch = store_batch_new(store);
    for (int i = 0; i < 5; i++)
        assert_int_equal(store_iter_next(iter), CQ_OK);
    store_batch_put(batch, STORE_CHUNK, store_iter_key(iter), cq_slice_cstr("other octets"));
    store_iter_free(&iter);
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}

static void of_a_suspect_replica_every_chunk_is_compared(void **state)
{
    struct rig *rig = *state;
    have_replica(rig);
    damage_a_chunk(rig->store);
    rig->suspect = SUSPECT_STATE;
    rig_sweep(rig->shard, 0);
    assert_copied(rig);
    assert_int_equal(rig->target.chunks, 1);
    rig_flip(rig, true);
    rig_assert_equal(rig, 2);
}

static void a_copy_that_was_trusted_begins_anew_when_trust_is_gone(void **state)
{
    struct rig *rig = *state;
    have_replica(rig);
    rig_mail(rig, 10);
    rig->stop_ask = 5;
    assert_int_equal(rig_copy(rig), CQ_E_CANCELLED);
    damage_a_chunk(rig->store);
    rig->suspect = SUSPECT_STATE;
    rig->stop_ask = 0;
    assert_copied(rig);
    rig_flip(rig, true);
    rig_assert_equal(rig, 2);
}

static void nothing_begins_before_the_last_flip_is_cleaned_up(void **state)
{
    struct rig *rig = *state;
    rig_mail(rig, 5);
    assert_copied(rig);
    rig_flip(rig, true);
    rig->generation = 1;
    assert_int_equal(rig_copy(rig), CQ_E_EXISTS);
    rig_cleanup(rig, 100);
    assert_copied(rig);
}

static void an_abandoned_copy_leaves_no_records(void **state)
{
    struct rig *rig = *state;
    have_replica(rig);
    assert_copied(rig);
    assert_true(records_of(rig->store, 2) > 0);
    struct store_batch *batch = store_batch_new(rig->store);
    reseed_abandon(batch, &rig->target.record);
    assert_int_equal(store_write(rig->store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    assert_int_equal(records_of(rig->store, 2), 0);
    assert_int_equal(reseed_record_read(rig->store, RIG_GROUP, &rig->target.record, NULL), CQ_E_NOT_FOUND);
    rig_assert_equal(rig, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int reseed_suite_run(const struct reseed_backend *b)
{
    backend = b;
    const struct CMUnitTest tests[] = {
        TEST(an_empty_replica_becomes_equal),
        TEST(a_copy_stopped_before_every_question_goes_on),
        TEST(what_phase_one_has_copied_is_not_asked_for_again),
        TEST(writes_during_phase_two_come_after_it),
        TEST(bodies_expunged_during_phase_one_are_swept_after_the_flip),
        TEST(bodies_of_entries_in_the_log_are_only_marked_dead),
        TEST(another_leader_goes_on_where_phase_one_was),
        TEST(a_copy_whose_digest_is_another_is_not_flipped),
        TEST(a_replica_that_is_behind_gets_only_what_it_lacks),
        TEST(of_a_suspect_replica_every_chunk_is_compared),
        TEST(a_copy_that_was_trusted_begins_anew_when_trust_is_gone),
        TEST(nothing_begins_before_the_last_flip_is_cleaned_up),
        TEST(an_abandoned_copy_leaves_no_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
