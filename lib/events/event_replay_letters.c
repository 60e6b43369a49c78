/* Dead letters read from the brokers. Their topic is read from its beginning to where it ended when the first piece
 * began: what is refused meanwhile belongs to a later replay. */
#include <stdio.h>

#include "base/cq_time.h"
#include "events/event_kafka_private.h"
#include "events/event_replay_private.h"

#define WAIT_MS 100
#define PIECE_US (UINT64_C(5) * CQ_US_PER_S) /* filters may pass over many */

struct reader {
    struct event_replay *replay;
    rd_kafka_t *consumer;
    char topic[EVENT_ATTRIBUTE_MAX];
    struct event_replay_batch batch;
    size_t events_max;
    char trouble[CQ_ERR_TEXT_SIZE];
};

static int timeout_ms(const struct reader *r)
{
    return (int)(r->replay->config->timeout_us / 1000);
}

static void on_error(rd_kafka_t *consumer, int code, const char *reason, void *opaque)
{
    (void)consumer;
    (void)code;
    struct reader *r = opaque;
    snprintf(r->trouble, sizeof r->trouble, "%s", reason);
}

static enum cq_rc unavailable(const struct reader *r, rd_kafka_resp_err_t why, struct cq_err *err)
{
    return CQ_FAIL(err, CQ_E_UNAVAILABLE, "kafka: %s: %s%s%s", r->topic, rd_kafka_err2str(why),
                   r->trouble[0] ? "; " : "", r->trouble);
}

static enum cq_rc open_consumer(struct reader *r, struct cq_err *err)
{
    static const struct {
        const char *name, *value;
    } settings[] = {{"group.id", "chasqui-replay"},        {"enable.auto.commit", "false"},
                    {"enable.auto.offset.store", "false"}, {"enable.partition.eof", "true"},
                    {"auto.offset.reset", "earliest"},     {"check.crcs", "true"}};
    char text[CQ_ERR_TEXT_SIZE];
    rd_kafka_conf_t *conf = NULL;
    enum cq_rc rc = event_kafka_conf(r->replay->config, false, &conf, err);
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        rd_kafka_conf_set(conf, settings[i].name, settings[i].value, text, sizeof text);
    rd_kafka_conf_set_opaque(conf, r);
    rd_kafka_conf_set_error_cb(conf, on_error);
    r->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (r->consumer)
        return CQ_OK;
    rd_kafka_conf_destroy(conf);
    return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka: %s", text);
}

/* ---- Where to read ---- */

static enum cq_rc count_partitions(struct reader *r, size_t *count_r, struct cq_err *err)
{
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(r->consumer, r->topic, NULL);
    rd_kafka_resp_err_t why = rd_kafka_metadata(r->consumer, 0, topic, &metadata, timeout_ms(r));
    rd_kafka_topic_destroy(topic);
    if (why)
        return unavailable(r, why, err);
    why = metadata->topic_cnt ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    *count_r = !why && metadata->topics[0].partition_cnt > 0 ? (size_t)metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    if (why)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "kafka: %s: %s; see chasquictl events topics", r->topic,
                       rd_kafka_err2str(why));
    return *count_r <= EVENT_REPLAY_PARTITIONS_MAX
               ? CQ_OK
               : CQ_FAIL(err, CQ_E_LIMIT, "kafka: %s has %zu partitions", r->topic, *count_r);
}

static enum cq_rc find_beginning(struct reader *r, struct cq_err *err)
{
    struct event_replay *replay = r->replay;
    size_t count = 0;
    enum cq_rc rc = count_partitions(r, &count, err);
    if (rc != CQ_OK)
        return rc;
    replay->positions = cq_pool_calloc(replay->pool, count, sizeof *replay->positions);
    replay->position_count = count;
    for (size_t i = 0; i < count; i++) {
        struct event_replay_position *at = &replay->positions[i];
        at->partition = (int32_t)i;
        rd_kafka_resp_err_t why =
            rd_kafka_query_watermark_offsets(r->consumer, r->topic, at->partition, &at->next, &at->end, timeout_ms(r));
        if (why)
            return unavailable(r, why, err);
    }
    return CQ_OK;
}

static bool all_read(const struct event_replay *replay)
{
    for (size_t i = 0; i < replay->position_count; i++)
        if (replay->positions[i].next < replay->positions[i].end)
            return false;
    return true;
}

static enum cq_rc assign(struct reader *r, struct cq_err *err)
{
    const struct event_replay *replay = r->replay;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)replay->position_count);
    for (size_t i = 0; i < replay->position_count; i++)
        if (replay->positions[i].next < replay->positions[i].end)
            rd_kafka_topic_partition_list_add(list, r->topic, replay->positions[i].partition)->offset =
                replay->positions[i].next;
    rd_kafka_resp_err_t why = rd_kafka_assign(r->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return why ? unavailable(r, why, err) : CQ_OK;
}

static struct event_replay_position *position_of(struct event_replay *replay, int32_t partition)
{
    for (size_t i = 0; i < replay->position_count; i++)
        if (replay->positions[i].partition == partition)
            return &replay->positions[i];
    return NULL;
}

/* ---- One record ---- */

static struct cq_slice header_of(struct reader *r, const rd_kafka_headers_t *headers, enum event_kafka_header which)
{
    const void *value = NULL;
    size_t len = 0;
    if (!headers || rd_kafka_header_get_last(headers, event_kafka_header_names[which], &value, &len) || !value ||
        len > EVENT_ATTRIBUTE_MAX)
        return CQ_SLICE_NONE;
    return cq_pool_slice(r->replay->pool, cq_slice_of(value, len));
}

/* "prod.mail.delivery.v1" */
static bool stream_of(const struct reader *r, struct cq_slice topic, enum event_stream *stream_r)
{
    const struct cq_slice prefix = cq_slice_cstr(r->replay->config->topic_prefix), version = CQ_SLICE(".v1");
    if (!cq_slice_starts(topic, prefix) || topic.len < prefix.len + version.len ||
        !cq_slice_eq(cq_slice_skip(topic, topic.len - version.len), version))
        return false;
    return event_stream_find(cq_slice_sub(topic, prefix.len, topic.len - prefix.len - version.len), stream_r);
}

static void fill_record(struct reader *r, const rd_kafka_message_t *message, const rd_kafka_headers_t *headers,
                        struct event_record *record)
{
    *record = (struct event_record){
        .type = header_of(r, headers, EVENT_KAFKA_TYPE),
        .key = cq_pool_slice(r->replay->pool, cq_slice_of(message->key, message->key_len)),
        .id = header_of(r, headers, EVENT_KAFKA_ID),
        .source = header_of(r, headers, EVENT_KAFKA_SOURCE),
        .time = header_of(r, headers, EVENT_KAFKA_TIME),
        .dataschema = header_of(r, headers, EVENT_KAFKA_DATASCHEMA),
        .sequence = header_of(r, headers, EVENT_KAFKA_SEQUENCE),
        .value = cq_pool_slice(r->replay->pool, cq_slice_of(message->payload, message->len)),
        .value_type = header_of(r, headers, EVENT_KAFKA_CONTENT_TYPE),
    };
}

static enum event_replay_result judge(struct reader *r, struct cq_slice topic, struct event_read *read)
{
    struct event_record *record = &read->record;
    if (!record->id.len || !record->type.len || !event_time_ok(record->time))
        return EVENT_REPLAY_FOREIGN;
    if (!stream_of(r, topic, &read->stream))
        return EVENT_REPLAY_FOREIGN;
    record->stream = cq_slice_cstr(event_stream_names[read->stream]);
    if (cq_slice_eq(record->value, CQ_SLICE(EVENT_KAFKA_NO_VALUE)))
        return EVENT_REPLAY_NO_VALUE;
    return event_value_read(r->replay->pool, read) ? EVENT_REPLAY_FOUND : EVENT_REPLAY_BROKEN;
}

static void take(struct reader *r, const rd_kafka_message_t *message)
{
    struct event_read read = {0};
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_message_headers(message, &headers);
    fill_record(r, message, headers, &read.record);
    enum event_replay_result result = judge(r, header_of(r, headers, EVENT_KAFKA_DLQ_TOPIC), &read);
    if (event_replay_wants(r->replay, &read))
        event_replay_add(&r->batch, &read, result);
}

/* ---- A piece ---- */

static bool has_room(const struct reader *r)
{
    return r->batch.count < r->events_max && r->batch.bytes < EVENT_REPLAY_BYTES_MAX;
}

static rd_kafka_resp_err_t note(struct reader *r, const rd_kafka_message_t *message)
{
    struct event_replay_position *at = position_of(r->replay, message->partition);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (at && at->next < message->offset)
            at->next = message->offset;
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (message->err || !at)
        return message->err;
    if (message->offset < at->end)
        take(r, message);
    at->next = message->offset + 1;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* A while; or, when nothing comes at all, until the brokers have had their time. */
static enum cq_rc read_piece(struct reader *r, struct cq_err *err)
{
    uint64_t began = cq_time_mono_us(), most = r->replay->config->timeout_us;
    rd_kafka_resp_err_t why = RD_KAFKA_RESP_ERR_NO_ERROR;
    bool seen = false;
    while (!why && has_room(r) && !all_read(r->replay) && cq_time_mono_us() - began < (seen ? PIECE_US : most)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(r->consumer, WAIT_MS);
        if (!message)
            continue;
        seen = true;
        why = note(r, message);
        rd_kafka_message_destroy(message);
    }
    if (!why && !seen)
        why = RD_KAFKA_RESP_ERR__TIMED_OUT;
    return why ? unavailable(r, why, err) : CQ_OK;
}

static enum cq_rc run(struct reader *r, struct cq_err *err)
{
    enum cq_rc rc = r->replay->position_count ? CQ_OK : find_beginning(r, err);
    if (rc == CQ_OK && !all_read(r->replay)) {
        rc = assign(r, err);
        if (rc == CQ_OK)
            rc = read_piece(r, err);
    }
    r->replay->done = all_read(r->replay);
    return rc == CQ_OK ? event_replay_end(&r->batch, err) : rc;
}

enum cq_rc event_replay_dead_letters(struct event_replay *replay, struct cq_err *err)
{
    struct reader r = {.replay = replay, .events_max = replay->events_max};
    if (!r.events_max || r.events_max > EVENT_REPLAY_EVENTS_MAX)
        r.events_max = EVENT_REPLAY_EVENTS_MAX;
    event_replay_begin(&r.batch, replay);
    if (!replay->config->servers.count)
        return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka.servers is not set on this process: events do not go to Kafka");
    snprintf(r.topic, sizeof r.topic, "%s%s.v1", replay->config->topic_prefix, EVENT_DLQ_STREAM);
    enum cq_rc rc = open_consumer(&r, err);
    if (rc != CQ_OK)
        return rc;
    rc = run(&r, err);
    rd_kafka_consumer_close(r.consumer);
    rd_kafka_destroy(r.consumer);
    return rc;
}
