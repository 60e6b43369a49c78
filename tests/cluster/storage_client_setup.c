#include "storage_client.h"

#include <stdlib.h>

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"

/* ---- Transport: to the leader, by trying ---- */

bool try_on(enum cq_rc rc)
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
        uint64_t attempt = io_loop_deadline(c->loop, c->attempt_ms ? c->attempt_ms : ATTEMPT_MS);
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
        size_t tried = c->leader[group];
        enum rpc_fate fate = rpc_call(c->nodes[tried], &rpc, pool, &reply, err);
        rc = reply.rc;
        bool not_run = reply.flags & RPC_FLAG_NOT_RUN;
        may_have_acted |= fate == RPC_SENT || (fate == RPC_ANSWERED && rc == CQ_E_UNKNOWN_OUTCOME) ||
                          (fate == RPC_ANSWERED && (rc == CQ_E_TIMEOUT || rc == CQ_E_UNAVAILABLE) && !not_run);
        if (fate == RPC_ANSWERED && call->command && may_have_acted && (rc == CQ_E_STALE || (not_run && !try_on(rc))))
            return CQ_FAIL(err, CQ_E_UNKNOWN_OUTCOME, "an earlier attempt may have acted");
        if (fate == RPC_ANSWERED && !try_on(rc)) {
            *answer_r = (struct mailstore_answer){reply.message, reply.raw};
            return rc;
        }
        if (c->leader[group] == tried) /* nobody else of this group has gone on meanwhile */
            c->leader[group] = (tried + 1) % c->node_count;
        if (io_fiber_sleep(20) != CQ_OK)
            return CQ_FAIL(err, CQ_E_CANCELLED, "cancelled");
    }
    return may_have_acted && call->command ? CQ_FAIL(err, CQ_E_UNKNOWN_OUTCOME, "no answer in time")
                                           : CQ_FAIL(err, rc, "%s", cq_rc_text(rc));
}

/* ---- Sessions ---- */

void complain(struct session *s, const char *what, enum cq_rc rc, const struct cq_err *err)
{
    fprintf(stderr, "account %016llx: %s: %s: %s\n", (unsigned long long)s->account.id, what, cq_rc_name(rc),
            err->text);
    s->client->failures++;
}

bool find_inbox(struct session *s)
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

void wrong(struct session *s, uint32_t uid, const char *what)
{
    fprintf(stderr, "account %016llx uid %u: %s\n", (unsigned long long)s->account.id, uid, what);
    s->client->failures++;
}

uint8_t *octets_of(uint64_t seed, uint32_t size)
{
    uint8_t *octets = cq_malloc(size + 8);
    struct cq_prng prng = {seed};
    cq_put_be64(octets, seed);
    for (uint32_t at = 8; at < size; at += 8)
        cq_put_be64(octets + at, cq_prng_next(&prng));
    return octets;
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
    struct session *sessions = cq_calloc(c->accounts, sizeof *sessions);
    uint8_t id[16];
    cq_rand_bytes(id, sizeof id);
    struct mailstore *store = mailstore_new(&c->transport, id, CALL_MS);
    if (!get_topology(c, pool))
        c->failures++;
    for (uint64_t i = 0; i < c->accounts && c->failures == 0; i++) {
        sessions[i] = (struct session){.client = c,
                                       .store = store,
                                       .account = {.id = (i * 65536 / c->accounts) << 48 | (i + 1)},
                                       .prng = {c->seed * 1000 + i},
                                       .pool = cq_pool_new(65536)};
        c->running++;
        io_fiber_spawn(c->loop, job->fiber, &sessions[i], NULL);
    }
    while (c->running)
        io_fiber_sleep(20);
    for (size_t i = 0; i < c->accounts; i++)
        cq_pool_free(&sessions[i].pool);
    free(sessions);
    mailstore_free(&store);
    topology_unref(&c->topology);
    cq_pool_free(&pool);
    job->ended = true;
    io_loop_stop(c->loop);
}

int run_sessions(struct client *c, char **args, char **addresses, int count, void (*fiber)(void *arg))
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
