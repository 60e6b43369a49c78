#include "events/event_topics.h"

#include <stdio.h>

#include "events/event_kafka_private.h"

#define RETENTION_DAYS_DELIVERY 14
#define RETENTION_DAYS_AUTH 60
#define MS_PER_DAY UINT64_C(86400000)

/* How long consumers may look back, by stream (docs/events.md). */
static const unsigned retention_days[EVENT_TOPICS_MAX] = {
    [EVENT_INBOUND] = RETENTION_DAYS_DELIVERY, [EVENT_DELIVERY] = RETENTION_DAYS_DELIVERY,
    [EVENT_MAILBOX] = RETENTION_DAYS_DELIVERY, [EVENT_LIMITS] = RETENTION_DAYS_DELIVERY,
    [EVENT_AUTH] = RETENTION_DAYS_AUTH,        [EVENT_STREAM_COUNT] = RETENTION_DAYS_AUTH,
};

static enum cq_rc open_client(const struct event_kafka_config *config, rd_kafka_t **client_r, struct cq_err *err)
{
    char text[CQ_ERR_TEXT_SIZE];
    rd_kafka_conf_t *conf = NULL;
    enum cq_rc rc = event_kafka_conf(config, true, &conf, err);
    if (rc != CQ_OK)
        return rc;
    *client_r = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (*client_r)
        return CQ_OK;
    rd_kafka_conf_destroy(conf);
    return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka: %s", text);
}

static void name_topics(const struct event_kafka_config *config, struct event_topic *topics)
{
    for (size_t i = 0; i < EVENT_TOPICS_MAX; i++) {
        topics[i] = (struct event_topic){.retention_days = retention_days[i]};
        snprintf(topics[i].name, sizeof topics[i].name, "%s%s.v1", config->topic_prefix,
                 i < EVENT_STREAM_COUNT ? event_stream_names[i] : EVENT_DLQ_STREAM);
    }
}

/* ---- Looking ---- */

static void note_topic(struct event_topic *topics, const rd_kafka_metadata_topic_t *found)
{
    for (size_t i = 0; i < EVENT_TOPICS_MAX; i++)
        if (strcmp(topics[i].name, found->topic) == 0 && !found->err && found->partition_cnt > 0) {
            topics[i].partitions = (unsigned)found->partition_cnt;
            topics[i].replication = (unsigned)found->partitions[0].replica_cnt;
        }
}

static enum cq_rc look(rd_kafka_t *client, const struct event_kafka_config *config, struct event_topic *topics,
                       struct cq_err *err)
{
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_resp_err_t why = rd_kafka_metadata(client, 1, NULL, &metadata, (int)(config->timeout_us / 1000));
    if (why)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "kafka: %s; look at events.kafka.servers and events.kafka.tls",
                       rd_kafka_err2str(why));
    for (int i = 0; i < metadata->topic_cnt; i++)
        note_topic(topics, &metadata->topics[i]);
    rd_kafka_metadata_destroy(metadata);
    return CQ_OK;
}

/* ---- Creating ---- */

static enum cq_rc new_topic(const struct event_topic *topic, const struct event_topic_plan *plan,
                            rd_kafka_NewTopic_t **topic_r, struct cq_err *err)
{
    char text[CQ_ERR_TEXT_SIZE], retention[24], insync[12];
    *topic_r = rd_kafka_NewTopic_new(topic->name, (int)plan->partitions,
                                     plan->replication ? (int)plan->replication : -1, text, sizeof text);
    if (!*topic_r)
        return CQ_FAIL(err, CQ_E_INVALID, "%s: %s", topic->name, text);
    snprintf(retention, sizeof retention, "%llu", (unsigned long long)(topic->retention_days * MS_PER_DAY));
    snprintf(insync, sizeof insync, "%u", plan->min_insync);
    rd_kafka_NewTopic_set_config(*topic_r, "cleanup.policy", "delete");
    rd_kafka_NewTopic_set_config(*topic_r, "retention.ms", retention);
    if (plan->min_insync)
        rd_kafka_NewTopic_set_config(*topic_r, "min.insync.replicas", insync);
    return CQ_OK;
}

static enum cq_rc read_results(rd_kafka_event_t *event, struct event_topic *topics, struct cq_err *err)
{
    size_t count = 0;
    if (rd_kafka_event_error(event))
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "kafka: %s", rd_kafka_event_error_string(event));
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t why = rd_kafka_topic_result_error(results[i]);
        const char *name = rd_kafka_topic_result_name(results[i]);
        if (why && why != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            const char *text = rd_kafka_topic_result_error_string(results[i]);
            return CQ_FAIL(err, CQ_E_DENIED, "kafka: %s: %s", name, text ? text : rd_kafka_err2str(why));
        }
        for (size_t t = 0; t < EVENT_TOPICS_MAX; t++)
            if (!why && strcmp(topics[t].name, name) == 0)
                topics[t].created = true;
    }
    return CQ_OK;
}

static enum cq_rc create(rd_kafka_t *client, const struct event_kafka_config *config,
                         const struct event_topic_plan *plan, struct event_topic *topics, struct cq_err *err)
{
    rd_kafka_NewTopic_t *wanted[EVENT_TOPICS_MAX];
    size_t count = 0;
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < EVENT_TOPICS_MAX && rc == CQ_OK; i++)
        if (!topics[i].partitions && (rc = new_topic(&topics[i], plan, &wanted[count], err)) == CQ_OK)
            count++;
    if (rc == CQ_OK && count) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_CreateTopics(client, wanted, count, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, (int)(config->timeout_us / 1000));
        rc = event ? read_results(event, topics, err) : CQ_FAIL(err, CQ_E_UNAVAILABLE, "kafka: no answer");
        if (event)
            rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(queue);
    }
    rd_kafka_NewTopic_destroy_array(wanted, count);
    return rc;
}

/* What was created is known to all brokers a moment later. */
static enum cq_rc look_until_there(rd_kafka_t *client, const struct event_kafka_config *config,
                                   struct event_topic *topics, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    bool missing = true;
    for (int tries = 0; missing && rc == CQ_OK && tries < 50; tries++) {
        missing = false;
        rc = look(client, config, topics, err);
        for (size_t i = 0; i < EVENT_TOPICS_MAX; i++)
            missing = missing || !topics[i].partitions;
        if (missing)
            rd_kafka_poll(client, 100);
    }
    return rc;
}

enum cq_rc event_topics(const struct event_kafka_config *config, const struct event_topic_plan *plan,
                        struct event_topic topics_r[static EVENT_TOPICS_MAX], struct cq_err *err)
{
    rd_kafka_t *client = NULL;
    name_topics(config, topics_r);
    if (!config->servers.count)
        return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka.servers is not set on this process: events do not go to Kafka");
    enum cq_rc rc = open_client(config, &client, err);
    if (rc != CQ_OK)
        return rc;
    rc = look(client, config, topics_r, err);
    if (rc == CQ_OK && plan) {
        rc = create(client, config, plan, topics_r, err);
        if (rc == CQ_OK)
            rc = look_until_there(client, config, topics_r, err);
    }
    rd_kafka_destroy(client);
    return rc;
}
