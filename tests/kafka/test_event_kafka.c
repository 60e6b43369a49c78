/* The Kafka sink and a real broker: killed and restarted, topics that are missing, records that it refuses, and what
 * was refused sent again. */
#include "kafka_fixture.h"

#include "events/event_replay.h"

#include <stdio.h>
#include <string.h>

/* Each test has a prefix of its own at the one broker. */

static void events_arrive_in_order_with_their_attributes(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: a.");
    fixture_create_topics();
    struct event_sink *sink = fixture_sink();
    for (unsigned n = 0; n < 2000; n++)
        assert_int_equal(fixture_publish(sink, "mail.delivery", n, 200), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    for (unsigned n = 0; n < 2000; n++)
        assert_true(fixture_acknowledged[n]);
    fixture_read("a.mail.delivery.v1", 2000, &seen);
    assert_int_equal(seen.records, 2000);
    assert_false(seen.disorder);
    assert_string_equal(seen.header[EVENT_KAFKA_SPECVERSION], "1.0");
    assert_string_equal(seen.header[EVENT_KAFKA_TYPE], "chasqui.mail.delivery.delivery.local.v1");
    assert_string_equal(seen.header[EVENT_KAFKA_CONTENT_TYPE], "application/json");
    assert_string_equal(seen.header[EVENT_KAFKA_DATASCHEMA], "chasqui:mail.delivery.v1");
    assert_string_equal(seen.header[EVENT_KAFKA_SOURCE], "chasqui://c1/shard/1");
    assert_string_equal(seen.header[EVENT_KAFKA_DLQ_REASON], "");
    event_sink_close(&sink);
}

static void with_protobuf_the_value_is_the_public_message_and_the_attributes_say_so(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: f., format: protobuf");
    fixture_create_topics();
    struct event_sink *sink = fixture_sink();
    assert_int_equal(fixture_publish(sink, "mail.delivery", 0, 10), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    fixture_read("f.mail.delivery.v1", 1, &seen);
    assert_string_equal(seen.value, "\x0a\x04id-0");
    assert_string_equal(seen.header[EVENT_KAFKA_CONTENT_TYPE], "application/protobuf");
    assert_string_equal(seen.header[EVENT_KAFKA_DATASCHEMA], "chasqui:chasqui.events.v1.Delivery");
    assert_string_equal(seen.header[EVENT_KAFKA_ID], "id-0");
    event_sink_close(&sink);
}

static void what_a_dead_broker_did_not_take_is_published_again(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: b.");
    fixture_create_topics();
    fixture_configure_plain(", topic_prefix: b., timeout: 2s");
    struct event_sink *sink = fixture_sink();
    for (unsigned n = 0; n < 100; n++)
        fixture_publish(sink, "mail.delivery", n, 100);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    fixture_run("stop", "KILL");
    for (unsigned n = 100; n < 200; n++)
        fixture_publish(sink, "mail.delivery", n, 100);
    assert_int_equal(event_sink_poll(sink, &err), CQ_E_IO);
    assert_false(fixture_acknowledged[100]);
    fixture_restart_broker();
    enum cq_rc rc = CQ_E_IO;
    for (int tries = 0; tries < 30 && rc != CQ_OK; tries++) {
        for (unsigned n = 100; n < 200; n++)
            fixture_publish(sink, "mail.delivery", n, 100);
        rc = event_sink_poll(sink, &err);
    }
    assert_int_equal(rc, CQ_OK);
    fixture_read("b.mail.delivery.v1", 200, &seen);
    assert_false(seen.disorder);
    event_sink_close(&sink);
}

static void too_big_records_become_dead_letters_and_stop_nobody(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: c., record_max: 8KiB");
    fixture_create_topics();
    struct event_sink *sink = fixture_sink();
    for (unsigned n = 0; n < 20; n++)
        assert_int_equal(fixture_publish(sink, "mail.delivery", n, n == 7 ? 20000 : 100), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    for (unsigned n = 0; n < 20; n++)
        assert_true(fixture_acknowledged[n]);
    fixture_read("c.mail.delivery.v1", 19, &seen);
    assert_int_equal(seen.times[7], 0);
    fixture_read("c.mail.dlq.v1", 1, &seen);
    assert_int_equal(seen.times[7], 1);
    assert_string_equal(seen.header[EVENT_KAFKA_DLQ_TOPIC], "c.mail.delivery.v1");
    assert_non_null(strstr(seen.header[EVENT_KAFKA_DLQ_REASON], "size"));
    event_sink_close(&sink);
}

/* The broker's topic takes less than the settings say: it refuses a batch, in which only one record is too big. */
static void a_record_that_the_broker_refuses_is_found_in_its_batch(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: d., compression: none, linger: 100ms");
    fixture_create_topic_with("d.mail.delivery.v1", "max.message.bytes", "9000");
    fixture_create_topics();
    struct event_sink *sink = fixture_sink();
    for (unsigned n = 0; n < 20; n++)
        assert_int_equal(fixture_publish(sink, "mail.delivery", n, n == 7 ? 20000 : 50), CQ_OK);
    enum cq_rc rc = event_sink_poll(sink, &err);
    if (rc != CQ_OK)
        fail_msg("%s", err.text);
    fixture_read("d.mail.delivery.v1", 19, &seen);
    assert_int_equal(seen.times[7], 0);
    fixture_read("d.mail.dlq.v1", 1, &seen);
    assert_int_equal(seen.times[7], 1);
    event_sink_close(&sink);
}

/* ---- Replaying ---- */

static uint64_t sent, refused;

static uint64_t events_of(const struct event_replay *replay, enum event_replay_result result)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < replay->row_count; i++)
        if (replay->rows[i].result == result)
            sum += replay->rows[i].events;
    return sum;
}

/* Piece after piece. */
static void replay_all(struct event_replay *replay)
{
    struct cq_err err = {0};
    sent = refused = 0;
    for (int pieces = 0; !replay->done; pieces++) {
        assert_true(pieces < 20);
        if (event_replay_dead_letters(replay, &err) != CQ_OK)
            fail_msg("%s", err.text);
        sent += events_of(replay, EVENT_REPLAY_SENT);
        refused += events_of(replay, EVENT_REPLAY_REFUSED);
    }
}

/* Room again, everything is sent, and what is still too large is not made a dead letter once more. */
static void dead_letters_are_sent_again_when_the_cause_is_mended(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: g., compression: none");
    fixture_create_topic_with("g.mail.delivery.v1", "max.message.bytes", "9000");
    fixture_create_topics();
    struct event_sink *sink = fixture_sink();
    for (unsigned n = 0; n < 30; n++)
        assert_int_equal(fixture_publish(sink, "mail.delivery", n, n % 10 == 7 ? n == 27 ? 40000 : 20000 : 50), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    event_sink_close(&sink);
    fixture_read("g.mail.dlq.v1", 3, &seen);
    assert_true(strlen(seen.value) > 20); /* with their values */

    struct event_replay replay = {.config = &fixture_config, .dry_run = true, .pool = fixture_pool};
    replay_all(&replay);
    assert_int_equal(events_of(&replay, EVENT_REPLAY_FOUND), 3);
    fixture_alter_topic("g.mail.delivery.v1", "max.message.bytes", "30000");
    replay = (struct event_replay){.config = &fixture_config, .pool = fixture_pool, .events_max = 1};
    replay_all(&replay);
    assert_int_equal(sent, 2);
    assert_int_equal(refused, 1);
    fixture_read("g.mail.delivery.v1", 29, &seen);
    assert_int_equal(seen.times[7], 1);
    assert_int_equal(seen.times[17], 1);
    assert_int_equal(seen.times[27], 0);
    assert_string_equal(seen.header[EVENT_KAFKA_DLQ_REASON], "");
    fixture_read("g.mail.dlq.v1", 3, &seen);
    assert_int_equal(seen.records, 3);
}

static void dead_letters_without_a_value_are_told_and_not_sent(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: h., record_max: 8KiB");
    fixture_create_topics();
    struct event_sink *sink = fixture_sink();
    assert_int_equal(fixture_publish(sink, "mail.delivery", 1, 20000), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    event_sink_close(&sink);
    fixture_read("h.mail.dlq.v1", 1, &seen);
    assert_string_equal(seen.value, EVENT_KAFKA_NO_VALUE);
    struct event_replay replay = {.config = &fixture_config, .pool = fixture_pool};
    replay_all(&replay);
    assert_int_equal(events_of(&replay, EVENT_REPLAY_NO_VALUE), 1);
    assert_int_equal(sent, 0);
}

static void lines_of_a_file_are_sent_in_their_order_with_the_values_that_they_had(void **state)
{
    (void)state;
    struct fixture_seen seen;
    struct cq_err err = {0};
    struct cq_buf lines;
    fixture_configure_plain(", topic_prefix: i., format: protobuf"); /* a file has JSON alone: so have its records */
    fixture_create_topics();
    cq_buf_init(&lines, 1u << 20);
    for (unsigned n = 0; n < 200; n++)
        cq_buf_printf(&lines,
                      "{\"specversion\":\"1.0\",\"id\":\"id-%u\",\"source\":\"s\",\"type\":\"t\",\"time\":"
                      "\"2026-11-22T00:00:00.%06uZ\",\"dataschema\":\"chasqui:mail.delivery.v1\",\"partitionkey\":"
                      "\"key-%u\",\"sequence\":\"%u\",\"data\":{\"n\": %u}}\n",
                      n, n, n % FIXTURE_KEYS, n, n);
    struct event_replay replay = {
        .config = &fixture_config, .filter = {.since = CQ_SLICE("2026-11-22T00:00:00.000100Z")}, .pool = fixture_pool};
    if (event_replay_lines(&replay, cq_buf_slice(&lines), &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(events_of(&replay, EVENT_REPLAY_SENT), 100);
    fixture_read("i.mail.delivery.v1", 100, &seen);
    assert_int_equal(seen.times[99], 0);
    assert_int_equal(seen.times[100], 1);
    assert_false(seen.disorder);
    assert_int_equal(strncmp(seen.value, "{\"n\": 1", 7), 0);
    assert_string_equal(seen.header[EVENT_KAFKA_CONTENT_TYPE], "application/json");
    cq_buf_fini(&lines);
}

static void a_missing_topic_is_told_with_what_to_do(void **state)
{
    (void)state;
    struct cq_err err = {0};
    fixture_configure_plain(", topic_prefix: e., timeout: 2s");
    struct event_sink *sink = fixture_sink();
    fixture_publish(sink, "mail.delivery", 1, 10);
    assert_int_equal(event_sink_poll(sink, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, "e.mail.delivery.v1"));
    assert_non_null(strstr(err.text, "chasquictl events topics --create"));
    struct event_topic topics[EVENT_TOPICS_MAX];
    assert_int_equal(event_topics(&fixture_config, NULL, topics, &err), CQ_OK);
    assert_int_equal(topics[EVENT_DELIVERY].partitions, 0);
    event_sink_close(&sink);
}

static void a_password_never_goes_in_clear(void **state)
{
    (void)state;
    struct event_sink *sink = NULL;
    struct cq_err err = {0};
    fixture_configure_plain(", sasl: {mechanism: SCRAM-SHA-512, user: u, password_file: /nowhere}");
    assert_int_equal(event_kafka_open(&fixture_config, &sink, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "tls"));
    fixture_configure_plain(
        ", tls: {enabled: true}, sasl: {mechanism: SCRAM-SHA-512, user: u, password_file: /nowhere}");
    assert_int_equal(event_kafka_open(&fixture_config, &sink, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "/nowhere"));
}

static int group_setup(void **state)
{
    (void)state;
    fixture_start("", "");
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    return fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_arrive_in_order_with_their_attributes),
        cmocka_unit_test(with_protobuf_the_value_is_the_public_message_and_the_attributes_say_so),
        cmocka_unit_test(what_a_dead_broker_did_not_take_is_published_again),
        cmocka_unit_test(too_big_records_become_dead_letters_and_stop_nobody),
        cmocka_unit_test(a_record_that_the_broker_refuses_is_found_in_its_batch),
        cmocka_unit_test(dead_letters_are_sent_again_when_the_cause_is_mended),
        cmocka_unit_test(dead_letters_without_a_value_are_told_and_not_sent),
        cmocka_unit_test(lines_of_a_file_are_sent_in_their_order_with_the_values_that_they_had),
        cmocka_unit_test(a_missing_topic_is_told_with_what_to_do),
        cmocka_unit_test(a_password_never_goes_in_clear),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
