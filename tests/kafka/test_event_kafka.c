/* The Kafka sink and a real broker: killed and restarted, topics that are missing, records that it refuses. */
#include "events/event_kafka_private.h"
#include "events/event_topics.h"

#include "base/cq_pool.h"
#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BROKER CHASQUI_SOURCE_DIR "/tests/support/kafka/broker"
#define READ_S 60

static char dir[64], server_address[32];
static int port;
static struct event_kafka_config config;
static struct cq_pool *pool;

static void run(const char *what, const char *more)
{
    char line[512];
    snprintf(line, sizeof line, "%s %s %s %s", BROKER, what, dir, more);
    assert_int_equal(system(line), 0);
}

static void start_broker(void)
{
    char text[16];
    snprintf(text, sizeof text, "%d", port);
    run("start", text);
}

/* `more` follows the settings that every test has. */
static void configure(const char *more)
{
    char text[512];
    struct cq_config_part part = event_kafka_config_part(&config);
    struct cq_err err = {0};
    snprintf(text, sizeof text, "events: {kafka: {servers: ['%s']%s%s}}", server_address,
             strstr(more, "timeout") ? "" : ", timeout: 20s", more);
    assert_int_equal(cq_config_parse(&part, 1, "/test", cq_slice_cstr(text), pool, &err), CQ_OK);
}

/* ---- Publishing ---- */

#define EVENTS_MAX 4096
static bool acknowledged[EVENTS_MAX];

static void on_acknowledged(void *ctx, uint64_t ticket)
{
    (void)ctx;
    acknowledged[ticket] = true;
}

static struct event_sink *open_sink(void)
{
    struct event_sink *sink = NULL;
    struct cq_err err = {0};
    assert_int_equal(event_kafka_open(&config, &sink, &err), CQ_OK);
    sink->acknowledged = on_acknowledged;
    memset(acknowledged, 0, sizeof acknowledged);
    return sink;
}

static enum cq_rc publish(struct event_sink *sink, const char *stream, unsigned n, size_t filler)
{
    char id[32], key[16], sequence[32];
    char *data = cq_pool_alloc(pool, filler + 64);
    snprintf(id, sizeof id, "id-%u", n);
    snprintf(key, sizeof key, "key-%u", n % 5);
    snprintf(sequence, sizeof sequence, "%020u", n);
    int len = snprintf(data, filler + 64, "{\"n\":%u,\"filler\":\"", n);
    for (size_t i = 0; i < filler; i++) /* not to be compressed away */
        data[len++] = (char)('a' + rand() % 26);
    len += snprintf(data + len, 3, "\"}");
    const struct event_record record = {.stream = cq_slice_cstr(stream),
                                        .type = CQ_SLICE("chasqui.mail.delivery.delivery.local.v1"),
                                        .key = cq_slice_cstr(key),
                                        .id = cq_slice_cstr(id),
                                        .source = CQ_SLICE("chasqui://c1/shard/1"),
                                        .time = CQ_SLICE("2026-11-22T00:00:00.000000Z"),
                                        .dataschema = CQ_SLICE("chasqui:mail.delivery.v1"),
                                        .sequence = cq_slice_cstr(sequence),
                                        .data = cq_slice_of(data, (size_t)len),
                                        .protobuf = CQ_SLICE("\x0a\x04id-0"),
                                        .protobuf_schema = CQ_SLICE("chasqui:chasqui.events.v1.Delivery"),
                                        .ticket = n};
    return event_sink_publish(sink, &record, NULL);
}

static void create_topics(void)
{
    struct event_topic topics[EVENT_TOPICS_MAX];
    struct cq_err err = {0};
    const struct event_topic_plan plan = {.partitions = 3, .replication = 1};
    enum cq_rc rc = event_topics(&config, &plan, topics, &err);
    if (rc != CQ_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < EVENT_TOPICS_MAX; i++)
        assert_int_equal(topics[i].partitions, 3);
}

static void create_topic_with(const char *name, const char *key, const char *value)
{
    char text[256];
    rd_kafka_conf_t *conf = NULL;
    assert_int_equal(event_kafka_conf(&config, &conf, NULL), CQ_OK);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, 3, 1, text, sizeof text);
    rd_kafka_NewTopic_set_config(topic, key, value);
    rd_kafka_CreateTopics(client, &topic, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, READ_S * 1000);
    assert_non_null(event);
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

/* ---- Reading back ---- */

struct seen {
    unsigned times[EVENTS_MAX];
    unsigned last_of_key[5]; /* first occurrences alone */
    bool disorder;
    unsigned records;
    char header[EVENT_KAFKA_HEADERS][128]; /* of the last one, as its value */
    char value[64];
};

static void note(struct seen *seen, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value;
    size_t size;
    unsigned n;
    seen->records++;
    assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
    for (size_t i = 0; i < EVENT_KAFKA_HEADERS; i++) {
        seen->header[i][0] = 0;
        if (rd_kafka_header_get_last(headers, event_kafka_header_names[i], &value, &size) == 0)
            snprintf(seen->header[i], sizeof seen->header[i], "%.*s", (int)size, (const char *)value);
    }
    assert_int_equal(sscanf(seen->header[EVENT_KAFKA_ID], "id-%u", &n), 1);
    snprintf(seen->value, sizeof seen->value, "%.*s", (int)message->len, (const char *)message->payload);
    if (seen->times[n]++ == 0) {
        seen->disorder = seen->disorder || seen->last_of_key[n % 5] > n;
        seen->last_of_key[n % 5] = n;
    }
}

/* Reads the topic from its beginning until `ids` different events were seen. */
static void read_topic(const char *topic, unsigned ids, struct seen *seen)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    memset(seen, 0, sizeof *seen);
    rd_kafka_conf_set(conf, "bootstrap.servers", server_address, text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "test", text, sizeof text);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(3);
    for (int p = 0; p < 3; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(rd_kafka_assign(consumer, list), 0);
    unsigned different = 0;
    for (time_t end = time(NULL) + READ_S; different < ids && time(NULL) < end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 200);
        if (message && !message->err)
            note(seen, message);
        if (message)
            rd_kafka_message_destroy(message);
        different = 0;
        for (unsigned n = 0; n < EVENTS_MAX; n++)
            different += seen->times[n] > 0;
    }
    assert_int_equal(different, ids);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

/* ---- Tests: each with a prefix of its own at the one broker ---- */

static void events_arrive_in_order_with_their_attributes(void **state)
{
    (void)state;
    struct seen seen;
    struct cq_err err = {0};
    configure(", topic_prefix: a.");
    create_topics();
    struct event_sink *sink = open_sink();
    for (unsigned n = 0; n < 2000; n++)
        assert_int_equal(publish(sink, "mail.delivery", n, 200), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    for (unsigned n = 0; n < 2000; n++)
        assert_true(acknowledged[n]);
    read_topic("a.mail.delivery.v1", 2000, &seen);
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
    struct seen seen;
    struct cq_err err = {0};
    configure(", topic_prefix: f., format: protobuf");
    create_topics();
    struct event_sink *sink = open_sink();
    assert_int_equal(publish(sink, "mail.delivery", 0, 10), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    read_topic("f.mail.delivery.v1", 1, &seen);
    assert_string_equal(seen.value, "\x0a\x04id-0");
    assert_string_equal(seen.header[EVENT_KAFKA_CONTENT_TYPE], "application/protobuf");
    assert_string_equal(seen.header[EVENT_KAFKA_DATASCHEMA], "chasqui:chasqui.events.v1.Delivery");
    assert_string_equal(seen.header[EVENT_KAFKA_ID], "id-0");
    event_sink_close(&sink);
}

static void what_a_dead_broker_did_not_take_is_published_again(void **state)
{
    (void)state;
    struct seen seen;
    struct cq_err err = {0};
    configure(", topic_prefix: b.");
    create_topics();
    configure(", topic_prefix: b., timeout: 2s");
    struct event_sink *sink = open_sink();
    for (unsigned n = 0; n < 100; n++)
        publish(sink, "mail.delivery", n, 100);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    run("stop", "KILL");
    for (unsigned n = 100; n < 200; n++)
        publish(sink, "mail.delivery", n, 100);
    assert_int_equal(event_sink_poll(sink, &err), CQ_E_IO);
    assert_false(acknowledged[100]);
    start_broker();
    enum cq_rc rc = CQ_E_IO;
    for (int tries = 0; tries < 30 && rc != CQ_OK; tries++) {
        for (unsigned n = 100; n < 200; n++)
            publish(sink, "mail.delivery", n, 100);
        rc = event_sink_poll(sink, &err);
    }
    assert_int_equal(rc, CQ_OK);
    read_topic("b.mail.delivery.v1", 200, &seen);
    assert_false(seen.disorder);
    event_sink_close(&sink);
}

static void too_big_records_become_dead_letters_and_stop_nobody(void **state)
{
    (void)state;
    struct seen seen;
    struct cq_err err = {0};
    configure(", topic_prefix: c., record_max: 8KiB");
    create_topics();
    struct event_sink *sink = open_sink();
    for (unsigned n = 0; n < 20; n++)
        assert_int_equal(publish(sink, "mail.delivery", n, n == 7 ? 20000 : 100), CQ_OK);
    assert_int_equal(event_sink_poll(sink, &err), CQ_OK);
    for (unsigned n = 0; n < 20; n++)
        assert_true(acknowledged[n]);
    read_topic("c.mail.delivery.v1", 19, &seen);
    assert_int_equal(seen.times[7], 0);
    read_topic("c.mail.dlq.v1", 1, &seen);
    assert_int_equal(seen.times[7], 1);
    assert_string_equal(seen.header[EVENT_KAFKA_DLQ_TOPIC], "c.mail.delivery.v1");
    assert_non_null(strstr(seen.header[EVENT_KAFKA_DLQ_REASON], "size"));
    event_sink_close(&sink);
}

/* The broker's topic takes less than the settings say: it refuses a batch, in which only one record is too big. */
static void a_record_that_the_broker_refuses_is_found_in_its_batch(void **state)
{
    (void)state;
    struct seen seen;
    struct cq_err err = {0};
    configure(", topic_prefix: d., compression: none, linger: 100ms");
    create_topic_with("d.mail.delivery.v1", "max.message.bytes", "9000");
    create_topics();
    struct event_sink *sink = open_sink();
    for (unsigned n = 0; n < 20; n++)
        assert_int_equal(publish(sink, "mail.delivery", n, n == 7 ? 20000 : 50), CQ_OK);
    enum cq_rc rc = event_sink_poll(sink, &err);
    if (rc != CQ_OK)
        fail_msg("%s", err.text);
    read_topic("d.mail.delivery.v1", 19, &seen);
    assert_int_equal(seen.times[7], 0);
    read_topic("d.mail.dlq.v1", 1, &seen);
    assert_int_equal(seen.times[7], 1);
    event_sink_close(&sink);
}

static void a_missing_topic_is_told_with_what_to_do(void **state)
{
    (void)state;
    struct cq_err err = {0};
    configure(", topic_prefix: e., timeout: 2s");
    struct event_sink *sink = open_sink();
    publish(sink, "mail.delivery", 1, 10);
    assert_int_equal(event_sink_poll(sink, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, "e.mail.delivery.v1"));
    assert_non_null(strstr(err.text, "chasquictl events topics --create"));
    struct event_topic topics[EVENT_TOPICS_MAX];
    assert_int_equal(event_topics(&config, NULL, topics, &err), CQ_OK);
    assert_int_equal(topics[EVENT_DELIVERY].partitions, 0);
    event_sink_close(&sink);
}

static void a_password_never_goes_in_clear(void **state)
{
    (void)state;
    struct event_sink *sink = NULL;
    struct cq_err err = {0};
    configure(", sasl: {mechanism: SCRAM-SHA-512, user: u, password_file: /nowhere}");
    assert_int_equal(event_kafka_open(&config, &sink, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "tls"));
    configure(", tls: {enabled: true}, sasl: {mechanism: SCRAM-SHA-512, user: u, password_file: /nowhere}");
    assert_int_equal(event_kafka_open(&config, &sink, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "/nowhere"));
}

/* ---- One broker for all ---- */

static int group_setup(void **state)
{
    (void)state;
    FILE *ask = popen("python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); "
                      "print(s.getsockname()[1])'",
                      "r");
    assert_non_null(ask);
    assert_int_equal(fscanf(ask, "%d", &port), 1);
    pclose(ask);
    snprintf(dir, sizeof dir, "/tmp/chasqui-kafka-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(server_address, sizeof server_address, "127.0.0.1:%d", port);
    pool = cq_pool_new(65536);
    start_broker();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    char line[128];
    run("stop", "KILL");
    snprintf(line, sizeof line, "rm -rf %s", dir);
    cq_pool_free(&pool);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_arrive_in_order_with_their_attributes),
        cmocka_unit_test(with_protobuf_the_value_is_the_public_message_and_the_attributes_say_so),
        cmocka_unit_test(what_a_dead_broker_did_not_take_is_published_again),
        cmocka_unit_test(too_big_records_become_dead_letters_and_stop_nobody),
        cmocka_unit_test(a_record_that_the_broker_refuses_is_found_in_its_batch),
        cmocka_unit_test(a_missing_topic_is_told_with_what_to_do),
        cmocka_unit_test(a_password_never_goes_in_clear),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
