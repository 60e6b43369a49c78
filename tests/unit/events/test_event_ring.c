#include "events/event_ring.h"

#include "unit/cq_cmocka.h"
#include "unit/cq_log_expect.h"

#include "base/cq_mem.h"
#include "events/event_metrics.h"

#include <pthread.h>
#include <stdlib.h>

/* A sink in memory that does what the test tells it. */
struct fake_sink {
    struct event_sink base;
    char ids[64][EVENT_ID_SIZE]; /* in the order of publish() */
    uint64_t tickets[64];
    size_t published, acknowledged;
    size_t room;       /* events between two polls; more are CQ_E_OVERLOADED */
    size_t hold;       /* the last so many wait for a later poll */
    enum cq_rc broken; /* what poll answers; nothing is acknowledged then */
    size_t reopened;
    size_t *closed;
};

static enum cq_rc fake_publish(struct event_sink *base, const struct event_record *record, struct cq_err *err)
{
    struct fake_sink *sink = cq_containerof(base, struct fake_sink, base);
    if (sink->published - sink->acknowledged >= sink->room)
        return CQ_FAIL(err, CQ_E_OVERLOADED, "full");
    assert_true(sink->published < 64 && record->id.len < EVENT_ID_SIZE);
    memcpy(sink->ids[sink->published], record->id.data, record->id.len);
    sink->ids[sink->published][record->id.len] = '\0';
    sink->tickets[sink->published++] = record->ticket;
    return CQ_OK;
}

static enum cq_rc fake_poll(struct event_sink *base, struct cq_err *err)
{
    struct fake_sink *sink = cq_containerof(base, struct fake_sink, base);
    if (sink->broken != CQ_OK) {
        sink->published = sink->acknowledged;
        return CQ_FAIL(err, sink->broken, "the disk is full");
    }
    while (sink->acknowledged + sink->hold < sink->published)
        base->acknowledged(base->ctx, sink->tickets[sink->acknowledged++]);
    return CQ_OK;
}

static enum cq_rc fake_reopen(struct event_sink *base, struct cq_err *err)
{
    (void)err;
    cq_containerof(base, struct fake_sink, base)->reopened++;
    return CQ_OK;
}

static void fake_close(struct event_sink *base)
{
    struct fake_sink *sink = cq_containerof(base, struct fake_sink, base);
    if (sink->closed)
        *sink->closed = sink->acknowledged;
    free(sink);
}

static const struct event_sink_ops fake_ops = {fake_publish, fake_poll, fake_reopen, fake_close};

static struct fake_sink *fake_new(void)
{
    struct fake_sink *sink = cq_new(struct fake_sink);
    sink->base.ops = &fake_ops;
    sink->room = 64;
    return sink;
}

static struct event_ring *ring_new(struct fake_sink *sink, size_t bytes_max)
{
    const struct event_ring_config config = {
        .sink = sink ? &sink->base : NULL,
        .source = {.cluster = "c", .node = "n", .dc = "", .role = "frontend", .version = "1", .type_prefix = "x"},
        .bytes_max = bytes_max,
        .no_thread = true,
    };
    return event_ring_new(&config);
}

static void put(struct event_ring *ring, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
        event.type = CHASQUI__EDGE__TYPE__AUTH_FAILED;
        event_ring_put(ring, &event);
    }
}

static int64_t dropped(enum event_drop why)
{
    return cq_metric_value(&event_metrics, EVENT_M_DROPPED, EVENT_AUTH, why);
}

static int64_t waiting(void)
{
    return cq_metric_value(&event_metrics, EVENT_M_WAITING);
}

static void what_is_put_reaches_the_sink_once_and_in_order(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    put(ring, 5);
    assert_true(waiting() > 0);
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(sink->acknowledged, 5);
    for (size_t i = 1; i < 5; i++)
        assert_string_not_equal(sink->ids[i], sink->ids[i - 1]);
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK); /* nothing more */
    assert_int_equal(sink->published, 5);
    assert_int_equal(waiting(), 0);
    event_ring_free(&ring);
}

static void a_sink_that_is_full_is_polled(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    sink->room = 2;
    put(ring, 9);
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(sink->acknowledged, 9);
    event_ring_free(&ring);
}

static void acknowledgements_may_come_late(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    sink->hold = 1;
    sink->room = 2;
    put(ring, 4);
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_AGAIN);
    put(ring, 1); /* waits until the first batch is done */
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_AGAIN);
    sink->hold = 0;
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(sink->published, 4);
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(sink->published, 5);
    event_ring_free(&ring);
}

static void after_a_failure_the_same_events_come_again_under_the_same_ids(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    char first[2][EVENT_ID_SIZE];
    sink->broken = CQ_E_IO;
    put(ring, 2);
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_IO);
    memcpy(first, sink->ids, sizeof first);
    sink->broken = CQ_OK;
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(sink->acknowledged, 2);
    assert_memory_equal(first, sink->ids, sizeof first);
    event_ring_free(&ring);
}

static int64_t produced(enum event_m_result result)
{
    return cq_metric_value(&event_metrics, EVENT_M_PRODUCED, EVENT_AUTH, result);
}

static void only_what_the_sink_has_acknowledged_is_counted_so(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    int64_t acknowledged = produced(EVENT_M_ACKNOWLEDGED), failed = produced(EVENT_M_FAILED);
    sink->broken = CQ_E_IO;
    put(ring, 2);
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_IO);
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_IO);
    assert_int_equal(produced(EVENT_M_ACKNOWLEDGED) - acknowledged, 0);
    assert_int_equal(produced(EVENT_M_FAILED) - failed, 4); /* as the outbox counts: each attempt */
    sink->broken = CQ_OK;
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(produced(EVENT_M_ACKNOWLEDGED) - acknowledged, 2);
    assert_int_equal(produced(EVENT_M_FAILED) - failed, 4);
    event_ring_free(&ring);
}

static void over_its_memory_events_are_dropped_and_counted(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 200);
    int64_t before = dropped(EVENT_DROP_OVERFLOW);
    sink->broken = CQ_E_IO;
    put(ring, 20);
    int64_t lost = dropped(EVENT_DROP_OVERFLOW) - before;
    assert_in_range(lost, 1, 19);
    assert_true(waiting() <= 200);
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_IO);
    put(ring, 3); /* those that the sink has not taken still count */
    assert_int_equal(dropped(EVENT_DROP_OVERFLOW) - before, lost + 3);
    sink->broken = CQ_OK;
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    assert_int_equal(sink->acknowledged, 20 - lost);
    assert_int_equal(event_ring_write(ring, NULL), CQ_OK);
    put(ring, 1); /* there is room again */
    assert_int_equal(dropped(EVENT_DROP_OVERFLOW) - before, lost + 3);
    event_ring_free(&ring);
}

static void without_a_sink_every_event_is_dropped_and_counted(void **state)
{
    (void)state;
    struct event_ring *ring = ring_new(NULL, 0);
    int64_t before = dropped(EVENT_DROP_NO_SINK);
    put(ring, 3);
    assert_int_equal(dropped(EVENT_DROP_NO_SINK) - before, 3);
    event_ring_free(&ring);
    put(NULL, 1); /* and without a ring nothing happens */
}

static void an_event_that_is_too_big_is_dropped(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
    char text[EVENT_RING_EVENT_MAX + 1];
    int64_t before = dropped(EVENT_DROP_MALFORMED);
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    event.type = CHASQUI__EDGE__TYPE__AUTH_FAILED;
    event.address = text;
    event_ring_put(ring, &event);
    assert_int_equal(dropped(EVENT_DROP_MALFORMED) - before, 1);
    event_ring_free(&ring);
}

static void the_end_writes_what_waits(void **state)
{
    (void)state;
    size_t written = 0;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    sink->closed = &written;
    put(ring, 3);
    event_ring_free(&ring);
    assert_int_equal(written, 3);
    assert_null(ring);
}

static void what_a_broken_sink_does_not_take_at_the_end_is_counted(void **state)
{
    (void)state;
    struct fake_sink *sink = fake_new();
    struct event_ring *ring = ring_new(sink, 0);
    int64_t before = dropped(EVENT_DROP_STOPPED);
    sink->broken = CQ_E_IO;
    put(ring, 2);
    assert_int_equal(event_ring_write(ring, NULL), CQ_E_IO);
    put(ring, 1);
    cq_log_expect("events.lost");
    event_ring_free(&ring);
    assert_int_equal(dropped(EVENT_DROP_STOPPED) - before, 3);
}

static void *put_many(void *arg)
{
    put(arg, 10);
    return NULL;
}

/* With its own thread: nothing is lost and nothing comes twice. */
static void threads_may_put_while_the_ring_writes(void **state)
{
    (void)state;
    size_t written = 0;
    pthread_t threads[4];
    struct fake_sink *sink = fake_new();
    const struct event_ring_config config = {
        .sink = &sink->base,
        .source = {.cluster = "c", .node = "n", .dc = "", .role = "frontend", .version = "1", .type_prefix = "x"},
    };
    struct event_ring *ring = event_ring_new(&config);
    sink->closed = &written;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, ring), 0);
    event_ring_reopen(ring);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    event_ring_free(&ring);
    assert_int_equal(written, 40);
}

static void a_hash_hides_the_text_and_ignores_its_case(void **state)
{
    (void)state;
    struct event_ring *ring = ring_new(NULL, 0), *other = ring_new(NULL, 0);
    char a[EVENT_HASH_SIZE], b[EVENT_HASH_SIZE], c[EVENT_HASH_SIZE];
    event_ring_hash(ring, CQ_SLICE("Anna@example.test"), a);
    event_ring_hash(ring, CQ_SLICE("anna@example.test"), b);
    event_ring_hash(other, CQ_SLICE("anna@example.test"), c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c); /* no key: one of the process */
    event_ring_free(&ring);
    event_ring_free(&other);
}

static int setup(void **state)
{
    (void)state;
    cq_metrics_register(&event_metrics);
    return 0;
}

#define LOGGED(test) cmocka_unit_test_setup_teardown(test, cq_log_expect_setup, cq_log_expect_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOGGED(what_is_put_reaches_the_sink_once_and_in_order),
        LOGGED(a_sink_that_is_full_is_polled),
        LOGGED(acknowledgements_may_come_late),
        LOGGED(after_a_failure_the_same_events_come_again_under_the_same_ids),
        LOGGED(only_what_the_sink_has_acknowledged_is_counted_so),
        LOGGED(over_its_memory_events_are_dropped_and_counted),
        LOGGED(without_a_sink_every_event_is_dropped_and_counted),
        LOGGED(an_event_that_is_too_big_is_dropped),
        LOGGED(the_end_writes_what_waits),
        LOGGED(what_a_broken_sink_does_not_take_at_the_end_is_counted),
        LOGGED(threads_may_put_while_the_ring_writes),
        LOGGED(a_hash_hides_the_text_and_ignores_its_case),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
