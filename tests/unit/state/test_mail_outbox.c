/* The outbox past its limit: what goes, what is counted, what stays. */
#include "unit/state/mail_helpers.h"

#include "events/event_catalogue.h"
#include "proto/outbox.pb-c.h"
#include "state/mail_private.h"

#define E(name) CHASQUI__OUTBOX__TYPE__##name
#define REPLICAS 2

static int setup(void **state)
{
    struct shard *s = shard_new(REPLICAS);
    shard_own_all(s);
    assert_int_equal(h_create_account(s, NULL).rc, CQ_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct shard *s = *state;
    uint8_t digests[REPLICAS][16];
    for (unsigned r = 0; r < REPLICAS; r++) {
        assert_true(shard_catch_up(s, r, shard_last_index(s)));
        shard_machine(s, r)->ops->digest(shard_machine(s, r), digests[r]);
    }
    assert_memory_equal(digests[0], digests[1], 16);
    h_finish(s);
    return 0;
}

/* Two events each: one of mail.inbound, one that is final. */
static void deliver(struct shard *s, unsigned count)
{
    Chasqui__Mail__Deliver message = W(DELIVER);
    Chasqui__Mail__NewMessage wire = W(NEW_MESSAGE);
    Chasqui__Mail__DeliveryEvent event = W(DELIVERY_EVENT);
    message.message = &wire;
    message.event = &event;
    event.recipient = (char *)"ana@example.test";
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(h_run(s, M(DELIVER), &message).rc, CQ_OK);
}

/* Everything in the outbox. */
struct contents {
    uint64_t events, bytes;
    uint64_t by_type[64];
    uint64_t oldest_open;             /* time of the oldest event that is neither final nor a gap */
    uint64_t dropped[OUTBOX_STREAMS]; /* as the gaps say */
    uint64_t dropped_finals, dropped_bytes;
};

static struct contents contents(struct shard *s)
{
    struct contents c = {0};
    struct outbox_position at = {0, 0};
    struct cq_slice bytes;
    struct cq_pool *pool = cq_pool_new(4096);
    while (mail_machine_outbox_next(shard_machine(s, 0), at, pool, &at, &bytes, NULL) == CQ_OK) {
        Chasqui__Outbox__Event *event = chasqui__outbox__event__unpack(NULL, bytes.len, bytes.data);
        const struct outbox_class *class = outbox_class_of(event->type);
        c.events++;
        c.bytes += bytes.len;
        c.by_type[event->type]++;
        if (!class->final && !class->gap && !c.oldest_open)
            c.oldest_open = event->time;
        if (event->gap) {
            c.dropped[class->stream] += event->gap->dropped_events;
            c.dropped_finals += event->gap->dropped_final_events;
            c.dropped_bytes += event->gap->dropped_bytes;
            assert_in_range(event->gap->first_time_us, 1, event->gap->last_time_us);
            assert_in_range(event->gap->last_time_us, 1, event->time);
        }
        chasqui__outbox__event__free_unpacked(event, NULL);
        cq_pool_clear(pool);
    }
    cq_pool_free(&pool);
    uint64_t events, counted;
    mail_machine_outbox_backlog(shard_machine(s, 0), &events, &counted);
    assert_int_equal(events, c.events);
    assert_int_equal(counted, c.bytes);
    return c;
}

static uint64_t gaps(const struct contents *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < OUTBOX_STREAMS; i++)
        n += c->by_type[E(INBOUND_EVENTS_DROPPED) + i];
    return n;
}

/* Dropped by the one entry. */
static uint64_t trim(struct shard *s, uint64_t keep, bool *more_r)
{
    Chasqui__Mail__OutboxTrim message = W(OUTBOX_TRIM);
    message.keep_bytes = keep;
    struct machine_outcome got = h_group(s, M(OUTBOX_TRIM), &message);
    assert_int_equal(got.rc, CQ_OK);
    const Chasqui__Mail__OutboxTrimReply *reply = shard_reply(s, &got, D(outbox_trim_reply));
    uint64_t sum = 0;
    assert_int_equal(reply->n_dropped, OUTBOX_STREAMS);
    for (unsigned i = 0; i < OUTBOX_STREAMS; i++)
        sum += reply->dropped[i];
    *more_r = reply->more;
    return sum;
}

static void within_the_limit_nothing_happens(void **state)
{
    struct shard *s = *state;
    bool more;
    deliver(s, 5);
    struct contents before = contents(s);
    assert_int_equal(trim(s, before.bytes, &more), 0);
    assert_false(more);
    struct contents after = contents(s);
    assert_memory_equal(&before, &after, sizeof before);
}

static void one_byte_over_the_oldest_that_is_not_final_goes_and_is_counted(void **state)
{
    struct shard *s = *state;
    bool more;
    deliver(s, 5);
    struct contents before = contents(s);
    assert_int_equal(trim(s, before.bytes - 1, &more), 1);
    struct contents after = contents(s);
    assert_int_equal(after.by_type[E(ACCOUNT_CREATED)], 0); /* the first of all */
    assert_int_equal(after.by_type[E(MAILBOX_EVENTS_DROPPED)], 1);
    assert_int_equal(after.events, before.events);
    assert_int_equal(after.dropped[2], 1);
    assert_int_equal(after.dropped_finals, 0);
}

static void final_events_go_last(void **state)
{
    struct shard *s = *state;
    bool more;
    deliver(s, 100);
    struct contents before = contents(s), after = before;
    uint64_t finals = before.by_type[E(DELIVERY_LOCAL)];
    assert_int_equal(finals, 100);
    for (uint64_t keep = before.bytes - 100; keep > before.bytes / 20; keep -= before.bytes / 40) {
        uint64_t oldest = after.oldest_open;
        trim(s, keep, &more);
        after = contents(s);
        assert_true(after.oldest_open == 0 || after.oldest_open >= oldest);
        if (after.by_type[E(MESSAGE_ACCEPTED)]) {
            assert_int_equal(after.by_type[E(DELIVERY_LOCAL)], finals);
            assert_int_equal(after.dropped_finals, 0);
        }
        assert_int_equal(after.dropped[0], 100 - after.by_type[E(MESSAGE_ACCEPTED)]);
        assert_int_equal(after.dropped[1], finals - after.by_type[E(DELIVERY_LOCAL)]);
        assert_int_equal(after.dropped[1], after.dropped_finals);
        assert_int_equal(after.events - gaps(&after) + after.dropped[0] + after.dropped[1] + after.dropped[2],
                         before.events);
    }
    assert_true(after.dropped_finals > 0);
    assert_true(after.by_type[E(DELIVERY_LOCAL)] > 0);
}

static void nothing_is_counted_twice_and_gaps_do_not_grow_in_number(void **state)
{
    struct shard *s = *state;
    bool more;
    struct contents before = contents(s), after;
    for (unsigned round = 1; round <= 5; round++) {
        deliver(s, 20);
        trim(s, 0, &more);
        trim(s, 0, &more);
        assert_int_equal(trim(s, 0, &more), 0);
        assert_false(more);
        after = contents(s);
        assert_int_equal(after.events, 3); /* inbound, delivery, mailbox */
        assert_int_equal(gaps(&after), 3);
        assert_int_equal(after.dropped[0], 20 * round);
        assert_int_equal(after.dropped[1], 20 * round);
        assert_int_equal(after.dropped[2], before.events);
        assert_int_equal(after.dropped_finals, 20 * round);
    }
    /* Publishing takes the gaps like other events; then the counts begin anew. */
    Chasqui__Mail__OutboxAdvance advance = W(OUTBOX_ADVANCE);
    advance.to_index = shard_last_index(s);
    advance.to_sub_index = UINT32_MAX;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_OK);
    assert_int_equal(contents(s).events, 0);
    deliver(s, 1);
    trim(s, 0, &more);
    assert_int_equal(contents(s).dropped[0], 1);
}

static void an_entry_looks_at_a_bounded_number_and_says_that_there_is_more(void **state)
{
    struct shard *s = *state;
    bool more = true;
    uint64_t dropped = 0;
    unsigned entries = 0;
    deliver(s, STATE_EFFECTS_MAX + 1);
    struct contents before = contents(s);
    for (; more; entries++) {
        if (entries == 1) { /* a replica that comes back goes on from the same place */
            shard_write(s, 0, false);
            shard_crash(s, 0, 0);
            assert_true(shard_catch_up(s, 0, shard_last_index(s)));
        }
        uint64_t n = trim(s, 100, &more);
        assert_in_range(n, 0, STATE_EFFECTS_MAX);
        dropped += n;
    }
    assert_int_equal(dropped, before.events);
    assert_in_range(entries, 4, 6); /* each final event is looked at twice */
    struct contents after = contents(s);
    assert_int_equal(after.dropped[0] + after.dropped[1] + after.dropped[2], before.events);
    assert_int_equal(after.dropped_bytes, before.bytes);
}

static void every_event_of_the_catalogue_is_counted_in_its_own_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < event_row_count; i++) {
        if (event_rows[i].guarantee == EVENT_BEST_EFFORT) /* a front-end's: it is in no outbox */
            continue;
        const struct outbox_class *class = outbox_class_of((Chasqui__Outbox__Type)event_rows[i].type);
        assert_int_equal(class->type, event_rows[i].type);
        assert_int_equal(class->stream, event_rows[i].stream);
        assert_int_equal(class->gap, strcmp(event_rows[i].name, "events.dropped") == 0);
        assert_int_equal(class->final, strstr(event_rows[i].help, "final") != NULL);
        const struct event_row *gap = event_row_find(E(INBOUND_EVENTS_DROPPED) + (int)class->stream);
        assert_int_equal(gap->stream, class->stream);
    }
    assert_true(OUTBOX_STREAMS <= EVENT_STREAM_COUNT);
}

#define OUTBOX_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTBOX_TEST(within_the_limit_nothing_happens),
        OUTBOX_TEST(one_byte_over_the_oldest_that_is_not_final_goes_and_is_counted),
        OUTBOX_TEST(final_events_go_last),
        OUTBOX_TEST(nothing_is_counted_twice_and_gaps_do_not_grow_in_number),
        OUTBOX_TEST(an_entry_looks_at_a_bounded_number_and_says_that_there_is_more),
        cmocka_unit_test(every_event_of_the_catalogue_is_counted_in_its_own_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
