#include "kafka_fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BROKER CHASQUI_SOURCE_DIR "/tests/support/kafka/broker"

char fixture_dir[64];
int fixture_port;
struct event_kafka_config fixture_config;
struct cq_pool *fixture_pool;
bool fixture_acknowledged[FIXTURE_EVENTS_MAX];
static char plain_address[32];

/* ---- The broker ---- */

void fixture_run_line(const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (system(line) != 0)
        fail_msg("%s", line);
}

void fixture_run(const char *verb, const char *more)
{
    fixture_run_line("%s %s %s %s", BROKER, verb, fixture_dir, more);
}

int fixture_free_port(void)
{
    int port = 0;
    FILE *ask = popen("python3 -B " CHASQUI_SOURCE_DIR "/tests/support/ports.py", "r");
    assert_non_null(ask);
    assert_int_equal(fscanf(ask, "%d", &port), 1);
    pclose(ask);
    return port;
}

static void start(const char *more)
{
    char text[128];
    snprintf(text, sizeof text, "%d %s", fixture_port, more);
    fixture_run("start", text);
}

void fixture_restart_broker(void)
{
    start("");
}

void fixture_start(const char *more, const char *users)
{
    char path[96] = "";
    if (!fixture_dir[0]) { /* a program may have put something there before */
        snprintf(fixture_dir, sizeof fixture_dir, "/tmp/chasqui-kafka-XXXXXX");
        assert_non_null(mkdtemp(fixture_dir));
    }
    fixture_port = fixture_port ? fixture_port : fixture_free_port();
    snprintf(plain_address, sizeof plain_address, "127.0.0.1:%d", fixture_port);
    fixture_pool = cq_pool_new(65536);
    setenv("KAFKA_SCRAM", users, 1);
    if (more[0]) {
        snprintf(path, sizeof path, "%s/more.properties", fixture_dir);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(more, file);
        fclose(file);
    }
    start(path);
}

int fixture_end(void)
{
    fixture_run("stop", "KILL");
    fixture_run_line("rm -rf %s", fixture_dir);
    cq_pool_free(&fixture_pool);
    return 0;
}

void fixture_configure(const char *server, const char *more)
{
    char text[1024];
    struct cq_config_part part = event_kafka_config_part(&fixture_config);
    struct cq_err err = {0};
    snprintf(text, sizeof text, "events: {kafka: {servers: ['%s']%s%s}}", server,
             strstr(more, "timeout") ? "" : ", timeout: 20s", more);
    if (cq_config_parse(&part, 1, "/test", cq_slice_cstr(text), fixture_pool, &err) != CQ_OK)
        fail_msg("%s", err.text);
}

void fixture_configure_plain(const char *more)
{
    fixture_configure(plain_address, more);
}

/* ---- Publishing ---- */

static void on_acknowledged(void *ctx, uint64_t ticket)
{
    (void)ctx;
    fixture_acknowledged[ticket] = true;
}

struct event_sink *fixture_sink(void)
{
    struct event_sink *sink = NULL;
    struct cq_err err = {0};
    if (event_kafka_open(&fixture_config, &sink, &err) != CQ_OK)
        fail_msg("%s", err.text);
    sink->acknowledged = on_acknowledged;
    memset(fixture_acknowledged, 0, sizeof fixture_acknowledged);
    return sink;
}

enum cq_rc fixture_publish(struct event_sink *sink, const char *stream, unsigned n, size_t filler)
{
    char id[32], key[16], sequence[32], time_text[32];
    char *data = cq_pool_alloc(fixture_pool, filler + 64);
    snprintf(id, sizeof id, "id-%u", n);
    snprintf(key, sizeof key, "key-%u", n % FIXTURE_KEYS);
    snprintf(sequence, sizeof sequence, "%020u", n);
    snprintf(time_text, sizeof time_text, "2026-11-22T00:00:00.%06uZ", n);
    int len = snprintf(data, filler + 64, "{\"n\":%u,\"filler\":\"", n);
    for (size_t i = 0; i < filler; i++) /* not to be compressed away */
        data[len++] = (char)('a' + rand() % 26);
    len += snprintf(data + len, 3, "\"}");
    const struct event_record record = {.stream = cq_slice_cstr(stream),
                                        .type = CQ_SLICE("chasqui.mail.delivery.delivery.local.v1"),
                                        .key = cq_slice_cstr(key),
                                        .id = cq_slice_cstr(id),
                                        .source = CQ_SLICE("chasqui://c1/shard/1"),
                                        .time = cq_slice_cstr(time_text),
                                        .dataschema = CQ_SLICE("chasqui:mail.delivery.v1"),
                                        .sequence = cq_slice_cstr(sequence),
                                        .data = cq_slice_of(data, (size_t)len),
                                        .protobuf = CQ_SLICE("\x0a\x04id-0"),
                                        .protobuf_schema = CQ_SLICE("chasqui:chasqui.events.v1.Delivery"),
                                        .ticket = n};
    return event_sink_publish(sink, &record, NULL);
}

/* ---- What an operator does at the brokers ---- */

void fixture_create_topics(void)
{
    struct event_topic topics[EVENT_TOPICS_MAX];
    struct cq_err err = {0};
    const struct event_topic_plan plan = {.partitions = FIXTURE_PARTITIONS, .replication = 1};
    enum cq_rc rc = event_topics(&fixture_config, &plan, topics, &err);
    if (rc != CQ_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < EVENT_TOPICS_MAX; i++)
        assert_int_equal(topics[i].partitions, FIXTURE_PARTITIONS);
}

struct operator
{
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
};

static struct operator begin(void)
{
    char text[256];
    struct operator o;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", plain_address, text, sizeof text);
    o.client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(o.client);
    o.queue = rd_kafka_queue_new(o.client);
    return o;
}

static void end(struct operator o)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(o.queue, FIXTURE_READ_S * 1000);
    assert_non_null(event);
    if (rd_kafka_event_error(event))
        fail_msg("%s", rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(o.queue);
    rd_kafka_destroy(o.client);
}

void fixture_create_topic_with(const char *name, const char *key, const char *value)
{
    char text[256];
    struct operator o = begin();
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, FIXTURE_PARTITIONS, 1, text, sizeof text);
    rd_kafka_NewTopic_set_config(topic, key, value);
    rd_kafka_CreateTopics(o.client, &topic, 1, NULL, o.queue);
    end(o);
    rd_kafka_NewTopic_destroy(topic);
}

void fixture_alter_topic(const char *name, const char *key, const char *value)
{
    struct operator o = begin();
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_ConfigResource_set_config(resource, key, value);
    rd_kafka_AlterConfigs(o.client, &resource, 1, NULL, o.queue);
    end(o);
    rd_kafka_ConfigResource_destroy(resource);
}

void fixture_allow(const char *user, const char *prefix, rd_kafka_AclOperation_t operation)
{
    char text[256], principal[64];
    struct operator o = begin();
    snprintf(principal, sizeof principal, "User:%s", user);
    rd_kafka_AclBinding_t *acl =
        rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, prefix, RD_KAFKA_RESOURCE_PATTERN_PREFIXED, principal, "*",
                                operation, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
    assert_non_null(acl);
    rd_kafka_CreateAcls(o.client, &acl, 1, NULL, o.queue);
    end(o);
    rd_kafka_AclBinding_destroy(acl);
}

/* ---- Reading back ---- */

static void note(struct fixture_seen *seen, const rd_kafka_message_t *message)
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
        seen->disorder = seen->disorder || seen->last_of_key[n % FIXTURE_KEYS] > n;
        seen->last_of_key[n % FIXTURE_KEYS] = n;
    }
}

void fixture_read(const char *topic, unsigned ids, struct fixture_seen *seen)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    memset(seen, 0, sizeof *seen);
    rd_kafka_conf_set(conf, "bootstrap.servers", plain_address, text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "test", text, sizeof text);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(FIXTURE_PARTITIONS);
    for (int p = 0; p < FIXTURE_PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(rd_kafka_assign(consumer, list), 0);
    unsigned different = 0;
    for (time_t until = time(NULL) + FIXTURE_READ_S; different < ids && time(NULL) < until;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 200);
        if (message && !message->err)
            note(seen, message);
        if (message)
            rd_kafka_message_destroy(message);
        different = 0;
        for (unsigned n = 0; n < FIXTURE_EVENTS_MAX; n++)
            different += seen->times[n] > 0;
    }
    assert_int_equal(different, ids);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}
