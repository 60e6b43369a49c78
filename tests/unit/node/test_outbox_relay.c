/* The outbox relay between a sink that is told what to do and shards that are arrays: what happens when the sink fails,
 * when it hangs while the node stops, when the cursor cannot be moved, when another term begins. The shard's machine,
 * its apply thread and its proposals are of this file; loop, thread, encoding and counting are the real ones. Time is
 * the real one plus `skew_us`. */
#include "node/outbox_relay.h"

#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/group_proposal.h"
#include "node/node.h"
#include "proto/mail.pb-c.h"
#include "proto/outbox.pb-c.h"
#include "state/mail_machine.h"
#include "unit/cq_log_expect.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SHARDS 2
#define EVENTS_MAX 16
#define GIVEN_MAX 64
#define WAIT_US (20 * CQ_US_PER_S) /* then it has failed */

/* ---- Time ---- */

static _Atomic uint64_t skew_us;
uint64_t __real_cq_time_mono_us(void);
uint64_t __wrap_cq_time_mono_us(void);

uint64_t __wrap_cq_time_mono_us(void)
{
    return __real_cq_time_mono_us() + skew_us;
}

/* ---- Shards ---- */

struct shard {
    struct group group;
    struct outbox_position cursor;
    struct outbox_position events[EVENTS_MAX]; /* of all times */
    bool malformed[EVENTS_MAX];
    size_t count;
    size_t proposals;
    enum cq_rc proposal_rc;
    bool hold;               /* its apply thread is busy */
    struct apply_call *held; /* the last call meanwhile */
};

static struct shard shards[SHARDS];

static int order(struct outbox_position a, struct outbox_position b)
{
    if (a.index != b.index)
        return a.index < b.index ? -1 : 1;
    return (a.sub_index > b.sub_index) - (a.sub_index < b.sub_index);
}

static void run_call(struct shard *shard, struct apply_call *call)
{
    call->run(call, NULL, (struct machine *)shard, CQ_OK);
}

void apply_call(struct apply_group *group, struct apply_call *call)
{
    struct shard *shard = (struct shard *)group;
    if (shard->hold)
        shard->held = call;
    else
        run_call(shard, call);
}

struct outbox_position mail_machine_outbox_cursor(const struct machine *machine)
{
    return ((const struct shard *)machine)->cursor;
}

void mail_machine_outbox_backlog(const struct machine *machine, uint64_t *events_r, uint64_t *bytes_r)
{
    (void)machine;
    *events_r = *bytes_r = 0;
}

uint64_t mail_machine_outbox_oldest(struct machine *machine)
{
    (void)machine;
    return 0;
}

/* The index is also the event's UID. */
static struct cq_slice event_bytes(const struct shard *shard, size_t i, struct cq_pool *pool)
{
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    Chasqui__Outbox__Delivery delivery = CHASQUI__OUTBOX__DELIVERY__INIT;
    Chasqui__Mail__DeliveryEvent envelope = CHASQUI__MAIL__DELIVERY_EVENT__INIT;
    if (shard->malformed[i])
        return CQ_SLICE("\xff\xff\xff");
    event.type = CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL;
    event.time = UINT64_C(1700000000123456);
    event.account = 1;
    event.address = (char *)"anna@example.test";
    event.delivery = &delivery;
    delivery.envelope = &envelope;
    delivery.uid = (uint32_t)shard->events[i].index;
    envelope.message_id = (char *)"01ABC";
    envelope.recipient = (char *)"anna@example.test";
    uint8_t *data = cq_pool_alloc(pool, chasqui__outbox__event__get_packed_size(&event) + 1);
    return cq_slice_of(data, chasqui__outbox__event__pack(&event, data));
}

enum cq_rc mail_machine_outbox_walk(struct machine *machine, struct outbox_position after, outbox_take_fn *take,
                                    void *ctx, struct cq_err *err)
{
    struct shard *shard = (struct shard *)machine;
    struct cq_pool *pool = cq_pool_new(1024);
    bool more = true;
    (void)err;
    for (size_t i = 0; i < shard->count && more; i++)
        if (order(shard->events[i], after) > 0)
            more = take(ctx, shard->events[i], event_bytes(shard, i, pool));
    cq_pool_free(&pool);
    return more ? CQ_E_EOF : CQ_OK;
}

void group_propose(struct node *node, struct group *group, uint32_t method, const ProtobufCMessage *message,
                   group_proposal_fn *after, void *arg)
{
    struct shard *shard = cq_containerof(group, struct shard, group);
    (void)node;
    assert_int_equal(method, CHASQUI__MAIL__METHOD__OUTBOX_ADVANCE);
    const Chasqui__Mail__OutboxAdvance *advance = (const Chasqui__Mail__OutboxAdvance *)message;
    shard->proposals++;
    if (shard->proposal_rc == CQ_OK)
        shard->cursor = (struct outbox_position){advance->to_index, advance->to_sub_index};
    after(arg, shard->proposal_rc, CQ_SLICE_NONE);
}

enum cq_rc answer_body(struct cq_slice message, struct cq_pool *pool, struct cq_slice *body_r, const char **text_r,
                       struct cq_err *err)
{
    (void)message, (void)pool, (void)body_r, (void)text_r;
    return CQ_FAIL(err, CQ_E_UNSUPPORTED, "nothing is trimmed here");
}

/* ---- The sink; its thread's, and under the lock ---- */

static struct {
    struct event_sink base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char given[GIVEN_MAX][32]; /* "SHARD/INDEX", in the order of publish() */
    uint64_t tickets[GIVEN_MAX];
    size_t count, polled; /* given; those that a poll has seen */
    size_t room;          /* acknowledged by the next poll, at most; then it fails */
    bool overloaded;      /* the next publish says so */
    bool hang, hanging;   /* a poll waits until hang is false */
    size_t reopened;
    bool closed;
} sink;

static enum cq_rc sink_publish(struct event_sink *base, const struct event_record *record, struct cq_err *err)
{
    (void)base;
    pthread_mutex_lock(&sink.lock);
    bool overloaded = sink.overloaded;
    sink.overloaded = false;
    if (!overloaded) {
        unsigned shard = 0, index = 0;
        struct cq_slice place = record->source;
        sscanf((const char *)place.data + place.len - 1, "%1u", &shard);
        sscanf((const char *)record->sequence.data, "%20u", &index);
        snprintf(sink.given[sink.count], sizeof sink.given[0], "%u/%u", shard, index);
        sink.tickets[sink.count++] = record->ticket;
    }
    pthread_mutex_unlock(&sink.lock);
    return overloaded ? CQ_FAIL(err, CQ_E_OVERLOADED, "full") : CQ_OK;
}

static enum cq_rc sink_poll(struct event_sink *base, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    pthread_mutex_lock(&sink.lock);
    sink.hanging = sink.hang;
    while (sink.hang)
        pthread_cond_wait(&sink.changed, &sink.lock);
    sink.hanging = false;
    for (; sink.polled < sink.count && sink.room > 0; sink.polled++, sink.room--)
        base->acknowledged(base->ctx, sink.tickets[sink.polled]);
    if (sink.polled < sink.count)
        rc = CQ_FAIL(err, CQ_E_IO, "no room");
    sink.polled = sink.count; /* what was not acknowledged comes again */
    pthread_mutex_unlock(&sink.lock);
    return rc;
}

static enum cq_rc sink_reopen(struct event_sink *base, struct cq_err *err)
{
    (void)base, (void)err;
    pthread_mutex_lock(&sink.lock);
    sink.reopened++;
    pthread_mutex_unlock(&sink.lock);
    return CQ_OK;
}

static void sink_close(struct event_sink *base)
{
    (void)base;
    sink.closed = true;
}

static const struct event_sink_ops sink_ops = {sink_publish, sink_poll, sink_reopen, sink_close};

static size_t given(void)
{
    pthread_mutex_lock(&sink.lock);
    size_t count = sink.polled;
    pthread_mutex_unlock(&sink.lock);
    return count;
}

static bool is_hanging(void)
{
    pthread_mutex_lock(&sink.lock);
    bool hanging = sink.hanging;
    pthread_mutex_unlock(&sink.lock);
    return hanging;
}

static void set_room(size_t room)
{
    pthread_mutex_lock(&sink.lock);
    sink.room = room;
    pthread_mutex_unlock(&sink.lock);
}

static void set_hang(bool hang)
{
    pthread_mutex_lock(&sink.lock);
    sink.hang = hang;
    pthread_cond_broadcast(&sink.changed);
    pthread_mutex_unlock(&sink.lock);
}

static void expect_given(const char *wanted)
{
    char got[1024] = "";
    pthread_mutex_lock(&sink.lock);
    for (size_t i = 0; i < sink.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "", sink.given[i]);
    pthread_mutex_unlock(&sink.lock);
    assert_string_equal(got, wanted);
}

/* ---- Before and after ---- */

static struct io_loop *loop;
static struct node *node;
static struct outbox_relay *relay;

static void add(size_t shard, uint64_t index)
{
    struct shard *s = &shards[shard - 1];
    s->events[s->count++] = (struct outbox_position){index, 1};
}

static int setup(void **state)
{
    static const struct node_config config = {.node = {.outbox_max = 1u << 20}};
    static const struct event_source source = {.cluster = "c1",
                                               .node = "00000000-0000-4000-8000-000000000001",
                                               .dc = "a",
                                               .role = "storage",
                                               .version = "9.9",
                                               .type_prefix = "chasqui"};
    cq_log_expect_setup(state);
    skew_us = 0;
    memset(shards, 0, sizeof shards);
    memset(&sink, 0, sizeof sink);
    pthread_mutex_init(&sink.lock, NULL);
    pthread_cond_init(&sink.changed, NULL);
    sink.base.ops = &sink_ops;
    sink.room = SIZE_MAX;
    loop = io_loop_new(NULL);
    node = cq_new(struct node);
    node->control = loop;
    node->config = &config;
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct group *group = &shards[i].group;
        group->record.group = i + 1;
        group->apply = (struct apply_group *)&shards[i];
        group->role = RAFT_GROUP_LEADER;
        group->term = 1;
        node->groups.by_id[i + 1] = group;
    }
    relay = outbox_relay_new(node, &sink.base, &source);
    return 0;
}

static int teardown(void **state)
{
    set_hang(false);
    if (relay) {
        outbox_relay_stop(relay);
        outbox_relay_join(relay);
        for (int i = 0; i < 10; i++)
            io_loop_turn(loop, false);
        outbox_relay_free(&relay);
    }
    assert_true(sink.closed);
    io_loop_free(&loop);
    free(node);
    pthread_cond_destroy(&sink.changed);
    pthread_mutex_destroy(&sink.lock);
    return cq_log_expect_teardown(state);
}

#define TURN_UNTIL(condition)                                                                                          \
    for (uint64_t until_ = __real_cq_time_mono_us() + WAIT_US; !(condition);) {                                        \
        assert_true(__real_cq_time_mono_us() < until_);                                                                \
        io_loop_turn(loop, true);                                                                                      \
    }

static void seconds_pass(unsigned seconds)
{
    skew_us += seconds * CQ_US_PER_S;
}

/* Time for two looks for new events. */
static void look_twice(void)
{
    uint64_t until = __real_cq_time_mono_us() + 2 * RELAY_TICK_MS * UINT64_C(1000) + 50000;
    while (__real_cq_time_mono_us() < until)
        io_loop_turn(loop, true);
}

/* ---- The stories ---- */

static void events_go_out_in_their_order_and_the_cursor_follows(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3; i++)
        add(1, i);
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].cursor.index == 3);
    expect_given("1/1 1/2 1/3");
    add(1, 4); /* within the second: published, the cursor waits */
    TURN_UNTIL(given() == 4);
    look_twice();
    assert_int_equal(shards[0].proposals, 1);
    seconds_pass(1);
    TURN_UNTIL(shards[0].cursor.index == 4);
    assert_int_equal(shards[0].proposals, 2);
}

static void what_a_sink_does_not_acknowledge_comes_again_after_a_second(void **state)
{
    (void)state;
    cq_log_expect("events.not_published");
    for (uint64_t i = 1; i <= 3; i++)
        add(1, i);
    set_room(1); /* the first, then it fails */
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].cursor.index == 1);
    expect_given("1/1 1/2 1/3");
    set_room(SIZE_MAX);
    look_twice();
    assert_int_equal(given(), 3); /* not sooner */
    assert_int_equal(shards[0].cursor.index, 1);
    seconds_pass(1);
    TURN_UNTIL(shards[0].cursor.index == 3);
    expect_given("1/1 1/2 1/3 1/2 1/3");
}

static void a_sink_that_fails_for_long_loses_nothing(void **state)
{
    (void)state;
    cq_log_expect("events.not_published");
    char text[256];
    add(1, 1);
    add(2, 7);
    set_room(0);
    outbox_relay_start(relay);
    for (size_t tries = 1; tries <= 3; tries++) {
        TURN_UNTIL(given() == 2 * tries);
        look_twice();
        seconds_pass(1);
    }
    outbox_relay_tell(relay, text, sizeof text);
    assert_non_null(strstr(text, "no room"));
    assert_int_equal(shards[0].proposals + shards[1].proposals, 0);
    set_room(SIZE_MAX);
    TURN_UNTIL(shards[0].cursor.index == 1 && shards[1].cursor.index == 7);
}

static void a_full_sink_is_polled_and_asked_again(void **state)
{
    (void)state;
    add(1, 1);
    add(1, 2);
    sink.overloaded = true;
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].cursor.index == 2);
    expect_given("1/1 1/2");
}

static void a_malformed_event_does_not_stop_those_behind_it(void **state)
{
    (void)state;
    cq_log_expect("event.malformed");
    for (uint64_t i = 1; i <= 3; i++)
        add(1, i);
    shards[0].malformed[1] = true;
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].cursor.index == 3);
    expect_given("1/1 1/3");
}

static void a_cursor_that_did_not_move_brings_its_events_again(void **state)
{
    (void)state;
    add(1, 1);
    add(1, 2);
    shards[0].proposal_rc = CQ_E_NOT_LEADER;
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].proposals == 1);
    shards[0].proposal_rc = CQ_OK;
    seconds_pass(1);
    TURN_UNTIL(shards[0].cursor.index == 2);
    expect_given("1/1 1/2 1/1 1/2");
}

static void another_term_begins_where_the_cursor_stands(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3; i++)
        add(1, i);
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].cursor.index == 3);
    shards[0].group.role = RAFT_GROUP_FOLLOWER;
    add(1, 4);
    look_twice();
    assert_int_equal(given(), 3);                      /* another node's */
    shards[0].cursor = (struct outbox_position){2, 1}; /* what that one has published is not known here */
    shards[0].group.term = 3;
    shards[0].group.role = RAFT_GROUP_LEADER;
    TURN_UNTIL(given() == 5);
    expect_given("1/1 1/2 1/3 1/3 1/4");
}

/* The brokers are away, and a poll would wait for them for each batch that is left. */
static void a_stop_waits_for_the_poll_that_hangs_and_for_no_more(void **state)
{
    (void)state;
    add(1, 1);
    shards[1].hold = true;
    set_hang(true);
    outbox_relay_start(relay);
    TURN_UNTIL(is_hanging() && shards[1].held);
    add(2, 7);
    run_call(&shards[1], shards[1].held); /* its batch waits for the thread */
    for (int i = 0; i < 5; i++)
        io_loop_turn(loop, false);
    outbox_relay_stop(relay);
    set_hang(false);
    outbox_relay_join(relay);
    for (int i = 0; i < 5; i++)
        io_loop_turn(loop, false);
    expect_given("1/1");
    assert_int_equal(shards[0].proposals + shards[1].proposals, 0); /* the next leader publishes them */
}

static void what_is_read_after_the_stop_is_left(void **state)
{
    (void)state;
    add(1, 1);
    shards[0].hold = true;
    outbox_relay_start(relay);
    TURN_UNTIL(shards[0].held);
    outbox_relay_stop(relay);
    run_call(&shards[0], shards[0].held);
    for (int i = 0; i < 5; i++)
        io_loop_turn(loop, false);
    assert_int_equal(given(), 0);
}

static void a_reopening_reaches_the_sink(void **state)
{
    (void)state;
    outbox_relay_reopen(relay);
    outbox_relay_join(relay);
    assert_int_equal(sink.reopened, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_go_out_in_their_order_and_the_cursor_follows),
        TEST(what_a_sink_does_not_acknowledge_comes_again_after_a_second),
        TEST(a_sink_that_fails_for_long_loses_nothing),
        TEST(a_full_sink_is_polled_and_asked_again),
        TEST(a_malformed_event_does_not_stop_those_behind_it),
        TEST(a_cursor_that_did_not_move_brings_its_events_again),
        TEST(another_term_begins_where_the_cursor_stands),
        TEST(a_stop_waits_for_the_poll_that_hangs_and_for_no_more),
        TEST(what_is_read_after_the_stop_is_left),
        TEST(a_reopening_reaches_the_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
