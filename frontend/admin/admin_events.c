/* events topics. */
#include "admin/admin_request.h"
#include "events/event_topics.h"
#include "io/io_pool.h"

#define PARTITIONS_DEFAULT 12
#define PARTITIONS_MAX 10000
#define REPLICATION_MAX 100

struct topics_job {
    const struct event_kafka_config *config;
    const struct event_topic_plan *plan; /* NULL: only look */
    struct event_topic topics[EVENT_TOPICS_MAX];
    enum cq_rc rc;
    struct cq_err err;
};

static void run_job(void *arg)
{
    struct topics_job *job = arg;
    job->rc = event_topics(job->config, job->plan, job->topics, &job->err);
}

static enum cq_rc number(struct admin_request *r, const char *field, unsigned fallback, unsigned max, unsigned *value_r)
{
    uint64_t value = fallback;
    enum cq_rc rc = admin_has(r, field) ? admin_parse_number(r, field, &value) : CQ_OK;
    if (rc == CQ_OK && value > max)
        rc = CQ_FAIL(&r->err, CQ_E_INVALID, "%s is at most %u", field, max);
    *value_r = (unsigned)value;
    return rc;
}

static enum cq_rc read_plan(struct admin_request *r, struct event_topic_plan *plan_r)
{
    enum cq_rc rc = number(r, "partitions", PARTITIONS_DEFAULT, PARTITIONS_MAX, &plan_r->partitions);
    if (rc == CQ_OK && !plan_r->partitions)
        rc = CQ_FAIL(&r->err, CQ_E_INVALID, "partitions is at least 1");
    if (rc == CQ_OK)
        rc = number(r, "replication", 0, REPLICATION_MAX, &plan_r->replication);
    return rc == CQ_OK ? number(r, "min-insync", 0, REPLICATION_MAX, &plan_r->min_insync) : rc;
}

static const char *state_of(const struct event_topic *topic)
{
    if (topic->created)
        return "created";
    return topic->partitions ? "there" : "missing";
}

enum cq_rc admin_events_topics(struct admin_request *r)
{
    struct event_topic_plan plan;
    struct topics_job *job = cq_pool_new_of(r->pool, struct topics_job); /* more than a fiber's stack should hold */
    enum cq_rc rc = read_plan(r, &plan);
    if (rc != CQ_OK)
        return rc;
    job->config = r->service->kafka;
    job->plan = admin_has(r, "create") ? &plan : NULL;
    rc = io_pool_run(r->service->pool, run_job, job, IO_NO_DEADLINE);
    if (rc != CQ_OK)
        return CQ_FAIL(&r->err, rc, "events topics: %s", cq_rc_text(rc));
    if (job->rc != CQ_OK) {
        r->err = job->err;
        return job->rc;
    }
    for (size_t i = 0; i < EVENT_TOPICS_MAX && rc == CQ_OK; i++) {
        const struct event_topic *topic = &job->topics[i];
        rc = ADMIN_ROW(r, topic->name, state_of(topic), admin_number(r, topic->partitions),
                       admin_number(r, topic->replication), admin_number(r, topic->retention_days));
    }
    return rc;
}
