#include "sim_mail.h"

#include "base/cq_assert.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"
#include "state/command_version.h"
#include "state/mail_machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_US (1200 * SIM_MS)
#define ATTEMPTS_MAX 60

static void think(struct mail_client *client);
static void attempt(struct mail_op *op);

/* ---- Small things ---- */

static void *pool_alloc(void *arg, size_t size)
{
    return cq_pool_alloc(arg, size);
}

static void pool_free(void *arg, void *pointer)
{
    (void)arg, (void)pointer;
}

ProtobufCAllocator mail_pool_allocator(struct cq_pool *pool)
{
    return (ProtobufCAllocator){pool_alloc, pool_free, pool};
}

struct cq_slice mail_pack_to(struct cq_pool *pool, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = cq_pool_alloc(pool, len);
    protobuf_c_message_pack(message, bytes);
    return cq_slice_of(bytes, len);
}

struct sim_node *mail_pick_node(struct mail *mail, int guess)
{
    unsigned nodes = mail->sim->options.nodes;
    return mail->sim->nodes[guess >= 0 ? (unsigned)guess : sim_below(mail->sim, nodes)];
}

static struct mail_session *session_of(const struct mail_op *op)
{
    return &op->client->sessions[op->account - op->client->mail->model.accounts];
}

static unsigned group_of(const struct mail_op *op)
{
    return op->account->group;
}

static struct cq_slice call_of(const struct mail_op *op)
{
    const struct mail_session *session = session_of(op);
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    call.min_modseq = session->modseq;
    call.incarnation = session->incarnation;
    call.body = (ProtobufCBinaryData){op->body.len, (uint8_t *)(uintptr_t)op->body.data};
    return mail_pack_to(op->pool, &call.base);
}

/* ---- An operation's life ---- */

static struct mail_op *op_new(struct mail_client *client, struct model_account *account)
{
    struct mail_op *op = cq_new(struct mail_op);
    *op = (struct mail_op){.id = ++client->mail->next_op,
                           .client = client,
                           .account = account,
                           .pool = cq_pool_new(4096),
                           .floor = client->mail->seen_index[account->group]};
    client->op = op;
    return op;
}

static void op_end(struct mail_op *op)
{
    struct mail_client *client = op->client;
    struct mail_session *session = session_of(op);
    if (op->command)
        session->done = op->sequence; /* one at a time: all before it have ended too */
    client->op = NULL;
    cq_pool_free(&op->pool);
    free(op);
    think(client);
}

static void begin(struct mail_client *client)
{
    struct mail *mail = client->mail;
    struct sim *sim = mail->sim;
    struct model_account *account = &mail->model.accounts[sim_below(sim, (uint32_t)mail->model.account_count)];
    bool staging = client->staging.active && sim_chance(sim, 3);
    if (staging)
        account = client->staging.account;
    if (account->deleted_at && !sim_chance(sim, 10))
        account = &mail->model.accounts[0];
    if (client->bulk && sim_chance(sim, 2))
        account = mail_bulk_account(mail);
    struct mail_session *session = &client->sessions[account - mail->model.accounts];
    bool measuring = session->stamp == 0; /* what it has seen of the group's time, it learns by a read */
    struct mail_op *op = op_new(client, account);
    mail->operations++;
    op->measuring = measuring;
    mail_op_make(op, staging);
    if (op->command)
        op->sequence = ++session->sequence;
    attempt(op);
}

static void wake(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct mail_client *client = arg;
    (void)a, (void)b;
    if (!client->op && !client->mail->quiet && !sim->failures)
        begin(client);
}

static void think(struct mail_client *client)
{
    struct sim *sim = client->mail->sim;
    if (!client->stopped_for && sim_chance(sim, 20))
        client->stopped_for = sim_below(sim, 30);
    uint64_t pause = client->stopped_for ? sim_between(sim, 10, 500) : sim_between(sim, 100, 30 * SIM_MS);
    if (client->stopped_for)
        client->stopped_for--;
    sim_at(sim, pause, wake, client, 0, 0);
}

/* ---- What comes back ---- */

struct reply {
    struct mail_client *client;
    uint64_t op_id;
    unsigned node;
    enum cq_rc rc;
    uint64_t index;
    uint64_t entry_time, modseq, incarnation;
    int hint;
};

static void retry_later(struct sim *sim, void *arg, uint64_t op_id, uint64_t b)
{
    struct mail_client *client = arg;
    (void)sim, (void)b;
    if (client->op && client->op->id == op_id)
        attempt(client->op);
}

static void retry(struct mail_op *op, uint64_t delay_us)
{
    op->client->mail->retried++;
    if (op->attempts >= ATTEMPTS_MAX) {
        op->client->mail->unknown++;
        op_end(op);
        return;
    }
    sim_at(op->client->mail->sim, delay_us, retry_later, op->client, op->id, 0);
}

static void complete(struct mail_op *op, const struct reply *reply)
{
    struct mail *mail = op->client->mail;
    struct mail_session *session = session_of(op);
    uint64_t *seen = &mail->seen_index[group_of(op)];
    sim_trace(mail->sim, "c%u: op %" PRIu64 " %s at %" PRIu64, op->client->index, op->id, cq_rc_name(reply->rc),
              reply->index);
    if (reply->index < op->floor)
        sim_fail(mail->sim,
                 "c%u: op %" PRIu64 " (method %u) was answered by n%u at index %" PRIu64 " of group %u, but %" PRIu64
                 " had been seen before it began",
                 op->client->index, op->id, op->method, reply->node, reply->index, group_of(op) + 1, op->floor);
    if (reply->index > *seen)
        *seen = reply->index;
    if (reply->entry_time > session->stamp)
        session->stamp = reply->entry_time;
    if (reply->modseq > session->modseq)
        session->modseq = reply->modseq;
    if (reply->incarnation)
        session->incarnation = reply->incarnation;
    *(op->command ? &mail->acknowledged : &mail->reads) += 1;
    mail_staging_reply(op, reply->rc);
    if (op->expunges_newest && reply->rc == CQ_OK && !mail->quiet && sim_chance(mail->sim, 12))
        sim_fault_after(mail, group_of(op));
    op_end(op);
}

static void stale(struct mail_op *op, const struct reply *reply)
{
    if (op->may_have_acted) { /* nobody can tell: the front-end would say UNKNOWN_OUTCOME */
        op->client->mail->unknown++;
        op_end(op);
        return;
    }
    session_of(op)->stamp = reply->entry_time;
    attempt(op);
}

static void take_reply(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct reply *reply = arg;
    struct mail_client *client = reply->client;
    struct mail_op *op = client->op;
    (void)a, (void)b;
    if (!op || op->id != reply->op_id) {
        free(reply); /* of an operation that is over */
        return;
    }
    int *guess = &client->guess[group_of(op)];
    *guess = reply->rc == CQ_E_NOT_LEADER ? reply->hint : (int)reply->node;
    switch (reply->rc) {
    case CQ_E_NOT_LEADER:
    case CQ_E_UNAVAILABLE:
    case CQ_E_OVERLOADED:
        if (reply->rc != CQ_E_NOT_LEADER || sim_chance(sim, 4))
            *guess = -1;
        retry(op, sim_between(sim, 1 * SIM_MS, 50 * SIM_MS));
        break;
    case CQ_E_AGAIN: /* a large COPY of the account goes on, piece by piece */
        op->may_have_acted = true;
        retry(op, sim_between(sim, 100, 20 * SIM_MS));
        break;
    case CQ_E_UNKNOWN_OUTCOME:
        op->may_have_acted = true;
        *guess = -1;
        retry(op, sim_between(sim, 1 * SIM_MS, 50 * SIM_MS));
        break;
    case CQ_E_STALE:
        stale(op, reply);
        break;
    default:
        complete(op, reply);
    }
    free(reply);
}

static bool lost(struct mail *mail)
{
    return mail->lossy_clients && sim_chance(mail->sim, 5);
}

static void send_reply(struct mail *mail, const struct reply *reply)
{
    if (lost(mail))
        return;
    sim_at(mail->sim, sim_between(mail->sim, 20, 300), take_reply, cq_memdup(reply, sizeof *reply), 0, 0);
}

static void time_out(struct sim *sim, void *arg, uint64_t op_id, uint64_t attempts)
{
    struct mail_client *client = arg;
    struct mail_op *op = client->op;
    (void)sim;
    if (!op || op->id != op_id || op->attempts != attempts)
        return;
    op->may_have_acted = op->command;
    client->guess[group_of(op)] = -1;
    retry(op, 0);
}

/* ---- On the node ---- */

/* A request as it travels: enough to answer when the client has long gone on. */
struct request {
    struct mail *mail;
    struct mail_client *client;
    struct mail_op op; /* a copy; its pool is the request's own */
    struct cq_pool *pool;
    struct cq_slice call;
    uint64_t stamp, done, min_modseq, incarnation;
    uint64_t entry_hash;
};

static void request_free(void *arg)
{
    struct request *request = arg;
    cq_pool_free(&request->pool);
    free(request);
}

static struct reply reply_to(const struct request *request, const struct sim_node *node, enum cq_rc rc)
{
    return (struct reply){
        .client = request->client, .op_id = request->op.id, .node = node->index, .rc = rc, .hint = -1};
}

static void refuse(struct request *request, struct sim_node *node, enum cq_rc rc)
{
    struct reply reply = reply_to(request, node, rc);
    struct raft_node leader;
    if (rc == CQ_E_NOT_LEADER && raft_host_leader(node->host, group_of(&request->op) + 1, &leader))
        reply.hint = (int)sim_node_of(request->mail->sim, &leader)->index;
    send_reply(request->mail, &reply);
    request_free(request);
}

static void fill_from_answer(struct reply *reply, struct cq_slice bytes, struct cq_pool *pool)
{
    ProtobufCAllocator allocator = mail_pool_allocator(pool);
    const Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(&allocator, bytes.len, bytes.data);
    CQ_ASSERT(answer);
    reply->entry_time = answer->entry_time;
    reply->modseq = answer->modseq;
    reply->incarnation = answer->incarnation;
}

static void command_done(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                         const struct machine_outcome *outcome)
{
    struct request *request = arg;
    (void)sim;
    if (rc != CQ_OK) {
        refuse(request, node, rc);
        return;
    }
    struct reply reply = reply_to(request, node, outcome->rc);
    reply.index = index;
    fill_from_answer(&reply, outcome->answer, request->pool);
    sim_check_acknowledged(node, request->op.account->group, index, request->entry_hash);
    send_reply(request->mail, &reply);
    request_free(request);
}

static uint64_t entry_time(const struct request *request, const struct sim_node *node)
{
    uint64_t last = mail_machine_time(node->groups[group_of(&request->op)].machine), wall = sim_node_wall(node);
    return wall > last ? wall : last;
}

static struct raft_body *bodies_of(struct request *request, const struct entry_chunk *chunks, size_t count)
{
    struct raft_body *bodies = cq_pool_calloc(request->pool, count, sizeof *bodies);
    struct raft_bytes *raw = raft_bytes_copy(request->op.raw);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        bodies[i] = (struct raft_body){raft_bytes_ref(raw), cq_slice_sub(raft_bytes_slice(raw), at, chunks[i].length)};
        at += chunks[i].length;
    }
    raft_bytes_unref(&raw);
    return bodies;
}

static void propose(struct request *request, struct sim_node *node)
{
    struct cq_err err = {0};
    struct entry_chunk *chunks;
    struct entry entry = {.version = COMMAND_VERSION_FIRST,
                          .method = (uint16_t)request->op.method,
                          .account = request->op.account->id,
                          .time = entry_time(request, node),
                          .sequence = request->op.sequence,
                          .done = request->done,
                          .stamp = request->stamp,
                          .min_modseq = request->min_modseq,
                          .incarnation = request->incarnation,
                          .body = request->op.body};
    memcpy(entry.client, request->client->id, 16);
    if (mail_command_chunks(request->op.method, request->op.body, request->op.raw, request->pool, &chunks,
                            &entry.chunk_count, &err) != CQ_OK)
        sim_fail(request->mail->sim, "a command's bodies are refused: %s", err.text);
    entry.chunks = chunks;
    struct cq_buf bytes;
    cq_buf_init(&bytes, ENTRY_MAX);
    CQ_ASSERT(entry_encode(&entry, &bytes, NULL) == CQ_OK);
    struct raft_bytes *owner = raft_bytes_copy(cq_buf_slice(&bytes));
    request->entry_hash = cq_xxh3_64(cq_buf_slice(&bytes));
    cq_buf_fini(&bytes);
    struct raft_body *bodies = bodies_of(request, chunks, entry.chunk_count);
    struct raft_proposal proposal = {.group = group_of(&request->op) + 1,
                                     .owner = owner,
                                     .entry = raft_bytes_slice(owner),
                                     .bodies = bodies,
                                     .body_count = entry.chunk_count};
    enum cq_rc rc = sim_node_propose(node, &proposal, command_done, request, request_free);
    for (size_t i = 0; i < entry.chunk_count; i++)
        raft_bytes_unref(&bodies[i].owner);
    raft_bytes_unref(&owner);
    if (rc != CQ_OK)
        refuse(request, node, rc);
}

void mail_read_run(struct mail *mail, struct sim_node *node, const struct mail_op *op, struct cq_slice call,
                   struct mail_read_result *result)
{
    struct machine *machine = node->groups[op->account->group].machine;
    struct cq_pool *pool = cq_pool_new(4096);
    const struct machine_read read = {op->method, op->account->id, call};
    struct cq_err err = {0};
    (void)mail;
    cq_buf_init(&result->answer, 4u << 20);
    cq_buf_init(&result->raw, 4u << 20);
    result->index = machine->ops->applied(machine);
    if (op->method == CHASQUI__MAIL__METHOD__READ_BODY) {
        struct body_piece *pieces;
        size_t count;
        result->rc = mail_machine_body(machine, &read, pool, &result->answer, &pieces, &count, &err);
        if (result->rc == CQ_OK)
            result->rc = body_pieces_read(node->store, pieces, count, &result->raw, &err);
    } else {
        result->rc = machine->ops->read(machine, &read, pool, &result->answer, &result->raw, &err);
    }
    if (result->rc != CQ_OK)
        sim_trace(node->sim, "n%u: read %u: %s %s", node->index, op->method, cq_rc_name(result->rc), err.text);
    cq_pool_free(&pool);
}

static void read_done(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                      const struct machine_outcome *outcome)
{
    struct request *request = arg;
    (void)sim, (void)index, (void)outcome;
    if (rc != CQ_OK) {
        refuse(request, node, rc);
        return;
    }
    struct mail_read_result result;
    mail_read_run(request->mail, node, &request->op, request->call, &result);
    mail_check_read(request->mail, node, &request->op, &result);
    struct reply reply = reply_to(request, node, result.rc);
    reply.index = result.index;
    fill_from_answer(&reply, cq_buf_slice(&result.answer), request->pool);
    cq_buf_fini(&result.answer);
    cq_buf_fini(&result.raw);
    send_reply(request->mail, &reply);
    request_free(request);
}

static void arrive(struct sim *sim, void *arg, uint64_t index, uint64_t b)
{
    struct request *request = arg;
    struct sim_node *node = sim->nodes[index];
    (void)b;
    if (!sim_group_works(node, group_of(&request->op))) {
        refuse(request, node, CQ_E_UNAVAILABLE);
    } else if (request->op.command) {
        propose(request, node);
    } else {
        enum cq_rc rc = sim_node_read(node, group_of(&request->op), read_done, request, request_free);
        if (rc != CQ_OK)
            refuse(request, node, rc);
    }
    sim_node_turn(node);
}

static struct request *request_new(struct mail_op *op)
{
    struct request *request = cq_new(struct request);
    const struct mail_session *session = session_of(op);
    request->mail = op->client->mail;
    request->client = op->client;
    request->pool = cq_pool_new(4096);
    request->op = *op;
    request->op.pool = request->pool;
    request->op.body = cq_pool_slice(request->pool, op->body);
    request->op.raw = cq_pool_slice(request->pool, op->raw);
    request->call = op->command ? CQ_SLICE_NONE : call_of(&request->op);
    request->stamp = session->stamp;
    request->done = session->done;
    request->min_modseq = session->modseq;
    request->incarnation = session->incarnation;
    return request;
}

static void attempt(struct mail_op *op)
{
    struct mail *mail = op->client->mail;
    struct sim_node *node = mail_pick_node(mail, op->client->guess[group_of(op)]);
    op->attempts++;
    sim_trace(mail->sim, "c%u: op %" PRIu64 " method %u sequence %" PRIu64 " to n%u, attempt %u", op->client->index,
              op->id, op->method, op->sequence, node->index, op->attempts);
    sim_at(mail->sim, TIMEOUT_US, time_out, op->client, op->id, op->attempts);
    if (!sim_node_up(node)) {
        op->client->guess[group_of(op)] = -1;
        retry(op, sim_between(mail->sim, 1 * SIM_MS, 30 * SIM_MS));
        return;
    }
    if (lost(mail))
        return;
    sim_at_node(mail->sim, node, sim_between(mail->sim, 20, 300), arrive, request_new(op), request_free, node->index,
                0);
}

/* ---- All of them ---- */

void mail_clients_start(struct mail *mail)
{
    for (unsigned i = 0; i < mail->client_count; i++) {
        struct mail_client *client = &mail->clients[i];
        *client = (struct mail_client){.mail = mail, .index = i};
        if (i == 0 && mail->sim->options.seed % MAIL_BULK_SEEDS == 5)
            client->bulk = MAIL_BULK_OPERATIONS;
        for (unsigned j = 0; j < 16; j++)
            client->id[j] = (uint8_t)(cq_prng_next(&mail->sim->prng) >> 8);
        for (unsigned g = 0; g < SIM_GROUPS_MAX; g++)
            client->guess[g] = -1;
        think(client);
    }
}

bool mail_clients_idle(const struct mail *mail)
{
    for (unsigned i = 0; i < mail->client_count; i++) {
        if (mail->clients[i].op)
            return false;
    }
    return true;
}
