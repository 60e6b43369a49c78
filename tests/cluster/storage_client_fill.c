/* fill: appends until the shards refuse for want of space. empty: removes everything, as a client would. poison: asks
 * for a mailbox whose name crashes nodes that have tests/support/poison.c. */
#include "storage_client.h"

#include <stdlib.h>

#include "base/cq_time.h"

#define BODY_BYTES (100u << 10)

static enum cq_rc append(struct session *s, struct cq_err *err)
{
    uint64_t seed = cq_prng_next(&s->prng);
    uint8_t *octets = octets_of(seed, BODY_BYTES);
    struct cq_slice body = cq_slice_of(octets, BODY_BYTES);
    const struct mail_new_message message = {
        .internal_date = 1700000000, .summary = CQ_SLICE("summary"), .octets = &body, .octet_count = 1};
    struct mail_appended appended = {0};
    enum cq_rc rc = mailstore_append(s->store, &s->account, s->inbox, &message, 1, &appended, err);
    if (rc == CQ_OK || rc == CQ_E_UNKNOWN_OUTCOME)
        fprintf(s->client->file, "%s %llu %u %llu %u\n", rc == CQ_OK ? "ok" : "unknown",
                (unsigned long long)s->account.id, appended.first_uid, (unsigned long long)seed, BODY_BYTES);
    free(octets);
    return rc;
}

/* Until it has been refused; `refused` counts the accounts that were. */
void fill_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    struct cq_err err = {0};
    while (!s->inbox && c->failures == 0)
        find_inbox(s);
    while (c->failures == 0 && io_loop_now_us(c->loop) < c->until_us) {
        cq_pool_clear(s->pool);
        enum cq_rc rc = append(s, &err);
        if (rc == CQ_E_NO_SPACE) {
            c->refused++;
            break;
        }
        if (rc == CQ_OK)
            c->acked++;
        else if (!try_on(rc))
            complain(s, "append", rc, &err);
    }
    c->running--;
}

/* \Deleted, then EXPUNGE, a piece at a time. */
static enum cq_rc remove_some(struct session *s, uint32_t first, uint32_t last, struct cq_err *err)
{
    struct uidset_builder all;
    struct uidset gone;
    uint64_t modseq;
    uidset_builder_init(&all, s->pool);
    uidset_builder_add(&all, first, last);
    struct uidset uids = uidset_builder_finish(&all);
    const struct mail_store deleted = {
        .mailbox = s->inbox, .uids = &uids, .mode = MAIL_STORE_ADD, .flags = MAIL_DELETED};
    enum cq_rc rc = mailstore_store(s->store, &s->account, &deleted, s->pool, &gone, &modseq, err);
    if (rc == CQ_OK)
        rc = mailstore_expunge(s->store, &s->account, s->inbox, &uids, s->pool, &gone, err);
    if (rc == CQ_OK)
        s->client->acked += (unsigned)uidset_size(&gone);
    return rc;
}

#define PIECE 500
#define UID_MOST 20000

void empty_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    struct cq_err err = {0};
    while (!s->inbox && c->failures == 0)
        find_inbox(s);
    for (uint32_t uid = 1; uid < UID_MOST && c->failures == 0;) {
        cq_pool_clear(s->pool);
        enum cq_rc rc = remove_some(s, uid, uid + PIECE - 1, &err);
        if (rc == CQ_OK)
            uid += PIECE;
        else if (!try_on(rc))
            complain(s, "expunge", rc, &err);
        else
            io_fiber_sleep(100);
    }
    c->running--;
}

/* The first account alone; whatever comes of it. */
void poison_fiber(void *arg)
{
    struct session *s = arg;
    struct client *c = s->client;
    struct cq_err err = {0};
    uint64_t id;
    if (c->arg == NULL) {
        c->arg = s;
        static const struct mail_limits limits = {.directory_version = 1};
        enum cq_rc rc = mailstore_create_account(s->store, &s->account, &limits, CQ_SLICE("x@test"), &err);
        if (rc == CQ_OK)
            rc = mailstore_create(s->store, &s->account, CQ_SLICE("CHASQUI-POISON"), MAIL_USE_NONE, &id, &err);
        printf("shard %u: %s\n", topology_group_of(c->topology, s->account.id), cq_rc_name(rc));
    }
    c->running--;
}
