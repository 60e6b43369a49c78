#include "node/service_reseed.h"

#include "base/cq_log.h"
#include "node/call_codec.h"
#include "node/fiber_wait.h"
#include "node/member_step.h"
#include "node/node.h"
#include "node/scrubber.h"
#include "node/reseed_sessions.h"
#include "node/reseeder.h"
#include "node/topology_keeper.h"
#include "proto/reseed.pb-c.h"
#include "reseed/reseed_source.h"

#define MESSAGE_MAX (2u << 20) /* names of what is asked for */
#define POOL_SIZE 4096

/* One question, on the handler's fiber; the reading is done by a thread of the read pool. */
struct question {
    struct node *node;
    struct rpc_request *request;
    struct cq_pool *pool;
    struct raft_node asker;
    uint16_t method;
    Chasqui__Reseed__Read *read;
    struct group *group;
    struct reseed_session *session;
    struct reseed_source source;
    struct reseed_read at;
    struct cq_buf page;
    size_t taken;
    enum cq_rc rc;
    struct cq_err err;
};

static bool asker_of(struct node *node, struct rpc_request *request, struct raft_node *asker_r)
{
    const struct rpc_hello *hello = rpc_peer_hello(rpc_request_peer(request));
    memcpy(asker_r->uuid, hello->node, sizeof asker_r->uuid);
    return hello->has_node && topology_keeper_admits(node->keeper, hello, NULL) == CQ_OK;
}

/* Only a replica that leads and that nothing is wrong with gives copies of itself. */
static enum cq_rc find_group(struct node *node, uint32_t id, struct group **group_r, struct cq_err *err)
{
    struct group *group = groups_find(&node->groups, id);
    if (!group)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "no replica of group %u is here", id);
    if (atomic_load(&group->failed))
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "the replica of group %u here has stopped", id);
    if (!group_leads(group))
        return CQ_FAIL(err, CQ_E_NOT_LEADER, "group %u is not led from here", id);
    *group_r = group;
    return CQ_OK;
}

static void answer(struct question *q, enum cq_rc rc)
{
    Chasqui__Reseed__Page page = CHASQUI__RESEED__PAGE__INIT;
    const struct cq_slice raw = rc == CQ_OK ? cq_buf_slice(&q->page) : CQ_SLICE_NONE;
    page.cursor = (ProtobufCBinaryData){.len = q->at.cursor.len, .data = q->at.cursor.at};
    page.done = q->at.done;
    page.taken = (uint32_t)q->taken;
    if (rc != CQ_OK)
        page.text = q->err.text;
    rpc_reply(q->request, &(struct rpc_answer){
                              .rc = rc, .message = message_pack(&page.base, q->pool), .raw = &raw, .raw_count = 1});
}

/* ---- Pages ---- */

static void read_page(void *arg)
{
    struct question *q = arg;
    switch (q->method) {
    case CHASQUI__RESEED__METHOD__CHUNKS:
        q->rc = reseed_read_chunks(&q->source, q->read->hashes, &q->at, &q->page, &q->err);
        break;
    case CHASQUI__RESEED__METHOD__SUMMARIES:
        q->rc = reseed_read_summaries(&q->source, &q->at, &q->page, &q->err);
        break;
    case CHASQUI__RESEED__METHOD__STATE:
        q->rc = reseed_read_state(&q->source, &q->at, &q->page, &q->err);
        break;
    default:
        q->rc = reseed_read_named(&q->source, cq_slice_of(q->read->names.data, q->read->names.len), &q->at, &q->page,
                                  &q->taken, &q->err);
    }
}

/* Any replica: of a chunk that is right nothing else matters. */
static enum cq_rc find_any(struct question *q, uint32_t id)
{
    q->group = groups_find(&q->node->groups, id);
    return q->group && q->group->record.generation
               ? CQ_OK
               : CQ_FAIL(&q->err, CQ_E_NOT_FOUND, "no replica of group %u is here", id);
}

static enum cq_rc prepare(struct question *q)
{
    const Chasqui__Reseed__Read *read = q->read;
    enum cq_rc rc = q->method == CHASQUI__RESEED__METHOD__PICK ? find_any(q, read->group)
                                                               : find_group(q->node, read->group, &q->group, &q->err);
    if (rc == CQ_OK)
        rc = reseed_cursor_set(&q->at.cursor, cq_slice_of(read->cursor.data, read->cursor.len), &q->err);
    if (rc != CQ_OK)
        return rc;
    q->at.bytes_max = read->bytes && read->bytes < RESEED_PAGE_BYTES ? read->bytes : RESEED_PAGE_BYTES;
    q->source = (struct reseed_source){.store = q->node->dir.store,
                                       .group = read->group,
                                       .generation = q->group->record.generation,
                                       .incarnation = q->group->record.incarnation};
    if (read->session || q->method == CHASQUI__RESEED__METHOD__STATE) {
        q->session = reseed_sessions_use(q->node->sessions, read->session, read->group, &q->asker);
        if (!q->session)
            return CQ_FAIL(&q->err, CQ_E_BEHIND, "the copy's time is over");
        q->source.snapshot = q->session->snapshot;
        q->source.generation = q->session->generation;
    }
    return CQ_OK;
}

static enum cq_rc run_page(struct question *q)
{
    enum cq_rc rc = prepare(q);
    if (rc == CQ_OK)
        rc = io_pool_run(q->node->read_pool, read_page, q, rpc_request_deadline_us(q->request));
    if (rc == CQ_OK)
        rc = q->rc;
    if (q->session)
        reseed_sessions_unuse(q->node->sessions, q->session);
    if (rc == CQ_E_CORRUPT || (rc == CQ_OK && q->at.damaged)) { /* of the source itself */
        cq_log(CQ_ERROR, "reseed.source_damaged", CQ_F_U64("group", q->read->group), CQ_F_ERR(&q->err));
        corruption_detected(CORRUPT_READ);
        reseeder_distrust(q->node->reseeder, q->group, SUSPECT_PARTS);
    }
    return rc;
}

static void on_page(struct rpc_request *request, void *ctx)
{
    struct question q = {.node = worker_node(ctx), .request = request, .pool = cq_pool_new(POOL_SIZE)};
    struct cq_slice message = rpc_request_message(request);
    enum cq_rc rc = CQ_E_PROTO;
    q.method = rpc_request_frame(request)->method;
    q.read = chasqui__reseed__read__unpack(NULL, message.len, message.data);
    cq_buf_init(&q.page, RESEED_PAGE_MAX);
    if (q.read && asker_of(q.node, request, &q.asker))
        rc = run_page(&q);
    answer(&q, rc);
    cq_buf_fini(&q.page);
    if (q.read)
        chasqui__reseed__read__free_unpacked(q.read, NULL);
    cq_pool_free(&q.pool);
}

/* ---- Sessions ---- */

static struct cq_slice pack_offer(const struct reseed_offer *offer, const char *text, struct cq_pool *pool)
{
    Chasqui__Reseed__Offer message = CHASQUI__RESEED__OFFER__INIT;
    Chasqui__Reseed__Member *members = cq_pool_calloc(pool, RAFT_MEMBERS_MAX, sizeof *members);
    Chasqui__Reseed__Member **list = cq_pool_calloc(pool, RAFT_MEMBERS_MAX, sizeof *list);
    uint8_t digest[16];
    for (size_t i = 0; i < offer->member_count; i++) {
        chasqui__reseed__member__init(&members[i]);
        members[i].replica = offer->members[i].replica;
        members[i].node = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)offer->members[i].node.uuid};
        members[i].role = offer->members[i].role;
        list[i] = &members[i];
    }
    reseed_hash_put(offer->mark.digest, digest);
    message.session = offer->session;
    message.index = offer->mark.index;
    message.term = offer->mark.term;
    message.digest = (ProtobufCBinaryData){.len = sizeof digest, .data = digest};
    message.records = offer->mark.records;
    message.conf_index = offer->conf_index;
    message.members = list;
    message.n_members = offer->member_count;
    message.text = (char *)(uintptr_t)text;
    return message_pack(&message.base, pool);
}

static void on_open(struct rpc_request *request, void *ctx)
{
    struct node *node = worker_node(ctx);
    struct cq_slice message = rpc_request_message(request);
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    struct reseed_offer offer = {0};
    struct cq_err err = {0};
    struct raft_node asker;
    struct group *group = NULL;
    enum cq_rc rc = CQ_E_PROTO;
    Chasqui__Reseed__Open *open = chasqui__reseed__open__unpack(NULL, message.len, message.data);
    if (open && asker_of(node, request, &asker))
        rc = find_group(node, open->group, &group, &err);
    if (rc == CQ_OK)
        rc = reseed_sessions_open(node->sessions, group, &asker, open->replica, &offer, &err);
    rpc_reply(request, &(struct rpc_answer){.rc = rc, .message = pack_offer(&offer, err.text, pool)});
    if (open)
        chasqui__reseed__open__free_unpacked(open, NULL);
    cq_pool_free(&pool);
}

static void on_close(struct rpc_request *request, void *ctx)
{
    struct node *node = worker_node(ctx);
    struct cq_slice message = rpc_request_message(request);
    struct raft_node asker;
    enum cq_rc rc = CQ_E_PROTO;
    Chasqui__Reseed__Close *close = chasqui__reseed__close__unpack(NULL, message.len, message.data);
    if (close && asker_of(node, request, &asker)) {
        struct reseed_session *session = reseed_sessions_use(node->sessions, close->session, close->group, &asker);
        if (session) {
            reseed_sessions_close(node->sessions, session, close->flipped);
            reseed_sessions_unuse(node->sessions, session);
        }
        rc = CQ_OK;
    }
    rpc_reply_rc(request, rc);
    if (close)
        chasqui__reseed__close__free_unpacked(close, NULL);
}

/* ---- Members ---- */

#define JOIN_STEP_MS 50

/* On the Raft thread step by step until it is so. */
struct join {
    struct fiber_wait wait;
    struct member_join wish;
    enum cq_rc rc; /* CQ_E_AGAIN: something is on its way */
};

static void on_join_step(struct raft_host *host, void *arg)
{
    struct join *j = arg;
    j->rc = member_step_join(host, &j->wish);
    fiber_wait_signal(&j->wait);
}

static enum cq_rc run_join(struct node *node, struct join *j, struct cq_err *err)
{
    do {
        fiber_wait_begin(&j->wait);
        raft_thread_run(node->raft, on_join_step, j);
        fiber_wait(&j->wait);
    } while (j->rc == CQ_E_AGAIN && io_fiber_sleep(JOIN_STEP_MS) == CQ_OK);
    return j->rc == CQ_OK ? CQ_OK : CQ_FAIL(err, j->rc, "group %u: the members cannot be changed now", j->wish.group);
}

/* Is the shard map's intent that this node has a replica, and none of a later id? An old one never comes back, and what
 * a move has taken away stays away. */
static enum cq_rc check_wanted(struct question *q, const Chasqui__Reseed__Join *join)
{
    const struct topology *t = topology_keeper_get(q->node->keeper);
    const struct topology_shard *shard = t ? topology_shard(t, join->group) : NULL;
    uint32_t node = t ? topology_node_index(t, q->asker.uuid) : TOPOLOGY_NONE;
    const struct topology_replica *named = shard && node != TOPOLOGY_NONE ? topology_replica_on(shard, node) : NULL;
    bool wanted = named && named->id <= join->replica;
    for (size_t i = 0; wanted && i < t->move_count; i++)
        wanted =
            t->moves[i].group != join->group || t->moves[i].from != node || t->moves[i].step < TOPOLOGY_MOVE_REMOVING;
    topology_unref(&t);
    return wanted ? CQ_OK
                  : CQ_FAIL(&q->err, CQ_E_DENIED, "group %u: the shard map wants no such replica on that node",
                            join->group);
}

static void on_join(struct rpc_request *request, void *ctx)
{
    struct question q = {.node = worker_node(ctx), .request = request, .pool = cq_pool_new(POOL_SIZE)};
    struct cq_slice message = rpc_request_message(request);
    enum cq_rc rc = CQ_E_PROTO;
    Chasqui__Reseed__Join *join = chasqui__reseed__join__unpack(NULL, message.len, message.data);
    cq_buf_init(&q.page, RESEED_PAGE_MAX);
    if (join && join->replica && asker_of(q.node, request, &q.asker)) {
        struct join j = {.wish = {join->group, join->replica, join->vote, q.asker}};
        rc = find_group(q.node, join->group, &q.group, &q.err);
        if (rc == CQ_OK)
            rc = check_wanted(&q, join);
        if (rc == CQ_OK)
            rc = run_join(q.node, &j, &q.err);
        cq_log(CQ_INFO, "reseed.join", CQ_F_U64("group", join->group), CQ_F_U64("replica", join->replica),
               CQ_F_BOOL("vote", join->vote), CQ_F_RC(rc));
    }
    answer(&q, rc);
    cq_buf_fini(&q.page);
    if (join)
        chasqui__reseed__join__free_unpacked(join, NULL);
    cq_pool_free(&q.pool);
}

/* ---- The table ---- */

#define ROW(name, handler)                                                                                             \
    {                                                                                                                  \
        CHASQUI__RESEED__METHOD__##name, "RESEED_" #name, RPC_ROLE_STORAGE, RPC_METHOD_READ, MESSAGE_MAX, 0, handler   \
    }

static const struct rpc_method methods[] = {
    ROW(CHUNKS, on_page), ROW(SUMMARIES, on_page), ROW(OPEN, on_open), ROW(STATE, on_page),
    ROW(NAMED, on_page),  ROW(CLOSE, on_close),    ROW(JOIN, on_join), ROW(PICK, on_page),
};

struct rpc_service service_reseed(struct worker *worker)
{
    return (struct rpc_service){methods, sizeof methods / sizeof *methods, worker};
}
