#include "events/event_kafka.h"

#include <librdkafka/rdkafka.h>
#include <openssl/x509_vfy.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "events/event_kafka_private.h"

#define WAIT_MS 50          /* of one wait for reports */
#define CLOSE_MS 1000       /* for what is in flight when the sink is closed */
#define REASON_MAX 200      /* bytes of dlq_reason */
#define LOOK_MS 1000        /* for a look at the topics after a failure */
#define DEAD_LETTER_TURNS 2 /* with its value, and without */
#define SPARE_MS 1000       /* librdkafka gives up at `timeout`; we wait so much longer for it to say so */

/* One record from publish() to the end of its poll(). Its bytes are in the sink's pool: librdkafka does not copy. */
struct flight {
    struct event_kafka *kafka;
    uint64_t ticket;
    const char *topic;
    struct cq_slice key, value;
    struct cq_slice headers[EVENT_KAFKA_HEADERS]; /* by event_kafka_header_names */
    enum { FLIGHT_WAITING, FLIGHT_DONE, FLIGHT_REFUSED, FLIGHT_FAILED, FLIGHT_HANDED_BACK } state;
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
    bool fatal;            /* the producer must be made anew */
    atomic_int x509_error; /* of a broker's certificate; 0: none */
    rd_kafka_resp_err_t trouble_code;
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
        code = (int)rd_kafka_fatal_error(producer, text, sizeof text);
        kafka->fatal = true;
        reason = text;
    }
    if (strstr(reason, "SSL routines")) /* in TLS 1.3 a broker refuses our certificate after the handshake */
        code = RD_KAFKA_RESP_ERR__SSL;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && kafka->trouble[0])
        return; /* what was told before says why */
    kafka->trouble_code = (rd_kafka_resp_err_t)code;
    snprintf(kafka->trouble, sizeof kafka->trouble, "%s", reason);
}

/* What is wrong with a broker's certificate; librdkafka's own text does not tell. */
static const char *certificate_text(int x509_error)
{
    static const struct {
        int error;
        const char *text;
    } rows[] = {
        {X509_V_ERR_CERT_NOT_YET_VALID, "the broker's certificate is not valid yet; "},
        {X509_V_ERR_CERT_HAS_EXPIRED, "the broker's certificate has expired; "},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "the broker's certificate is not from events.kafka.tls.ca; "},
        {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "the broker's certificate is not from events.kafka.tls.ca; "},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "the broker's certificate is not from events.kafka.tls.ca; "},
        {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "the broker's certificate is not from events.kafka.tls.ca; "},
        {X509_V_ERR_HOSTNAME_MISMATCH, "the broker's certificate is for another name; "},
        {X509_V_ERR_IP_ADDRESS_MISMATCH, "the broker's certificate is for another address; "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].error == x509_error)
            return rows[i].text;
    return "";
}

/* On a thread of librdkafka, which has judged already: nothing is let through here. */
static int on_certificate(rd_kafka_t *producer, const char *broker, int32_t broker_id, int *x509_error, int depth,
                          const char *der, size_t size, char *text, size_t text_size, void *opaque)
{
    struct event_kafka *kafka = opaque;
    (void)producer;
    (void)broker;
    (void)broker_id;
    (void)depth;
    (void)der;
    (void)size;
    if (!*x509_error)
        return 1;
    atomic_store(&kafka->x509_error, *x509_error);
    snprintf(text, text_size, "%s", certificate_text(*x509_error));
    return 0;
}

/* ---- The producer ---- */

static void forget_trouble(struct event_kafka *kafka)
{
    kafka->trouble[0] = 0;
    atomic_store(&kafka->x509_error, 0);
}

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
    enum cq_rc rc = event_kafka_conf(&kafka->config, true, &conf, err);
    if (rc != CQ_OK)
        return rc;
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (kafka->config.tls)
        rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate);
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
    if (record->value_type.len)
        *content_r = (struct content){record->value, record->value_type, record->dataschema};
    else if (kafka->config.format == EVENT_KAFKA_PROTOBUF)
        *content_r = (struct content){record->protobuf, CQ_SLICE(EVENT_TYPE_PROTOBUF), record->protobuf_schema};
    else
        *content_r = (struct content){record->data, CQ_SLICE(EVENT_TYPE_JSON), record->dataschema};
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

/* To whom publishes, if he asked for that. */
static void hand_back_refused(struct event_kafka *kafka)
{
    struct event_sink *sink = &kafka->base;
    for (size_t i = 0; i < kafka->count; i++)
        if (kafka->flights[i].state == FLIGHT_REFUSED) {
            sink->refused(sink->ctx, kafka->flights[i].ticket, rd_kafka_err2str(kafka->flights[i].why));
            kafka->flights[i].state = FLIGHT_HANDED_BACK;
        }
}

static void make_dead_letter(struct event_kafka *kafka, struct flight *flight)
{
    const char *reason = rd_kafka_err2str(flight->why);
    cq_log_limited(1, CQ_ERROR, "kafka.dead_letter", CQ_F_STR("topic", flight->topic), CQ_F_STR("error", reason),
                   CQ_F_SLICE("event_id", flight->headers[EVENT_KAFKA_ID]), CQ_F_U64("size_bytes", flight->value.len));
    flight->headers[EVENT_KAFKA_DLQ_REASON] = cq_slice_sub(cq_slice_cstr(reason), 0, REASON_MAX);
    flight->headers[EVENT_KAFKA_DLQ_TOPIC] = cq_slice_cstr(flight->topic);
    flight->topic = topic_of(kafka, CQ_SLICE(EVENT_DLQ_STREAM));
}

/* The first time with its value: the other topic may take what its own did not. Refused there too, its id, type and
 * key still are in the headers. */
static void send_to_dead_letters(struct event_kafka *kafka)
{
    for (size_t i = 0; i < kafka->count; i++) {
        struct flight *flight = &kafka->flights[i];
        if (flight->state != FLIGHT_REFUSED)
            continue;
        if (!flight->headers[EVENT_KAFKA_DLQ_REASON].len)
            make_dead_letter(kafka, flight);
        else
            flight->value = CQ_SLICE(EVENT_KAFKA_NO_VALUE);
        send_flight(kafka, flight);
    }
    wait_for_reports(kafka);
}

static void settle_refused(struct event_kafka *kafka)
{
    if (any_in(kafka, FLIGHT_REFUSED))
        send_refused_alone(kafka);
    if (kafka->base.refused)
        hand_back_refused(kafka);
    for (int turn = 0; turn < DEAD_LETTER_TURNS && any_in(kafka, FLIGHT_REFUSED); turn++)
        send_to_dead_letters(kafka);
}

static bool is_settled(const struct flight *flight)
{
    return flight->state == FLIGHT_DONE || flight->state == FLIGHT_HANDED_BACK;
}

/* librdkafka waits for a topic that is missing as for one that is being made, and tells of a time-out at last. What the
 * brokers say of it now; _TRANSPORT: they do not answer. */
static rd_kafka_resp_err_t look_at_topic(struct event_kafka *kafka, const char *name)
{
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_resp_err_t why = RD_KAFKA_RESP_ERR__TRANSPORT;
    rd_kafka_topic_t *topic = kafka->producer ? rd_kafka_topic_new(kafka->producer, name, NULL) : NULL;
    if (!topic)
        return why;
    if (!rd_kafka_metadata(kafka->producer, 0, topic, &metadata, LOOK_MS)) {
        why = metadata->topic_cnt ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(topic);
    return why;
}

/* What a person can do about it; "" when the text says all. */
static const char *advice_of(rd_kafka_resp_err_t why)
{
    static const struct {
        rd_kafka_resp_err_t why;
        const char *advice;
    } rows[] = {
        {RD_KAFKA_RESP_ERR__AUTHENTICATION,
         "the brokers refuse the login: correct events.kafka.sasl.user or the password file, then SIGHUP"},
        {RD_KAFKA_RESP_ERR__SSL, "TLS with the brokers fails: look at events.kafka.tls.* and at the dates of the "
                                 "certificates, replace what is wrong, then SIGHUP"},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
         "the brokers do not let this user write there: give it Describe and Write on the topic"},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
         "the brokers do not let this user publish: give it Write on the topics, or IdempotentWrite on the cluster"},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, "too few copies are in sync: start the brokers that are down"},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
         "too few copies are in sync: start the brokers that are down"},
        {RD_KAFKA_RESP_ERR__TRANSPORT, "no broker answers: look at events.kafka.servers and at the brokers"},
        {RD_KAFKA_RESP_ERR__RESOLVE, "no broker answers: look at events.kafka.servers and at the brokers"},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "no broker answers: look at events.kafka.servers and at the brokers"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].why == why)
            return rows[i].advice;
    return "";
}

/* librdkafka before 2.6.1 (github.com/confluentinc/librdkafka/pull/4895) adds its nonce to SCRAM's last message twice:
 * brokers from 4.0 on refuse that as if the password were wrong. */
static bool scram_is_old(const struct event_kafka *kafka)
{
    bool scram = kafka->config.sasl == EVENT_KAFKA_SASL_SCRAM_512 || kafka->config.sasl == EVENT_KAFKA_SASL_SCRAM_256;
    return scram && rd_kafka_version() < EVENT_KAFKA_SCRAM_FIXED;
}

static const struct flight *first_failed(const struct event_kafka *kafka)
{
    for (size_t i = 0; i < kafka->count; i++)
        if (!is_settled(&kafka->flights[i]))
            return &kafka->flights[i];
    return NULL;
}

static enum cq_rc tell_failure(const struct flight *flight, rd_kafka_resp_err_t why, const char *text,
                               struct cq_err *err)
{
    const char *advice = advice_of(why);
    if (why == RD_KAFKA_RESP_ERR__AUTHENTICATION && scram_is_old(flight->kafka))
        advice =
            "the brokers refuse the login: correct events.kafka.sasl.user or the password file, then SIGHUP; if they "
            "are of Kafka 4, SCRAM needs librdkafka 2.6.1: set events.kafka.sasl.mechanism: PLAIN";
    if (why == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return CQ_FAIL(err, CQ_E_IO, "kafka: no topic %s: chasquictl events topics --create makes it", flight->topic);
    const char *certificate =
        why == RD_KAFKA_RESP_ERR__SSL ? certificate_text(atomic_load(&flight->kafka->x509_error)) : "";
    return CQ_FAIL(err, CQ_E_IO, "kafka: %s%s%s%s: %s", certificate, advice, advice[0] ? ": " : "", flight->topic,
                   text);
}

/* A time-out says nothing: what the brokers say of the topic, or what librdkafka complained of, says why. */
static enum cq_rc report_failure(struct event_kafka *kafka, struct cq_err *err)
{
    const struct flight *flight = first_failed(kafka);
    if (!flight)
        return CQ_OK;
    rd_kafka_resp_err_t why = look_at_topic(kafka, flight->topic); /* and librdkafka learns what was mended */
    if (advice_of(flight->why)[0])
        return tell_failure(flight, flight->why, rd_kafka_err2str(flight->why), err);
    if (why && why != RD_KAFKA_RESP_ERR__TRANSPORT)
        return tell_failure(flight, why, rd_kafka_err2str(why), err);
    if (kafka->trouble[0])
        return tell_failure(flight, kafka->trouble_code, kafka->trouble, err);
    why = why ? why : flight->why;
    return tell_failure(flight, why, rd_kafka_err2str(why ? why : RD_KAFKA_RESP_ERR__TIMED_OUT), err);
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
    settle_refused(kafka);
    enum cq_rc rc = report_failure(kafka, err);
    for (size_t i = 0; i < kafka->count; i++)
        if (kafka->flights[i].state == FLIGHT_DONE)
            sink->acknowledged(sink->ctx, kafka->flights[i].ticket);
    if (rc == CQ_OK)
        forget_trouble(kafka);
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
    forget_trouble(kafka);
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
