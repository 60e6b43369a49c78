#include "events/event_kafka.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "events/event_kafka_private.h"

#define WAIT_MS 50     /* of one wait for reports */
#define CLOSE_MS 1000  /* for what is in flight when the sink is closed */
#define REASON_MAX 200 /* bytes of dlq_reason */
#define LOOK_MS 1000   /* for a look at the topics after a failure */
#define SPARE_MS 1000  /* librdkafka gives up at `timeout`; we wait so much longer for it to say so */

/* One record from publish() to the end of its poll(). Its bytes are in the sink's pool: librdkafka does not copy. */
struct flight {
    struct event_kafka *kafka;
    uint64_t ticket;
    const char *topic;
    struct cq_slice key, value;
    struct cq_slice headers[EVENT_KAFKA_HEADERS]; /* by event_kafka_header_names */
    enum { FLIGHT_WAITING, FLIGHT_DONE, FLIGHT_REFUSED, FLIGHT_FAILED } state;
    rd_kafka_resp_err_t why;
};

struct event_kafka {
    struct event_sink base;
    struct event_kafka_config config;
    rd_kafka_t *producer; /* NULL: made by the next publish */
    struct cq_pool *pool;
    struct flight *flights; /* EVENT_KAFKA_IN_FLIGHT_MAX */
    size_t count;
    size_t waiting;
    bool fatal;                     /* the producer must be made anew */
    char trouble[CQ_ERR_TEXT_SIZE]; /* the last thing that librdkafka complained of */
};

static struct event_kafka *kafka_of(struct event_sink *sink)
{
    return cq_containerof(sink, struct event_kafka, base);
}

/* ---- What librdkafka tells ---- */

/* Those that come again with every attempt, however long one waits. */
static bool is_refusal(rd_kafka_resp_err_t why)
{
    static const rd_kafka_resp_err_t codes[] = {
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG,       RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE,
        RD_KAFKA_RESP_ERR_INVALID_RECORD,     RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (why == codes[i])
            return true;
    return false;
}

static void settle(struct flight *flight, rd_kafka_resp_err_t why)
{
    flight->why = why;
    flight->state = !why ? FLIGHT_DONE : is_refusal(why) ? FLIGHT_REFUSED : FLIGHT_FAILED;
    flight->kafka->waiting--;
}

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    (void)opaque;
    settle(message->_private, message->err);
}

static void on_error(rd_kafka_t *producer, int code, const char *reason, void *opaque)
{
    struct event_kafka *kafka = opaque;
    char text[CQ_ERR_TEXT_SIZE];
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_fatal_error(producer, text, sizeof text);
        kafka->fatal = true;
        reason = text;
    }
    snprintf(kafka->trouble, sizeof kafka->trouble, "%s", reason);
}

/* ---- The producer ---- */

static void drop_producer(struct event_kafka *kafka, int wait_ms)
{
    if (!kafka->producer)
        return;
    if (wait_ms)
        rd_kafka_flush(kafka->producer, wait_ms);
    rd_kafka_purge(kafka->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (int n = 0; kafka->waiting && n < CLOSE_MS / WAIT_MS; n++)
        rd_kafka_poll(kafka->producer, WAIT_MS);
    rd_kafka_destroy(kafka->producer);
    kafka->producer = NULL;
    kafka->fatal = false;
}

static enum cq_rc need_producer(struct event_kafka *kafka, struct cq_err *err)
{
    char text[CQ_ERR_TEXT_SIZE];
    rd_kafka_conf_t *conf = NULL;
    if (kafka->fatal)
        drop_producer(kafka, 0);
    if (kafka->producer)
        return CQ_OK;
    enum cq_rc rc = event_kafka_conf(&kafka->config, &conf, err);
    if (rc != CQ_OK)
        return rc;
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    kafka->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (kafka->producer)
        return CQ_OK;
    rd_kafka_conf_destroy(conf);
    return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka: %s", text);
}

/* ---- Sending ---- */

static rd_kafka_headers_t *headers_of(const struct flight *flight)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(EVENT_KAFKA_HEADERS);
    for (size_t i = 0; i < EVENT_KAFKA_HEADERS; i++)
        if (flight->headers[i].len)
            rd_kafka_header_add(headers, event_kafka_header_names[i], -1, flight->headers[i].data,
                                (ssize_t)flight->headers[i].len);
    return headers;
}

/* The flight waits, or is settled at once. CQ_E_OVERLOADED: librdkafka's queue is full. */
static enum cq_rc send_flight(struct event_kafka *kafka, struct flight *flight)
{
    rd_kafka_headers_t *headers = headers_of(flight);
    flight->state = FLIGHT_WAITING;
    kafka->waiting++;
    rd_kafka_resp_err_t why = rd_kafka_producev(
        kafka->producer, RD_KAFKA_V_TOPIC(flight->topic), RD_KAFKA_V_KEY(flight->key.data, flight->key.len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)flight->value.data, flight->value.len), RD_KAFKA_V_HEADERS(headers),
        RD_KAFKA_V_OPAQUE(flight), RD_KAFKA_V_MSGFLAGS(0), RD_KAFKA_V_END);
    if (!why)
        return CQ_OK;
    rd_kafka_headers_destroy(headers);
    settle(flight, why);
    return why == RD_KAFKA_RESP_ERR__QUEUE_FULL ? CQ_E_OVERLOADED : CQ_OK;
}

static const char *topic_of(struct event_kafka *kafka, struct cq_slice stream)
{
    return cq_pool_printf(kafka->pool, "%s%.*s.v1", kafka->config.topic_prefix, (int)stream.len,
                          (const char *)stream.data);
}

/* What goes into the value, and the two attributes that tell a reader what it is. */
struct content {
    struct cq_slice value, type, schema;
};

/* An empty value would be a tombstone. */
static enum cq_rc content_of(const struct event_kafka *kafka, const struct event_record *record,
                             struct content *content_r, struct cq_err *err)
{
    if (kafka->config.format == EVENT_KAFKA_PROTOBUF)
        *content_r = (struct content){record->protobuf, CQ_SLICE("application/protobuf"), record->protobuf_schema};
    else
        *content_r = (struct content){record->data, CQ_SLICE("application/json"), record->dataschema};
    return content_r->value.len ? CQ_OK : CQ_FAIL(err, CQ_E_INVALID, "kafka: an event without data");
}

static void fill_headers(struct event_kafka *kafka, struct flight *flight, const struct event_record *record,
                         const struct content *content)
{
    const struct cq_slice values[EVENT_KAFKA_HEADERS] = {
        [EVENT_KAFKA_SPECVERSION] = CQ_SLICE("1.0"),
        [EVENT_KAFKA_CONTENT_TYPE] = content->type,
        [EVENT_KAFKA_ID] = record->id,
        [EVENT_KAFKA_SOURCE] = record->source,
        [EVENT_KAFKA_TYPE] = record->type,
        [EVENT_KAFKA_TIME] = record->time,
        [EVENT_KAFKA_SUBJECT] = record->key,
        [EVENT_KAFKA_PARTITIONKEY] = record->key,
        [EVENT_KAFKA_SEQUENCE] = record->sequence,
        [EVENT_KAFKA_DATASCHEMA] = content->schema,
    };
    for (size_t i = 0; i < EVENT_KAFKA_HEADERS; i++)
        flight->headers[i] = cq_pool_slice(kafka->pool, values[i]);
}

static enum cq_rc kafka_publish(struct event_sink *sink, const struct event_record *record, struct cq_err *err)
{
    struct event_kafka *kafka = kafka_of(sink);
    if (kafka->count == EVENT_KAFKA_IN_FLIGHT_MAX)
        return CQ_FAIL(err, CQ_E_OVERLOADED, "kafka: %zu events wait", kafka->count);
    struct content content;
    enum cq_rc rc = content_of(kafka, record, &content, err);
    if (rc != CQ_OK)
        return rc;
    rc = need_producer(kafka, err);
    if (rc != CQ_OK)
        return rc == CQ_E_CONFIG ? CQ_E_IO : rc; /* a certificate that is being replaced: later */
    struct flight *flight = &kafka->flights[kafka->count];
    *flight = (struct flight){.kafka = kafka,
                              .ticket = record->ticket,
                              .topic = topic_of(kafka, record->stream),
                              .key = cq_pool_slice(kafka->pool, record->key),
                              .value = cq_pool_slice(kafka->pool, content.value)};
    fill_headers(kafka, flight, record, &content);
    rc = send_flight(kafka, flight);
    if (rc == CQ_OK)
        kafka->count++;
    return rc;
}

/* ---- Waiting for the brokers ---- */

static void wait_for_reports(struct event_kafka *kafka)
{
    uint64_t most_ms = kafka->config.timeout_us / 1000 + SPARE_MS;
    rd_kafka_flush(kafka->producer, 0); /* no more linger: the whole batch is here */
    for (uint64_t ms = 0; kafka->waiting && !kafka->fatal && ms < most_ms; ms += WAIT_MS)
        rd_kafka_flush(kafka->producer, WAIT_MS);
}

static bool any_in(const struct event_kafka *kafka, int state)
{
    for (size_t i = 0; i < kafka->count; i++)
        if ((int)kafka->flights[i].state == state)
            return true;
    return false;
}

/* A broker refuses a whole batch for one record of it. Alone each shows what it is. */
static void send_refused_alone(struct event_kafka *kafka)
{
    for (size_t i = 0; i < kafka->count; i++)
        if (kafka->flights[i].state == FLIGHT_REFUSED && send_flight(kafka, &kafka->flights[i]) == CQ_OK)
            wait_for_reports(kafka);
}

static void send_to_dead_letters(struct event_kafka *kafka)
{
    for (size_t i = 0; i < kafka->count; i++) {
        struct flight *flight = &kafka->flights[i];
        if (flight->state != FLIGHT_REFUSED)
            continue;
        const char *reason = rd_kafka_err2str(flight->why);
        cq_log_limited(1, CQ_ERROR, "kafka.dead_letter", CQ_F_STR("topic", flight->topic), CQ_F_STR("error", reason),
                       CQ_F_SLICE("event_id", flight->headers[EVENT_KAFKA_ID]),
                       CQ_F_U64("size_bytes", flight->value.len));
        flight->headers[EVENT_KAFKA_DLQ_REASON] = cq_slice_sub(cq_slice_cstr(reason), 0, REASON_MAX);
        flight->headers[EVENT_KAFKA_DLQ_TOPIC] = cq_slice_cstr(flight->topic);
        flight->topic = topic_of(kafka, CQ_SLICE(EVENT_DLQ_STREAM));
        if (flight->why == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) /* its id and type are in the headers */
            flight->value = CQ_SLICE("{}");
        send_flight(kafka, flight);
    }
    wait_for_reports(kafka);
}

/* librdkafka waits for a topic that is missing as for one that is being made, and tells of a time-out at last. */
static bool is_missing(struct event_kafka *kafka, const char *topic)
{
    const rd_kafka_metadata_t *metadata = NULL;
    bool found = false;
    if (!kafka->producer || rd_kafka_metadata(kafka->producer, 1, NULL, &metadata, LOOK_MS))
        return false;
    for (int i = 0; i < metadata->topic_cnt && !found; i++)
        found = strcmp(metadata->topics[i].topic, topic) == 0;
    rd_kafka_metadata_destroy(metadata);
    return !found;
}

static enum cq_rc report_failure(struct event_kafka *kafka, struct cq_err *err)
{
    const struct flight *flight = kafka->flights;
    while (flight < kafka->flights + kafka->count && flight->state == FLIGHT_DONE)
        flight++;
    if (flight == kafka->flights + kafka->count)
        return CQ_OK;
    if (is_missing(kafka, flight->topic))
        return CQ_FAIL(err, CQ_E_IO, "kafka: no topic %s: chasquictl events topics --create makes it", flight->topic);
    return CQ_FAIL(err, CQ_E_IO, "kafka: %s: %s%s%s", flight->topic,
                   flight->why ? rd_kafka_err2str(flight->why) : "no report", kafka->trouble[0] ? "; " : "",
                   kafka->trouble);
}

static void forget_flights(struct event_kafka *kafka)
{
    if (kafka->waiting) /* their bytes are about to go */
        drop_producer(kafka, 0);
    kafka->count = 0;
    kafka->waiting = 0;
    cq_pool_clear(kafka->pool);
}

static enum cq_rc kafka_poll(struct event_sink *sink, struct cq_err *err)
{
    struct event_kafka *kafka = kafka_of(sink);
    if (!kafka->count)
        return CQ_OK;
    wait_for_reports(kafka);
    if (any_in(kafka, FLIGHT_REFUSED))
        send_refused_alone(kafka);
    if (any_in(kafka, FLIGHT_REFUSED))
        send_to_dead_letters(kafka);
    enum cq_rc rc = report_failure(kafka, err);
    for (size_t i = 0; i < kafka->count && kafka->flights[i].state == FLIGHT_DONE; i++)
        sink->acknowledged(sink->ctx, kafka->flights[i].ticket);
    if (rc == CQ_OK)
        kafka->trouble[0] = 0;
    forget_flights(kafka);
    return rc;
}

/* ---- Life ---- */

/* Certificates and passwords are read by a new producer. */
static enum cq_rc kafka_reopen(struct event_sink *sink, struct cq_err *err)
{
    struct event_kafka *kafka = kafka_of(sink);
    kafka->count = 0;
    forget_flights(kafka);
    drop_producer(kafka, CLOSE_MS);
    return need_producer(kafka, err);
}

static void kafka_close(struct event_sink *sink)
{
    struct event_kafka *kafka = kafka_of(sink);
    drop_producer(kafka, CLOSE_MS);
    cq_pool_free(&kafka->pool);
    free(kafka->flights);
    free(kafka);
}

static const struct event_sink_ops kafka_ops = {
    .publish = kafka_publish, .poll = kafka_poll, .reopen = kafka_reopen, .close = kafka_close};

enum cq_rc event_kafka_open(const struct event_kafka_config *config, struct event_sink **sink_r, struct cq_err *err)
{
    struct event_kafka *kafka = cq_new(struct event_kafka);
    kafka->base.ops = &kafka_ops;
    kafka->config = *config;
    kafka->pool = cq_pool_new(65536);
    kafka->flights = cq_calloc(EVENT_KAFKA_IN_FLIGHT_MAX, sizeof *kafka->flights);
    enum cq_rc rc = need_producer(kafka, err);
    if (rc != CQ_OK) {
        kafka_close(&kafka->base);
        return rc;
    }
    *sink_r = &kafka->base;
    return CQ_OK;
}
