/* probe: a small append now and then to each account, with its times; and after some of them a read of it from a node
 * that is asked straight, whoever leads. A node that answers must know what was acknowledged before it was asked.
 *
 * A line per call goes to FILE.times: "ok GROUP T0 T1", "no GROUP T0 T1 ERROR", "stale GROUP T0 T1 NODE ACCOUNT UID".
 * Times are microseconds of the monotonic clock. */
#include "storage_client.h"

#include <stdlib.h>

#include "base/cq_time.h"

#define PROBE_SIZE 300
#define PROBE_PAUSE_MS 60
#define PROBE_READ_MS 5000

/* A transport that asks one node, once. */
struct straight {
    struct mailstore_transport transport;
    struct client *client;
    size_t node;
};

static enum cq_rc straight_call(struct mailstore_transport *transport, const struct mailstore_call *call,
                                struct cq_pool *pool, struct mailstore_answer *answer_r, struct cq_err *err)
{
    struct straight *straight = cq_containerof(transport, struct straight, transport);
    struct client *c = straight->client;
    struct rpc_reply_in reply = {0};
    const struct rpc_call rpc = {.method = (uint16_t)call->method,
                                 .group = topology_group_of(c->topology, call->account),
                                 .account = call->account,
                                 .epoch = c->topology->epoch,
                                 .deadline_us = io_loop_deadline(c->loop, PROBE_READ_MS),
                                 .message = call->message,
                                 .raw = call->raw,
                                 .raw_count = call->raw_count};
    if (rpc_call(c->nodes[straight->node], &rpc, pool, &reply, err) != RPC_ANSWERED)
        return CQ_E_UNAVAILABLE;
    *answer_r = (struct mailstore_answer){reply.message, reply.raw};
    return reply.rc;
}

static FILE *times(struct client *c)
{
    return c->arg;
}

static void note(struct session *s, const char *what, uint64_t began, const char *more)
{
    fprintf(times(s->client), "%s %u %llu %llu%s%s\n", what, topology_group_of(s->client->topology, s->account.id),
            (unsigned long long)began, (unsigned long long)cq_time_mono_us(), more[0] ? " " : "", more);
}

static enum cq_rc probe_append(struct session *s, struct mail_appended *appended_r, struct cq_err *err)
{
    uint64_t seed = cq_prng_next(&s->prng);
    uint8_t *octets = octets_of(seed, PROBE_SIZE);
    struct cq_slice body = cq_slice_of(octets, PROBE_SIZE);
    const struct mail_new_message message = {
        .internal_date = 1700000000, .summary = CQ_SLICE("summary"), .octets = &body, .octet_count = 1};
    uint64_t began = cq_time_mono_us();
    enum cq_rc rc = mailstore_append(s->store, &s->account, s->inbox, &message, 1, appended_r, err);
    note(s, rc == CQ_OK ? "ok" : "no", began, rc == CQ_OK ? "" : cq_rc_name(rc));
    if (rc == CQ_OK)
        s->client->acked++;
    else if (rc == CQ_E_UNKNOWN_OUTCOME)
        s->client->unknown++;
    else if (!try_on(rc) && rc != CQ_E_NO_SPACE)
        complain(s, "append", rc, err);
    if (rc == CQ_OK || rc == CQ_E_UNKNOWN_OUTCOME)
        fprintf(s->client->file, "%s %llu %u %llu %u\n", rc == CQ_OK ? "ok" : "unknown",
                (unsigned long long)s->account.id, appended_r->first_uid, (unsigned long long)seed, PROBE_SIZE);
    free(octets);
    return rc;
}

/* With a session of its own: what it has seen before is not told to the node. */
static void ask_straight(struct session *s, struct mailstore *store, struct straight *straight, uint32_t uid)
{
    struct mailstore_account account = {.id = s->account.id};
    struct cq_err err = {0};
    struct uid_range one = {uid, uid};
    const struct uidset uids = {&one, 1};
    struct mail_records records;
    struct fetch_record record;
    uint64_t began = cq_time_mono_us();
    straight->node = cq_prng_below(&s->prng, (uint32_t)s->client->node_count);
    enum cq_rc rc = mailstore_fetch(store, &account, s->inbox, &uids, false, s->pool, &records, &err);
    if (rc == CQ_E_NO_ACCOUNT || rc == CQ_E_NO_MAILBOX ||
        (rc == CQ_OK && fetch_record_next(&records.records, &record) != CQ_OK)) {
        char more[64];
        snprintf(more, sizeof more, "%zu %llu %u", straight->node, (unsigned long long)s->account.id, uid);
        note(s, "stale", began, more);
    }
}

void probe_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    struct cq_err err = {0};
    static const struct mail_limits limits = {.directory_version = 1};
    struct straight straight = {.transport.call = straight_call, .client = c};
    uint8_t id[16];
    cq_rand_bytes(id, sizeof id);
    struct mailstore *direct = mailstore_new(&straight.transport, id, PROBE_READ_MS);
    enum cq_rc rc;
    while ((rc = mailstore_create_account(s->store, &s->account, &limits, CQ_SLICE("x@test"), &err)) != CQ_OK &&
           try_on(rc))
        io_fiber_sleep(100);
    if (rc != CQ_OK)
        complain(s, "create", rc, &err);
    if (rc == CQ_OK)
        find_inbox(s);
    while (s->inbox && !client_stopped && io_loop_now_us(c->loop) < c->until_us && c->failures == 0) {
        struct mail_appended appended = {0};
        cq_pool_clear(s->pool);
        if (probe_append(s, &appended, &err) == CQ_OK && cq_prng_below(&s->prng, 2) == 0)
            ask_straight(s, direct, &straight, appended.first_uid);
        fflush(c->file);
        fflush(times(c));
        io_fiber_sleep(PROBE_PAUSE_MS);
    }
    mailstore_free(&direct);
    c->running--;
}
