/* The questions of an attempt, over a connection of its own to the leader's node. */
#include <stdlib.h>

#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "node/call_codec.h"
#include "node/reseeder_private.h"
#include "node/topology_keeper.h"
#include "node/system_client.h"
#include "proto/reseed.pb-c.h"
#include "proto/system.pb-c.h"

#define QUESTION_MS 30000
#define CLOSE_MS 2000
#define BURST_US 100000 /* the bandwidth is kept over this time */
#define POOL_SIZE (64u << 10)

/* ---- Bandwidth ---- */

/* Waits until the bytes are within what may be copied in a second, all attempts together. */
static enum cq_rc pay(struct reseeder *r, uint64_t bytes)
{
    uint64_t now = cq_time_mono_us();
    if (r->config.rate == 0)
        return CQ_OK;
    if (r->tokens_us < now)
        r->tokens_us = now;
    r->tokens_us += bytes * CQ_US_PER_S / r->config.rate;
    return r->tokens_us > now + BURST_US ? io_fiber_sleep((r->tokens_us - now - BURST_US) / 1000 + 1) : CQ_OK;
}

/* ---- One call ---- */

static enum cq_rc call(struct attempt *a, uint16_t method, const ProtobufCMessage *message, uint64_t ms,
                       struct cq_pool *pool, struct rpc_reply_in *reply_r, struct cq_err *err)
{
    const struct rpc_call call = {.method = method,
                                  .group = a->group->record.group,
                                  .deadline_us = io_loop_deadline(a->reseeder->loop, ms),
                                  .message = message_pack(message, pool)};
    enum rpc_fate fate = rpc_call(a->client, &call, pool, reply_r, err);
    if (fate != RPC_ANSWERED)
        return cq_err_context(err, "%s", rpc_client_address(a->client)), reply_r->rc;
    return CQ_OK;
}

static enum cq_rc refused(const struct attempt *a, enum cq_rc rc, const char *text, struct cq_err *err)
{
    return CQ_FAIL(err, rc, "%s: %s", rpc_client_address(a->client), text && text[0] ? text : cq_rc_text(rc));
}

static enum cq_rc take_page(struct attempt *a, const struct rpc_reply_in *reply, struct reseed_answer *answer,
                            struct cq_err *err)
{
    Chasqui__Reseed__Page *page = chasqui__reseed__page__unpack(NULL, reply->message.len, reply->message.data);
    enum cq_rc rc = reply->rc;
    if (rc != CQ_OK) {
        refused(a, rc, page ? page->text : NULL, err);
    } else if (!page || !cq_buf_slice_add(&answer->page, reply->raw)) {
        rc = CQ_FAIL(err, CQ_E_PROTO, "%s: a page that does not decode", rpc_client_address(a->client));
    } else {
        answer->done = page->done;
        answer->taken = page->taken;
        rc = reseed_cursor_set(&answer->next, cq_slice_of(page->cursor.data, page->cursor.len), err);
    }
    if (page)
        chasqui__reseed__page__free_unpacked(page, NULL);
    return rc;
}

static bool fill_offer(const Chasqui__Reseed__Offer *offer, struct reseed_offer *out)
{
    if (offer->digest.len != 16 || offer->n_members > RAFT_MEMBERS_MAX || !offer->session)
        return false;
    *out = (struct reseed_offer){.session = offer->session,
                                 .mark = {.index = offer->index,
                                          .term = offer->term,
                                          .digest = reseed_hash_get(offer->digest.data),
                                          .records = offer->records},
                                 .conf_index = offer->conf_index,
                                 .member_count = offer->n_members};
    for (size_t i = 0; i < offer->n_members; i++) {
        const Chasqui__Reseed__Member *m = offer->members[i];
        if (m->node.len != 16 || m->role > RAFT_MEMBER_SPARE)
            return false;
        out->members[i].replica = m->replica;
        out->members[i].role = (enum raft_member_role)m->role;
        memcpy(out->members[i].node.uuid, m->node.data, 16);
    }
    return true;
}

static enum cq_rc take_offer(struct attempt *a, const struct rpc_reply_in *reply, struct reseed_answer *answer,
                             struct cq_err *err)
{
    Chasqui__Reseed__Offer *offer = chasqui__reseed__offer__unpack(NULL, reply->message.len, reply->message.data);
    enum cq_rc rc = reply->rc;
    if (rc != CQ_OK)
        refused(a, rc, offer ? offer->text : NULL, err);
    else if (!offer || !fill_offer(offer, &answer->offer))
        rc = CQ_FAIL(err, CQ_E_PROTO, "%s: an offer that does not decode", rpc_client_address(a->client));
    else
        a->offer = answer->offer; /* so that its session is closed, whatever follows */
    if (offer)
        chasqui__reseed__offer__free_unpacked(offer, NULL);
    return rc;
}

/* ---- The questions of reseed_copy() ---- */

static const struct {
    uint16_t method;
    enum reseed_show show;
} kinds[] = {
    [RESEED_ASK_CHUNKS] = {CHASQUI__RESEED__METHOD__CHUNKS, SHOW_CHUNKS},
    [RESEED_ASK_HASHES] = {CHASQUI__RESEED__METHOD__CHUNKS, SHOW_CHUNKS},
    [RESEED_ASK_SUMMARIES] = {CHASQUI__RESEED__METHOD__SUMMARIES, SHOW_SUMMARIES},
    [RESEED_ASK_OPEN] = {CHASQUI__RESEED__METHOD__OPEN, SHOW_STATE},
    [RESEED_ASK_STATE] = {CHASQUI__RESEED__METHOD__STATE, SHOW_STATE},
    [RESEED_ASK_NAMED] = {CHASQUI__RESEED__METHOD__NAMED, SHOW_NOTHING},
};

static void note_progress(struct attempt *a, const struct reseed_question *q, uint64_t bytes)
{
    if (kinds[q->kind].show != SHOW_NOTHING)
        reseeder_show(a->group, kinds[q->kind].show);
    atomic_fetch_add(&a->group->reseed_bytes, bytes);
    atomic_store(&a->group->reseed_chunks, a->target.chunks);
    cq_metric_add(&reseeder_metrics, RM_BYTES, bytes, q->session != 0);
}

static enum cq_rc ask_page(struct attempt *a, const struct reseed_question *q, struct cq_pool *pool,
                           struct rpc_reply_in *reply, struct cq_err *err)
{
    Chasqui__Reseed__Read read = CHASQUI__RESEED__READ__INIT;
    read.group = a->group->record.group;
    read.session = q->session;
    read.cursor = (ProtobufCBinaryData){.len = q->from->len, .data = (uint8_t *)(uintptr_t)q->from->at};
    read.bytes = RESEED_PAGE_BYTES;
    read.hashes = q->kind == RESEED_ASK_HASHES;
    read.names = (ProtobufCBinaryData){.len = q->names.len, .data = (uint8_t *)(uintptr_t)q->names.data};
    return call(a, kinds[q->kind].method, &read.base, QUESTION_MS, pool, reply, err);
}

static enum cq_rc ask_offer(struct attempt *a, struct cq_pool *pool, struct rpc_reply_in *reply, struct cq_err *err)
{
    Chasqui__Reseed__Open open = CHASQUI__RESEED__OPEN__INIT;
    open.group = a->group->record.group;
    open.replica = a->target.record.replica;
    return call(a, CHASQUI__RESEED__METHOD__OPEN, &open.base, QUESTION_MS, pool, reply, err);
}

enum cq_rc reseeder_ask(void *ctx, const struct reseed_question *q, struct reseed_answer *answer, struct cq_err *err)
{
    struct attempt *a = ctx;
    struct rpc_reply_in reply = {0};
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    bool opens = q->kind == RESEED_ASK_OPEN;
    if (opens && !a->lost)
        reseeder_keep_log(a, true);
    enum cq_rc rc = opens ? ask_offer(a, pool, &reply, err) : ask_page(a, q, pool, &reply, err);
    if (rc == CQ_OK)
        rc = opens ? take_offer(a, &reply, answer, err) : take_page(a, &reply, answer, err);
    uint64_t bytes = reply.raw.len;
    cq_pool_free(&pool);
    if (rc != CQ_OK)
        return rc;
    note_progress(a, q, bytes);
    return pay(a->reseeder, bytes) == CQ_OK ? CQ_OK : CQ_FAIL(err, CQ_E_CANCELLED, "cancelled");
}

void reseeder_close_session(struct attempt *a, bool flipped)
{
    Chasqui__Reseed__Close close = CHASQUI__RESEED__CLOSE__INIT;
    struct rpc_reply_in reply = {0};
    if (!a->offer.session || !a->client)
        return;
    close.group = a->group->record.group;
    close.session = a->offer.session;
    close.flipped = flipped;
    struct cq_pool *pool = cq_pool_new(512);
    call(a, CHASQUI__RESEED__METHOD__CLOSE, &close.base, CLOSE_MS, pool, &reply, NULL); /* else it ends by itself */
    cq_pool_free(&pool);
}

/* ---- A replica under a new id ---- */

enum cq_rc reseeder_join(struct attempt *a, bool vote, struct cq_err *err)
{
    Chasqui__Reseed__Join join = CHASQUI__RESEED__JOIN__INIT;
    struct rpc_reply_in reply = {0};
    struct cq_pool *pool = cq_pool_new(4096);
    struct reseed_answer *answer = cq_new(struct reseed_answer);
    join.group = a->group->record.group;
    join.replica = a->group->record.replica;
    join.vote = vote;
    cq_buf_init(&answer->page, RESEED_PAGE_MAX);
    enum cq_rc rc = call(a, CHASQUI__RESEED__METHOD__JOIN, &join.base, QUESTION_MS, pool, &reply, err);
    if (rc == CQ_OK)
        rc = take_page(a, &reply, answer, err);
    cq_buf_fini(&answer->page);
    free(answer);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc allocate(struct attempt *a, uint64_t *id_r, struct cq_err *err)
{
    Chasqui__System__AllocateReplicas message = CHASQUI__SYSTEM__ALLOCATE_REPLICAS__INIT;
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_slice body;
    message.count = 1;
    enum cq_rc rc =
        system_call(a->node, NULL, 0, CHASQUI__SYSTEM__METHOD__ALLOCATE_REPLICAS, message_pack(&message.base, pool),
                    io_loop_deadline(a->reseeder->loop, QUESTION_MS), pool, &body, err);
    Chasqui__System__AllocateReplicasReply *reply =
        rc == CQ_OK ? chasqui__system__allocate_replicas_reply__unpack(NULL, body.len, body.data) : NULL;
    if (rc == CQ_OK && (!reply || reply->count != 1 || !reply->first))
        rc = CQ_FAIL(err, CQ_E_PROTO, "the system shard's ids do not decode");
    *id_r = rc == CQ_OK ? reply->first : 0;
    if (reply)
        chasqui__system__allocate_replicas_reply__free_unpacked(reply, NULL);
    cq_pool_free(&pool);
    return rc;
}

/* A record may be of an earlier copy, for the replica that is to be replaced now. */
enum cq_rc reseeder_take_id(struct attempt *a, struct cq_err *err)
{
    struct reseed_record record;
    uint64_t id = 0;
    enum cq_rc rc = reseed_record_read(a->node->dir.store, a->group->record.group, &record, err);
    if (rc == CQ_OK && record.replica != a->group->former)
        id = record.replica;
    else if (rc == CQ_OK || rc == CQ_E_NOT_FOUND)
        rc = allocate(a, &id, err);
    if (rc == CQ_OK)
        a->group->record.replica = id;
    return rc;
}

/* The shard as it will be: this node's replica under its new id, with a vote. */
static enum cq_rc set_shard(struct attempt *a, const struct topology *t, const struct topology_shard *shard,
                            struct cq_err *err)
{
    Chasqui__System__SetShard message = CHASQUI__SYSTEM__SET_SHARD__INIT;
    Chasqui__System__Shard wire = CHASQUI__SYSTEM__SHARD__INIT;
    Chasqui__System__Replica replicas[TOPOLOGY_REPLICAS_MAX], *list[TOPOLOGY_REPLICAS_MAX];
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_slice body;
    uint32_t me = topology_node_index(t, a->node->dir.node);
    wire.group = shard->group;
    wire.home = (char *)(uintptr_t)shard->home;
    wire.preferred = shard->preferred;
    for (size_t i = 0; i < shard->replica_count; i++) {
        const struct topology_replica *r = &shard->replicas[i];
        chasqui__system__replica__init(&replicas[i]);
        replicas[i].id = r->node == me ? a->group->record.replica : r->id;
        replicas[i].node = (ProtobufCBinaryData){.len = 16, .data = (uint8_t *)(uintptr_t)t->nodes[r->node].uuid};
        replicas[i].voter = r->node == me || r->voter;
        if (r->node == me && shard->preferred == r->id)
            wire.preferred = a->group->record.replica;
        list[i] = &replicas[i];
    }
    wire.replicas = list;
    wire.n_replicas = shard->replica_count;
    message.if_epoch = t->epoch;
    message.shard = &wire;
    enum cq_rc rc = system_call(a->node, NULL, 0, CHASQUI__SYSTEM__METHOD__SET_SHARD, message_pack(&message.base, pool),
                                io_loop_deadline(a->reseeder->loop, QUESTION_MS), pool, &body, err);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc reseeder_tell_map(struct attempt *a, struct cq_err *err)
{
    const struct topology *t = topology_keeper_get(a->node->keeper);
    const struct topology_shard *shard = t ? topology_shard(t, a->group->record.group) : NULL;
    uint32_t me = t ? topology_node_index(t, a->node->dir.node) : TOPOLOGY_NONE;
    const struct topology_replica *mine = shard && me != TOPOLOGY_NONE ? topology_replica_on(shard, me) : NULL;
    enum cq_rc rc = CQ_OK;
    if (mine && mine->id != a->group->record.replica)
        rc = set_shard(a, t, shard, err);
    topology_unref(&t);
    return rc;
}

/* ---- The source ---- */

static void dial(struct attempt *a, const char *address)
{
    struct node *node = a->node;
    struct rpc_client_limits limits = node->config->client;
    limits.connections = 1;
    rpc_client_free(&a->client);
    a->client = rpc_client_new(&(struct rpc_client_config){.loop = a->reseeder->loop,
                                                           .resolver = node->resolver,
                                                           .tls = node->client_tls,
                                                           .address = address,
                                                           .peer_roles = RPC_ROLE_STORAGE,
                                                           .hello = &node->hello,
                                                           .limits = limits});
}

/* Does the node lead the group? A page of nothing much says so. */
static enum cq_rc try_address(struct attempt *a, const char *address, struct cq_err *err)
{
    Chasqui__Reseed__Read read = CHASQUI__RESEED__READ__INIT;
    struct rpc_reply_in reply = {0};
    struct cq_pool *pool = cq_pool_new(4096);
    struct reseed_answer *answer = cq_new(struct reseed_answer);
    dial(a, address);
    read.group = a->group->record.group;
    read.bytes = 1;
    cq_buf_init(&answer->page, RESEED_PAGE_MAX);
    enum cq_rc rc = call(a, CHASQUI__RESEED__METHOD__SUMMARIES, &read.base, QUESTION_MS, pool, &reply, err);
    if (rc == CQ_OK)
        rc = take_page(a, &reply, answer, err);
    cq_buf_fini(&answer->page);
    free(answer);
    cq_pool_free(&pool);
    return rc;
}

#define PICK_MS 3000

enum cq_rc reseeder_pick(struct attempt *a, const char *address, struct cq_slice names, struct cq_buf *page,
                         struct cq_err *err)
{
    Chasqui__Reseed__Read read = CHASQUI__RESEED__READ__INIT;
    struct rpc_reply_in reply = {0};
    struct cq_pool *pool = cq_pool_new(POOL_SIZE);
    dial(a, address);
    read.group = a->group->record.group;
    read.bytes = RESEED_PAGE_BYTES;
    read.names = (ProtobufCBinaryData){.len = names.len, .data = (uint8_t *)(uintptr_t)names.data};
    enum cq_rc rc = call(a, CHASQUI__RESEED__METHOD__PICK, &read.base, PICK_MS, pool, &reply, err);
    if (rc == CQ_OK && reply.rc != CQ_OK)
        rc = refused(a, reply.rc, NULL, err);
    if (rc == CQ_OK && !cq_buf_slice_add(page, reply.raw))
        rc = CQ_FAIL(err, CQ_E_PROTO, "%s: a page that is too large", address);
    cq_pool_free(&pool);
    return rc;
}

enum cq_rc reseeder_find_source(struct attempt *a, struct cq_err *err)
{
    const struct topology *t = topology_keeper_get(a->node->keeper);
    const struct topology_shard *shard = t ? topology_shard(t, a->group->record.group) : NULL;
    uint32_t me = t ? topology_node_index(t, a->node->dir.node) : TOPOLOGY_NONE;
    enum cq_rc rc = CQ_FAIL(err, CQ_E_UNAVAILABLE, "group %u: nobody is known to have it", a->group->record.group);
    uint64_t leader = atomic_load(&a->group->leader);
    for (int pass = 0; shard && pass < 2 && rc != CQ_OK && rc != CQ_E_CANCELLED; pass++) /* the leader first */
        for (size_t i = 0; i < shard->replica_count && rc != CQ_OK && rc != CQ_E_CANCELLED; i++)
            if (shard->replicas[i].node != me && (shard->replicas[i].id == leader) == (pass == 0))
                rc = try_address(a, t->nodes[shard->replicas[i].node].address, err);
    topology_unref(&t);
    const struct cq_strings *seeds = &a->node->config->node.seeds;
    for (size_t i = 0; !shard && i < seeds->count && rc != CQ_OK && rc != CQ_E_CANCELLED; i++)
        if (strcmp(seeds->items[i], node_address(a->node)) != 0)
            rc = try_address(a, seeds->items[i], err);
    return rc;
}
