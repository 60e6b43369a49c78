#include "events/event_replay_private.h"

#include <stdio.h>

const char *const event_replay_result_names[EVENT_REPLAY_RESULT_COUNT] = {
#define EVENT_REPLAY_NAME(result, text) [result] = text,
    EVENT_REPLAY_RESULTS(EVENT_REPLAY_NAME)
#undef EVENT_REPLAY_NAME
};

/* ---- Choosing ---- */

const char *event_replay_filter_wrong(const struct event_replay_filter *filter)
{
    const struct cq_slice texts[] = {filter->type, filter->topic, filter->account};
    if (filter->since.len && !event_time_ok(filter->since))
        return "since is a time such as 2026-11-22T08:00:00.000000Z";
    if (filter->until.len && !event_time_ok(filter->until))
        return "until is a time such as 2026-11-22T08:00:00.000000Z";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].len > EVENT_REPLAY_TEXT_MAX)
            return "type, topic and account are shorter than that";
    return "";
}

/* Is `text` the whole `full`, or between `before` and ".v1"? */
static bool names(struct cq_slice text, struct cq_slice full, bool behind_dot)
{
    const struct cq_slice version = CQ_SLICE(".v1");
    if (cq_slice_eq(text, full))
        return true;
    if (full.len < text.len + version.len || !cq_slice_eq(cq_slice_skip(full, full.len - version.len), version))
        return false;
    size_t from = full.len - version.len - text.len;
    return cq_slice_eq(cq_slice_sub(full, from, text.len), text) &&
           (!behind_dot || from == 0 || full.data[from - 1] == '.');
}

static bool is_account(struct cq_slice account, const struct event_read *read)
{
    return cq_slice_caseeq(account, read->account_id) || cq_slice_caseeq(account, read->address);
}

/* Is it prefix, stream, ".v1"? */
static bool is_topic_of(struct cq_slice topic, struct cq_slice prefix, struct cq_slice stream)
{
    return cq_slice_starts(topic, prefix) && cq_slice_starts(cq_slice_skip(topic, prefix.len), stream) &&
           cq_slice_eq(cq_slice_skip(topic, prefix.len + stream.len), CQ_SLICE(".v1"));
}

bool event_replay_wants(const struct event_replay *replay, const struct event_read *read)
{
    const struct event_replay_filter *f = &replay->filter;
    const struct event_record *record = &read->record;
    if (f->since.len && cq_slice_cmp(record->time, f->since) < 0)
        return false;
    if (f->until.len && cq_slice_cmp(record->time, f->until) >= 0)
        return false;
    if (f->type.len && !names(f->type, record->type, true))
        return false;
    if (f->topic.len && !cq_slice_eq(f->topic, record->stream) &&
        !is_topic_of(f->topic, cq_slice_cstr(replay->config->topic_prefix), record->stream))
        return false;
    return !f->account.len || is_account(f->account, read);
}

/* ---- Counting ---- */

static bool same_row(const struct event_replay_row *row, const struct event_replay_row *other)
{
    return row->result == other->result && cq_slice_eq(row->topic, other->topic) && cq_slice_eq(row->type, other->type);
}

static void count_item(struct event_replay *replay, const struct event_replay_item *item)
{
    const struct event_record *record = &item->read.record;
    const char *topic =
        cq_pool_printf(replay->pool, "%s%.*s.v1", replay->config->topic_prefix, CQ_SLICE_ARG(record->stream));
    struct event_replay_row wanted = {.topic = record->stream.len ? cq_slice_cstr(topic) : CQ_SLICE_NONE,
                                      .type = record->type,
                                      .result = item->result,
                                      .first_time = record->time,
                                      .last_time = record->time};
    size_t i = 0;
    while (i < replay->row_count && !same_row(&replay->rows[i], &wanted))
        i++;
    if (i == EVENT_REPLAY_ROWS_MAX)
        i--; /* types are ours: there are not so many */
    struct event_replay_row *row = &replay->rows[i];
    if (i == replay->row_count) {
        replay->row_count++;
        *row = wanted;
    }
    row->events++;
    if (cq_slice_cmp(record->time, row->first_time) < 0)
        row->first_time = record->time;
    if (cq_slice_cmp(record->time, row->last_time) > 0)
        row->last_time = record->time;
}

/* ---- A batch ---- */

void event_replay_begin(struct event_replay_batch *batch, struct event_replay *replay)
{
    *batch = (struct event_replay_batch){.replay = replay};
    batch->items = cq_pool_calloc(replay->pool, EVENT_REPLAY_EVENTS_MAX, sizeof *batch->items);
    replay->rows = cq_pool_calloc(replay->pool, EVENT_REPLAY_ROWS_MAX, sizeof *replay->rows);
    replay->row_count = 0;
    replay->refused_why = NULL;
}

void event_replay_add(struct event_replay_batch *batch, const struct event_read *read, enum event_replay_result result)
{
    batch->items[batch->count++] = (struct event_replay_item){*read, result};
    batch->bytes += read->record.value.len;
}

static void on_acknowledged(void *ctx, uint64_t ticket)
{
    ((struct event_replay_batch *)ctx)->items[ticket].result = EVENT_REPLAY_SENT;
}

static void on_refused(void *ctx, uint64_t ticket, const char *why)
{
    struct event_replay_batch *batch = ctx;
    batch->items[ticket].result = EVENT_REPLAY_REFUSED;
    batch->replay->refused_why = cq_pool_cstr(batch->replay->pool, cq_slice_cstr(why));
}

static enum cq_rc send_batch(struct event_replay_batch *batch, struct cq_err *err)
{
    struct event_sink *sink = NULL;
    enum cq_rc rc = event_kafka_open(batch->replay->config, &sink, err);
    if (rc != CQ_OK)
        return rc;
    sink->acknowledged = on_acknowledged;
    sink->refused = on_refused;
    sink->ctx = batch;
    for (size_t i = 0; i < batch->count && rc == CQ_OK; i++) {
        struct event_record *record = &batch->items[i].read.record;
        record->ticket = i;
        if (batch->items[i].result == EVENT_REPLAY_FOUND)
            rc = event_sink_publish(sink, record, err);
    }
    enum cq_rc polled = event_sink_poll(sink, rc == CQ_OK ? err : NULL);
    event_sink_close(&sink);
    return rc == CQ_OK ? polled : rc;
}

enum cq_rc event_replay_end(struct event_replay_batch *batch, struct cq_err *err)
{
    struct event_replay *replay = batch->replay;
    bool any = false;
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < batch->count; i++)
        any = any || batch->items[i].result == EVENT_REPLAY_FOUND;
    if (any && !replay->dry_run)
        rc = send_batch(batch, err);
    for (size_t i = 0; i < batch->count; i++)
        if (replay->dry_run || batch->items[i].result != EVENT_REPLAY_FOUND) /* else it was not confirmed */
            count_item(replay, &batch->items[i]);
    return rc;
}

/* ---- Lines ---- */

enum cq_rc event_replay_lines(struct event_replay *replay, struct cq_slice lines, struct cq_err *err)
{
    struct event_replay_batch batch;
    event_replay_begin(&batch, replay);
    if (!replay->config->servers.count)
        return CQ_FAIL(err, CQ_E_CONFIG,
                       "events.kafka.servers is not set on this process: there is nowhere to send to");
    while (lines.len) {
        struct event_read read;
        struct cq_slice line = cq_slice_trim(cq_slice_cut(&lines, '\n'));
        if (!line.len)
            continue;
        if (batch.count == EVENT_REPLAY_EVENTS_MAX)
            return CQ_FAIL(err, CQ_E_LIMIT, "more than %d events at once", EVENT_REPLAY_EVENTS_MAX);
        if (event_line_read(line, replay->pool, &read, NULL) != CQ_OK)
            event_replay_add(&batch, &(struct event_read){0}, EVENT_REPLAY_BROKEN);
        else if (event_replay_wants(replay, &read))
            event_replay_add(&batch, &read, EVENT_REPLAY_FOUND);
    }
    replay->done = true;
    return event_replay_end(&batch, err);
}
