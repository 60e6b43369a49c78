/* A client of storage nodes for tests: speaks with them directly, as a router would, and keeps a record of what was
 * acknowledged that no node can touch.
 *
 *     storage_client load   CA CERT KEY CLUSTER FILE SEED SECONDS ADDRESS...
 *     storage_client verify CA CERT KEY CLUSTER FILE ADDRESS...
 *     storage_client watch  CA CERT KEY CLUSTER FILE ADDRESS...
 *     storage_client roles  CA CERTS_FOLDER - CLUSTER - ADDRESS
 *
 * load: appends messages to ACCOUNTS accounts for that long, reads some back at once, and writes a line per message to
 * FILE: "ok ACCOUNT UID SEED SIZE", or "unknown ACCOUNT 0 SEED SIZE" when the outcome is not known. verify: reads
 * everything; each acknowledged message is there once, whole, under its UID; nothing else is there but what was
 * unknown. A message's octets follow from its seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_time.h"
#include "cluster/topology.h"
#include "io/io_fiber.h"
#include "io/io_pool.h"
#include "io/io_tls.h"
#include "mailstore/mailstore.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"
#include "rpc/rpc_client.h"

#define ACCOUNTS 24
#define NODES_MAX 16
#define CALL_MS 8000
#define ATTEMPT_MS 1500
#define STAGED_FROM (400u << 10) /* octets: larger bodies are staged */

struct client {
    struct mailstore_transport transport;
    struct io_loop *loop;
    struct io_pool *resolver;
    struct io_tls *tls;
    struct rpc_hello hello;
    struct rpc_client *nodes[NODES_MAX];
    size_t node_count;
    const struct topology *topology;
    size_t leader[4097]; /* index of the node that led the group last */
    FILE *file;
    uint64_t seed, until_us;
    unsigned running, failures, acked, unknown;
};

/* ---- Transport: to the leader, by trying ---- */

static bool try_on(enum cq_rc rc)
{
    return rc == CQ_E_NOT_LEADER || rc == CQ_E_UNAVAILABLE || rc == CQ_E_OVERLOADED || rc == CQ_E_TIMEOUT ||
           rc == CQ_E_WRONG_OWNER || rc == CQ_E_UNKNOWN_OUTCOME;
}

static enum cq_rc transport_call(struct mailstore_transport *transport, const struct mailstore_call *call,
                                 struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct client *c = cq_containerof(transport, struct client, transport);
    uint32_t group = topology_group_of(c->topology, call->account);
    bool may_have_acted = false;
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    while (io_loop_now_us(c->loop) < call->deadline_us) {
        uint64_t attempt = io_loop_deadline(c->loop, ATTEMPT_MS);
        const struct rpc_call rpc = {
            .method = (uint16_t)call->method,
            .flags = (uint16_t)((call->command ? RPC_FLAG_COMMAND : 0) | (may_have_acted ? RPC_FLAG_RESENT : 0)),
            .group = group,
            .account = call->account,
            .epoch = c->topology->epoch,
            .deadline_us = attempt < call->deadline_us ? attempt : call->deadline_us,
            .message = call->message,
            .raw = call->raw,
            .raw_count = call->raw_count};
        struct rpc_reply_in reply = {0};
        enum rpc_fate fate = rpc_call(c->nodes[c->leader[group]], &rpc, pool, &reply, err);
        rc = reply.rc;
        may_have_acted |= fate == RPC_SENT || (fate == RPC_ANSWERED && rc == CQ_E_UNKNOWN_OUTCOME) ||
                          (fate == RPC_ANSWERED && rc == CQ_E_TIMEOUT && !(reply.flags & RPC_FLAG_NOT_RUN));
        if (fate == RPC_ANSWERED && !try_on(rc)) {
            *answer_r = (struct mailstore_answer){reply.message, reply.raw};
            return rc;
        }
        c->leader[group] = (c->leader[group] + 1) % c->node_count;
        if (io_fiber_sleep(20) != CQ_OK)
            return CQ_FAIL(err, CQ_E_CANCELLED, "cancelled");
    }
    return may_have_acted && call->command ? CQ_FAIL(err, CQ_E_UNKNOWN_OUTCOME, "no answer in time")
                                           : CQ_FAIL(err, rc, "%s", cq_rc_text(rc));
}

/* ---- Messages that follow from their seed ---- */

static uint32_t size_of(uint64_t seed)
{
    struct cq_prng prng = {seed};
    uint32_t kind = cq_prng_below(&prng, 100);
    if (kind < 2)
        return STAGED_FROM + cq_prng_below(&prng, 1u << 20);
    return 100 + cq_prng_below(&prng, kind < 30 ? 40000 : 4000);
}

static uint8_t *octets_of(uint64_t seed, uint32_t size)
{
    uint8_t *octets = cq_malloc(size + 8);
    struct cq_prng prng = {seed};
    cq_put_be64(octets, seed);
    for (uint32_t at = 8; at < size; at += 8)
        cq_put_be64(octets + at, cq_prng_next(&prng));
    return octets;
}

/* ---- Load ---- */

struct session {
    struct client *client;
    struct mailstore *store;
    struct mailstore_account account;
    struct cq_prng prng;
    uint64_t inbox;
    struct cq_pool *pool;
};

static void complain(struct session *s, const char *what, enum cq_rc rc, const struct cq_err *err)
{
    fprintf(stderr, "account %016llx: %s: %s: %s\n", (unsigned long long)s->account.id, what, cq_rc_name(rc),
            err->text);
    s->client->failures++;
}

static bool find_inbox(struct session *s)
{
    struct cq_err err = {0};
    struct mail_mailbox_list list;
    enum cq_rc rc = mailstore_list(s->store, &s->account, s->pool, &list, &err);
    for (size_t i = 0; rc == CQ_OK && i < list.count; i++)
        if (list.mailboxes[i].use == MAIL_USE_INBOX)
            s->inbox = list.mailboxes[i].id;
    if (rc != CQ_OK || !s->inbox)
        complain(s, "list", rc, &err);
    return s->inbox != 0;
}

static enum cq_rc stage(struct session *s, struct mail_stage *stage, struct cq_slice rest, struct cq_err *err)
{
    uint8_t random[16];
    cq_put_be64(random, cq_prng_next(&s->prng));
    cq_put_be64(random + 8, cq_prng_next(&s->prng));
    mailstore_stage_init(stage, random);
    enum cq_rc rc = CQ_OK;
    while (rest.len && rc == CQ_OK) {
        struct cq_slice piece = cq_slice_sub(rest, 0, MAIL_STAGE_PIECE_MAX);
        rc = mailstore_stage(s->store, &s->account, stage, &piece, 1, err);
        rest = cq_slice_skip(rest, piece.len);
    }
    return rc;
}

static void append_one(struct session *s)
{
    struct cq_err err = {0};
    uint64_t seed = cq_prng_next(&s->prng);
    uint32_t size = size_of(seed);
    uint8_t *octets = octets_of(seed, size);
    struct cq_slice body = cq_slice_of(octets, size);
    struct mail_stage staged;
    struct mail_new_message message = {.internal_date = 1700000000, .summary = CQ_SLICE("summary")};
    struct mail_appended appended = {0};
    enum cq_rc rc = CQ_OK;
    if (size >= STAGED_FROM) {
        rc = stage(s, &staged, body, &err);
        message.stage = &staged;
    } else {
        message.octets = &body;
        message.octet_count = 1;
    }
    bool appending = rc == CQ_OK;
    if (appending)
        rc = mailstore_append(s->store, &s->account, s->inbox, &message, 1, &appended, &err);
    if (rc == CQ_OK)
        s->client->acked++;
    else if (appending && rc == CQ_E_UNKNOWN_OUTCOME)
        s->client->unknown++;
    else if (!try_on(rc))
        complain(s, appending ? "append" : "stage", rc, &err);
    if (rc == CQ_OK || (appending && rc == CQ_E_UNKNOWN_OUTCOME))
        fprintf(s->client->file, "%s %llu %u %llu %u\n", rc == CQ_OK ? "ok" : "unknown",
                (unsigned long long)s->account.id, appended.first_uid, (unsigned long long)seed, size);
    free(octets);
}

static void load_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    struct cq_err err = {0};
    static const struct mail_limits limits = {.directory_version = 1};
    enum cq_rc rc;
    while ((rc = mailstore_create_account(s->store, &s->account, &limits, CQ_SLICE("x@test"), &err)) != CQ_OK &&
           try_on(rc))
        io_fiber_sleep(100);
    if (rc != CQ_OK)
        complain(s, "create", rc, &err);
    while (rc == CQ_OK && !s->inbox && c->failures == 0)
        find_inbox(s);
    while (rc == CQ_OK && io_loop_now_us(c->loop) < c->until_us && c->failures == 0) {
        cq_pool_clear(s->pool);
        append_one(s);
    }
    c->running--;
}

/* ---- Verify ---- */

struct line {
    bool acked, seen;
    uint64_t account, seed;
    uint32_t uid, size;
};
static struct line *lines;
static size_t line_count;

static void read_file(FILE *file)
{
    char kind[16];
    unsigned long long account, seed;
    unsigned uid, size;
    size_t cap = 0;
    while (fscanf(file, "%15s %llu %u %llu %u", kind, &account, &uid, &seed, &size) == 5) {
        if (line_count == cap)
            lines = cq_realloc(lines, (cap = cap ? cap * 2 : 1024) * sizeof *lines);
        lines[line_count++] =
            (struct line){.acked = kind[0] == 'o', .account = account, .uid = uid, .seed = seed, .size = size};
    }
}

static struct line *find_line(uint64_t account, uint64_t seed)
{
    for (size_t i = 0; i < line_count; i++)
        if (lines[i].account == account && lines[i].seed == seed)
            return &lines[i];
    return NULL;
}

static void wrong(struct session *s, uint32_t uid, const char *what)
{
    fprintf(stderr, "account %016llx uid %u: %s\n", (unsigned long long)s->account.id, uid, what);
    s->client->failures++;
}

static bool read_whole(struct session *s, const struct fetch_record *record, struct cq_buf *out)
{
    struct cq_err err = {0};
    while (out->len < record->size) {
        struct cq_slice octets;
        enum cq_rc rc = mailstore_read_body(s->store, &s->account, record->email, out->len,
                                            (uint32_t)(record->size - out->len), s->pool, &octets, &err);
        if (rc != CQ_OK || octets.len == 0) {
            complain(s, "read body", rc, &err);
            return false;
        }
        cq_buf_slice_add(out, octets);
    }
    return true;
}

static void check_message(struct session *s, const struct fetch_record *record)
{
    struct cq_buf out;
    cq_buf_init(&out, 4u << 20);
    if (read_whole(s, record, &out)) {
        struct line *line = out.len >= 8 ? find_line(s->account.id, cq_get_be64(out.data)) : NULL;
        uint8_t *octets = line ? octets_of(line->seed, line->size) : NULL;
        if (!line)
            wrong(s, record->uid, "nobody has written this message");
        else if (line->seen)
            wrong(s, record->uid, "the message is there twice");
        else if (line->acked && line->uid != record->uid)
            wrong(s, record->uid, "the message was acknowledged under another UID");
        else if (out.len != line->size || memcmp(out.data, octets, out.len) != 0)
            wrong(s, record->uid, "the octets are not those that were written");
        if (line)
            line->seen = true;
        free(octets);
    }
    cq_buf_fini(&out);
}

static void verify_fiber(void *arg)
{
    struct session *s = arg;
    struct cq_err err = {0};
    struct uid_range all = {1, UINT32_MAX};
    const struct uidset uids = {&all, 1};
    uint32_t last_uid = 0;
    if (find_inbox(s)) {
        struct mail_records records = {.next_uid = 1};
        while (records.next_uid) {
            all.first = records.next_uid;
            enum cq_rc rc = mailstore_fetch(s->store, &s->account, s->inbox, &uids, false, s->pool, &records, &err);
            if (rc != CQ_OK) {
                complain(s, "fetch", rc, &err);
                break;
            }
            struct fetch_record record;
            while (fetch_record_next(&records.records, &record) == CQ_OK) {
                if (record.uid <= last_uid)
                    wrong(s, record.uid, "UIDs do not rise");
                last_uid = record.uid;
                check_message(s, &record);
            }
        }
    }
    for (size_t i = 0; i < line_count; i++)
        if (lines[i].account == s->account.id && lines[i].acked && !lines[i].seen)
            wrong(s, lines[i].uid, "acknowledged, and lost");
    s->client->running--;
}

/* ---- Watch ---- */

#define NOTICE_MS 3000

struct watching {
    unsigned items, empty;
    bool ended;
    enum cq_rc rc;
};

static void on_item(void *ctx, const struct rpc_frame *frame, struct rpc_payload *payload)
{
    struct watching *w = ctx;
    w->items++;
    w->empty += rpc_frame_message(frame, payload).len == 0;
}

static void on_end(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct watching *w = ctx;
    (void)fate;
    w->ended = true;
    w->rc = reply->rc;
}

static bool wait_items(struct client *c, const struct watching *w, unsigned items)
{
    uint64_t until = io_loop_deadline(c->loop, NOTICE_MS);
    while (w->items < items && !w->ended && io_loop_now_us(c->loop) < until)
        io_fiber_sleep(5);
    return w->items >= items;
}

static void watch_at_leader(struct session *s, uint32_t group)
{
    struct client *c = s->client;
    struct watching w = {0};
    const struct rpc_call call = {
        .method = CHASQUI__MAIL__METHOD__WATCH, .group = group, .account = s->account.id, .deadline_us = UINT64_MAX};
    rpc_stream_start(
        c->nodes[c->leader[group]], &call,
        &(struct rpc_stream_config){.window = 65536, .auto_credit = true, .data = on_item, .done = on_end, .ctx = &w});
    if (!wait_items(c, &w, 1) || w.empty != 1)
        wrong(s, 0, "the watch did not begin with an empty item");
    append_one(s);
    if (!wait_items(c, &w, 2) || w.empty != 1)
        wrong(s, 0, "an append was not noticed");
    printf("watching\n");
    fflush(stdout);
    while (!w.ended)
        io_fiber_sleep(20);
    printf("ended: %s\n", cq_rc_name(w.rc));
}

static void watch_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    uint32_t group = topology_group_of(c->topology, s->account.id);
    if (s->account.id == 1) { /* the first account; finding its INBOX has found its leader */
        if (find_inbox(s))
            watch_at_leader(s, group);
    }
    c->running--;
}

/* ---- Roles ---- */

static const struct {
    uint16_t method;
    uint32_t roles;
} allowed[] = {
#define MAIL(name)                                                                                                     \
    {                                                                                                                  \
        CHASQUI__MAIL__METHOD__##name, RPC_ROLE_ROUTER | RPC_ROLE_ADMIN                                                \
    }
    MAIL(CREATE_ACCOUNT),
    MAIL(DELETE_ACCOUNT),
    MAIL(SET_LIMITS),
    MAIL(CREATE_MAILBOX),
    MAIL(DELETE_MAILBOX),
    MAIL(RENAME_MAILBOX),
    MAIL(SET_SUBSCRIBED),
    MAIL(APPEND),
    MAIL(DELIVER),
    MAIL(STAGE),
    MAIL(STORE),
    MAIL(COPY),
    MAIL(MOVE),
    MAIL(EXPUNGE),
    MAIL(CLAIM_RECENT),
    MAIL(CHARGE_SENDING),
    MAIL(KEEP_DELIVERY_KEY),
    MAIL(GET_ACCOUNT),
    MAIL(LIST_MAILBOXES),
    MAIL(OPEN_MAILBOX),
    MAIL(FETCH),
    MAIL(CHANGES),
    MAIL(READ_BODY),
    {CHASQUI__SYSTEM__METHOD__INIT_CLUSTER, RPC_ROLE_STORAGE},
    {CHASQUI__SYSTEM__METHOD__REGISTER_NODE, RPC_ROLE_STORAGE},
    {CHASQUI__SYSTEM__METHOD__SET_LABELS, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN},
    {CHASQUI__SYSTEM__METHOD__SET_NODE_STATE, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN},
    {CHASQUI__SYSTEM__METHOD__SET_SHARD_MAP, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN},
    {CHASQUI__SYSTEM__METHOD__SET_SHARD, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN},
    {CHASQUI__SYSTEM__METHOD__ALLOCATE_REPLICAS, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN},
    {CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN | RPC_ROLE_ROUTER | RPC_ROLE_OPERATOR},
    {CHASQUI__SYSTEM__METHOD__NODE_INFO, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN | RPC_ROLE_ROUTER | RPC_ROLE_OPERATOR},
    {CHASQUI__SYSTEM__METHOD__NODE_GROUPS, RPC_ROLE_STORAGE | RPC_ROLE_ADMIN | RPC_ROLE_ROUTER | RPC_ROLE_OPERATOR},
    {CHASQUI__SYSTEM__METHOD__CLUSTER_INIT, RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR},
    {CHASQUI__SYSTEM__METHOD__BOOTSTRAP_SYSTEM, RPC_ROLE_STORAGE},
    /* Proposed by a leader for its own group: nobody may call them. */
    {CHASQUI__MAIL__METHOD__OWN_SLOTS, 0},
    {CHASQUI__MAIL__METHOD__RECLAIM, 0},
    {CHASQUI__MAIL__METHOD__OUTBOX_ADVANCE, 0},
    {CHASQUI__MAIL__METHOD__DIGEST_MARK, 0},
};

/* A call that means nothing: who may call gets some other error, who may not is denied before anybody looks at it. */
static void check_role(struct client *c, struct rpc_client *client, uint32_t role, size_t row)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_err err = {0};
    struct rpc_reply_in reply = {0};
    const struct rpc_call call = {.method = allowed[row].method,
                                  .group = UINT32_MAX,
                                  .deadline_us = io_loop_deadline(c->loop, CALL_MS),
                                  .message = CQ_SLICE("\xff")};
    enum rpc_fate fate = rpc_call(client, &call, pool, &reply, &err);
    bool let_in = fate == RPC_ANSWERED && reply.rc != CQ_E_DENIED && reply.rc != CQ_E_UNSUPPORTED;
    if (let_in != ((allowed[row].roles & role) != 0) || fate != RPC_ANSWERED) {
        fprintf(stderr, "method %u, role %u: %s\n", allowed[row].method, role, cq_rc_name(reply.rc));
        c->failures++;
    }
    cq_pool_free(&pool);
}

struct roles_job {
    struct client *client;
    char **args;
    const char *address;
};

static void roles_fiber(void *arg)
{
    static const struct {
        uint32_t role;
        const char *file;
    } roles[] = {
        {RPC_ROLE_FRONTEND, "frontend"}, {RPC_ROLE_ADMIN, "admin"}, {RPC_ROLE_ROUTER, "router"},
        {RPC_ROLE_STORAGE, "storage"},   {RPC_ROLE_QUOTA, "quota"}, {RPC_ROLE_OPERATOR, "operator"},
    };
    struct roles_job *job = arg;
    struct client *c = job->client;
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++) {
        char cert[1000], key[1000];
        struct cq_err err = {0};
        struct io_tls *tls = NULL;
        snprintf(cert, sizeof cert, "%s/%s.pem", job->args[1], roles[r].file);
        snprintf(key, sizeof key, "%s/%s.key", job->args[1], roles[r].file);
        if (io_tls_client_new(
                &(struct io_tls_client_options){.ca_file = job->args[0], .cert_file = cert, .key_file = key}, &tls,
                &err) != CQ_OK) {
            fprintf(stderr, "%s\n", err.text);
            c->failures++;
            break;
        }
        struct rpc_client *client = rpc_client_new(&(struct rpc_client_config){.loop = c->loop,
                                                                               .resolver = c->resolver,
                                                                               .tls = tls,
                                                                               .address = job->address,
                                                                               .peer_roles = RPC_ROLE_STORAGE,
                                                                               .hello = &c->hello,
                                                                               .limits = rpc_client_limits_default()});
        for (size_t row = 0; row < sizeof allowed / sizeof *allowed; row++)
            check_role(c, client, roles[r].role, row);
        rpc_client_free(&client);
        io_fiber_sleep(50); /* the GOODBYE goes out before its certificate goes */
        io_tls_free(&tls);
    }
    io_loop_stop(c->loop);
}

static int check_roles(struct client *c, char **args, const char *address)
{
    struct roles_job job = {c, args, address};
    c->loop = io_loop_new(NULL);
    c->resolver = io_pool_new("resolve", 1, 64);
    RPC_HELLO_SET(c->hello.cluster, args[3]);
    io_fiber_spawn(c->loop, roles_fiber, &job, NULL);
    io_loop_run(c->loop);
    io_loop_free(&c->loop);
    io_pool_free(&c->resolver);
    printf("%zu methods, %u failures\n", sizeof allowed / sizeof *allowed, c->failures);
    return c->failures ? 1 : 0;
}

/* ---- Setting up ---- */

static bool get_topology(struct client *c, struct cq_pool *pool)
{
    uint64_t give_up = io_loop_deadline(c->loop, 15000);
    uint8_t empty_call = 0;
    while (io_loop_now_us(c->loop) < give_up) {
        for (size_t i = 0; i < c->node_count; i++) {
            struct rpc_reply_in reply = {0};
            struct cq_err err = {0};
            const struct rpc_call call = {.method = CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY,
                                          .deadline_us = io_loop_deadline(c->loop, ATTEMPT_MS),
                                          .message = cq_slice_of(&empty_call, 0)};
            if (rpc_call(c->nodes[i], &call, pool, &reply, &err) != RPC_ANSWERED || reply.rc != CQ_OK)
                continue;
            Chasqui__Mail__Answer *answer = chasqui__mail__answer__unpack(NULL, reply.message.len, reply.message.data);
            enum cq_rc rc = topology_decode(cq_slice_of(answer->body.data, answer->body.len), &c->topology, &err);
            chasqui__mail__answer__free_unpacked(answer, NULL);
            if (rc == CQ_OK && c->topology->range_count)
                return true;
            topology_unref(&c->topology);
        }
        io_fiber_sleep(100);
    }
    fprintf(stderr, "no node knows the topology\n");
    return false;
}

struct job {
    struct client *client;
    void (*fiber)(void *arg);
    bool ended;
};

static void job_fiber(void *arg)
{
    struct job *job = arg;
    struct client *c = job->client;
    struct cq_pool *pool = cq_pool_new(65536);
    struct session sessions[ACCOUNTS] = {0};
    uint8_t id[16];
    cq_rand_bytes(id, sizeof id);
    struct mailstore *store = mailstore_new(&c->transport, id, CALL_MS);
    if (!get_topology(c, pool))
        c->failures++;
    for (uint64_t i = 0; i < ACCOUNTS && c->failures == 0; i++) {
        sessions[i] = (struct session){.client = c,
                                       .store = store,
                                       .account = {.id = (i * 65536 / ACCOUNTS) << 48 | (i + 1)},
                                       .prng = {c->seed * 1000 + i},
                                       .pool = cq_pool_new(65536)};
        c->running++;
        io_fiber_spawn(c->loop, job->fiber, &sessions[i], NULL);
    }
    while (c->running)
        io_fiber_sleep(20);
    for (size_t i = 0; i < ACCOUNTS; i++)
        cq_pool_free(&sessions[i].pool);
    mailstore_free(&store);
    topology_unref(&c->topology);
    cq_pool_free(&pool);
    job->ended = true;
    io_loop_stop(c->loop);
}

static int run(struct client *c, char **args, char **addresses, int count, void (*fiber)(void *arg))
{
    struct cq_err err = {0};
    c->loop = io_loop_new(NULL);
    c->resolver = io_pool_new("resolve", 1, 64);
    RPC_HELLO_SET(c->hello.cluster, args[3]);
    RPC_HELLO_SET(c->hello.program, "storage_client");
    if (io_tls_client_new(
            &(struct io_tls_client_options){.ca_file = args[0], .cert_file = args[1], .key_file = args[2]}, &c->tls,
            &err) != CQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    c->transport.call = transport_call;
    for (int i = 0; i < count && i < NODES_MAX; i++)
        c->nodes[c->node_count++] = rpc_client_new(&(struct rpc_client_config){.loop = c->loop,
                                                                               .resolver = c->resolver,
                                                                               .tls = c->tls,
                                                                               .address = addresses[i],
                                                                               .peer_roles = RPC_ROLE_STORAGE,
                                                                               .hello = &c->hello,
                                                                               .limits = rpc_client_limits_default()});
    struct job job = {.client = c, .fiber = fiber};
    io_fiber_spawn(c->loop, job_fiber, &job, NULL);
    io_loop_run(c->loop);
    for (size_t i = 0; i < c->node_count; i++)
        rpc_client_free(&c->nodes[i]);
    io_loop_turn(c->loop, false);
    io_loop_free(&c->loop);
    io_pool_free(&c->resolver);
    io_tls_free(&c->tls);
    return c->failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct client client;
    bool load = argc >= 10 && strcmp(argv[1], "load") == 0;
    bool verify = argc >= 8 && strcmp(argv[1], "verify") == 0;
    bool watch = argc >= 8 && strcmp(argv[1], "watch") == 0;
    if (argc == 8 && strcmp(argv[1], "roles") == 0)
        return check_roles(&client, argv + 2, argv[7]);
    if (!load && !verify && !watch) {
        fprintf(stderr, "usage: storage_client load CA CERT KEY CLUSTER FILE SEED SECONDS ADDRESS...\n"
                        "       storage_client verify CA CERT KEY CLUSTER FILE ADDRESS...\n");
        return 2;
    }
    client.file = fopen(argv[6], load || watch ? "a" : "r");
    if (!client.file) {
        perror(argv[6]);
        return 1;
    }
    int rc;
    if (load) {
        client.seed = strtoull(argv[7], NULL, 10);
        client.until_us = cq_time_mono_us() + strtoull(argv[8], NULL, 10) * CQ_US_PER_S;
        rc = run(&client, argv + 2, argv + 9, argc - 9, load_fiber);
        printf("%u acknowledged, %u unknown, %u failures\n", client.acked, client.unknown, client.failures);
    } else if (watch) {
        client.seed = cq_rand_u64() >> 16;
        rc = run(&client, argv + 2, argv + 7, argc - 7, watch_fiber);
    } else {
        read_file(client.file);
        rc = run(&client, argv + 2, argv + 7, argc - 7, verify_fiber);
        printf("%zu lines checked, %u failures\n", line_count, client.failures);
    }
    fclose(client.file);
    free(lines);
    return rc;
}
