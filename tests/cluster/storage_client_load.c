/* load: appends, and keeps a record of what was acknowledged. */
#include "storage_client.h"

#include <stdlib.h>

#include "base/cq_endian.h"
#include "base/cq_time.h"

#define STAGED_FROM (400u << 10) /* octets: larger bodies are staged */

static uint32_t size_of(uint64_t seed)
{
    struct cq_prng prng = {seed};
    uint32_t kind = cq_prng_below(&prng, 100);
    if (kind < 2)
        return STAGED_FROM + cq_prng_below(&prng, 1u << 20);
    return 100 + cq_prng_below(&prng, kind < 30 ? 40000 : 4000);
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

static void note_acked(struct session *s)
{
    struct client *c = s->client;
    uint64_t now = cq_time_mono_us(), since = now - s->acked_us;
    c->acked++;
    if (s->acked_us && since > c->longest_us)
        c->longest_us = since;
    s->acked_us = now;
}

void append_one(struct session *s)
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
        note_acked(s);
    else if (appending && rc == CQ_E_UNKNOWN_OUTCOME)
        s->client->unknown++;
    else if (!try_on(rc))
        complain(s, appending ? "append" : "stage", rc, &err);
    if (rc == CQ_OK || (appending && rc == CQ_E_UNKNOWN_OUTCOME))
        fprintf(s->client->file, "%s %llu %u %llu %u\n", rc == CQ_OK ? "ok" : "unknown",
                (unsigned long long)s->account.id, appended.first_uid, (unsigned long long)seed, size);
    free(octets);
}

void load_fiber(void *arg)
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
