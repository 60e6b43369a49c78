#include "admin/admin_replay.h"

#include "admin/admin_service.h"
#include "base/cq_log.h"
#include "events/event_replay.h"

#include <proto/admin.pb-c.h>

#define POOL_SIZE (64u << 10)

struct replay_job {
    struct event_replay replay;
    bool dead_letters;
    struct cq_slice lines;
    enum cq_rc rc;
    struct cq_err err;
};

static void run_job(void *arg)
{
    struct replay_job *job = arg;
    job->rc = job->dead_letters ? event_replay_dead_letters(&job->replay, &job->err)
                                : event_replay_lines(&job->replay, job->lines, &job->err);
}

static enum cq_rc read_job(const Chasqui__Admin__Replay *message, struct cq_slice lines, struct replay_job *job)
{
    struct event_replay *replay = &job->replay;
    replay->dry_run = message->dry_run;
    replay->events_max = message->events_max;
    replay->filter = (struct event_replay_filter){
        .since = cq_slice_cstr(message->since),
        .until = cq_slice_cstr(message->until),
        .type = cq_slice_cstr(message->type),
        .topic = cq_slice_cstr(message->topic),
        .account = cq_slice_cstr(message->account),
    };
    job->dead_letters = message->dead_letters;
    job->lines = lines;
    if (message->n_positions > EVENT_REPLAY_PARTITIONS_MAX)
        return CQ_FAIL(&job->err, CQ_E_LIMIT, "more than %d partitions", EVENT_REPLAY_PARTITIONS_MAX);
    replay->position_count = message->n_positions;
    replay->positions = cq_pool_calloc(replay->pool, message->n_positions + 1, sizeof *replay->positions);
    for (size_t i = 0; i < message->n_positions; i++)
        replay->positions[i] = (struct event_replay_position){
            .partition = message->positions[i]->partition,
            .next = message->positions[i]->next,
            .end = message->positions[i]->end,
        };
    const char *wrong = event_replay_filter_wrong(&replay->filter);
    return wrong[0] ? CQ_FAIL(&job->err, CQ_E_INVALID, "%s", wrong) : CQ_OK;
}

/* ---- The answer ---- */

static char *text_of(struct cq_pool *pool, struct cq_slice text)
{
    return cq_pool_cstr(pool, text);
}

static void put_rows(const struct event_replay *replay, Chasqui__Admin__Replayed *reply)
{
    reply->n_rows = replay->row_count;
    reply->rows = cq_pool_calloc(replay->pool, replay->row_count + 1, sizeof *reply->rows);
    for (size_t i = 0; i < replay->row_count; i++) {
        const struct event_replay_row *from = &replay->rows[i];
        Chasqui__Admin__ReplayRow *row = cq_pool_alloc(replay->pool, sizeof *row);
        chasqui__admin__replay_row__init(row);
        row->topic = text_of(replay->pool, from->topic);
        row->type = text_of(replay->pool, from->type);
        row->result = (char *)(uintptr_t)event_replay_result_names[from->result];
        row->events = from->events;
        row->first_time = text_of(replay->pool, from->first_time);
        row->last_time = text_of(replay->pool, from->last_time);
        reply->rows[i] = row;
    }
}

static void put_positions(const struct event_replay *replay, Chasqui__Admin__Replayed *reply)
{
    reply->n_positions = replay->position_count;
    reply->positions = cq_pool_calloc(replay->pool, replay->position_count + 1, sizeof *reply->positions);
    for (size_t i = 0; i < replay->position_count; i++) {
        Chasqui__Admin__ReplayPosition *at = cq_pool_alloc(replay->pool, sizeof *at);
        chasqui__admin__replay_position__init(at);
        at->partition = replay->positions[i].partition;
        at->next = replay->positions[i].next;
        at->end = replay->positions[i].end;
        reply->positions[i] = at;
    }
}

static void answer(struct rpc_request *rpc, const struct replay_job *job, enum cq_rc rc)
{
    const struct event_replay *replay = &job->replay;
    Chasqui__Admin__Replayed reply = CHASQUI__ADMIN__REPLAYED__INIT;
    put_rows(replay, &reply);
    put_positions(replay, &reply);
    reply.done = replay->done;
    if (replay->refused_why)
        reply.refused_why = (char *)(uintptr_t)replay->refused_why;
    if (rc != CQ_OK)
        reply.text = (char *)(uintptr_t)(job->err.text[0] ? job->err.text : cq_rc_text(rc));
    size_t len = chasqui__admin__replayed__get_packed_size(&reply);
    uint8_t *data = cq_pool_alloc(replay->pool, len + 1);
    chasqui__admin__replayed__pack(&reply, data);
    rpc_reply(rpc, &(struct rpc_answer){.rc = rc, .message = cq_slice_of(data, len)});
}

static uint64_t events_sent(const struct event_replay *replay)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < replay->row_count; i++)
        if (replay->rows[i].result == EVENT_REPLAY_SENT)
            sum += replay->rows[i].events;
    return sum;
}

void admin_on_replay(struct rpc_request *rpc, void *ctx)
{
    const struct admin_service *service = ctx;
    struct cq_slice bytes = rpc_request_message(rpc);
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct replay_job *job = cq_pool_new_of(pool, struct replay_job);
    job->replay = (struct event_replay){.config = service->kafka, .pool = pool};
    Chasqui__Admin__Replay *message = chasqui__admin__replay__unpack(NULL, bytes.len, bytes.data);
    enum cq_rc rc = message ? read_job(message, rpc_request_raw(rpc), job)
                            : CQ_FAIL(&job->err, CQ_E_PROTO, "the request does not decode");
    if (rc == CQ_OK)
        rc = io_pool_run(service->pool, run_job, job, IO_NO_DEADLINE);
    if (rc == CQ_OK)
        rc = job->rc;
    cq_log(CQ_INFO, "admin.replay", CQ_F_STR("remote", rpc_peer_address(rpc_request_peer(rpc))),
           CQ_F_BOOL("dry_run", job->replay.dry_run), CQ_F_U64("sent", events_sent(&job->replay)), CQ_F_RC(rc),
           CQ_F_ERR(&job->err));
    answer(rpc, job, rc);
    if (message)
        chasqui__admin__replay__free_unpacked(message, NULL);
    cq_pool_free(&pool);
}
