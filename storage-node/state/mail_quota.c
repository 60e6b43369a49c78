/* Storage quota: exact, judged in the entry that adds. Events say once that a threshold was passed, not at each
 * refusal. */
#include "state/mail_private.h"

#define WARN_PERCENT 90

struct quota {
    const char *kind;
    uint64_t used, limit; /* limit 0: none */
};

static void quotas_of(const struct account_record *account, struct quota out[static 2])
{
    out[0] = (struct quota){"bytes", account->used_bytes, account->quota_bytes};
    out[1] = (struct quota){"messages", account->used_messages, account->quota_messages};
}

static bool over(const struct quota *q, uint64_t more)
{
    return q->limit && (q->used > q->limit || more > q->limit - q->used);
}

static bool warned(const struct quota *q)
{
    return q->limit && q->used >= q->limit - q->limit / (100 / (100 - WARN_PERCENT));
}

static void quota_event(struct apply *a, Chasqui__Outbox__Type type, const struct quota *q)
{
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    Chasqui__Outbox__Quota quota = CHASQUI__OUTBOX__QUOTA__INIT;
    event.type = type;
    event.quota = &quota;
    quota.kind = (char *)q->kind;
    quota.used = q->used;
    quota.limit = q->limit;
    if (type == CHASQUI__OUTBOX__TYPE__QUOTA_WARNING)
        quota.threshold_percent = WARN_PERCENT;
    apply_event(a, &event);
}

enum cq_rc apply_quota(struct apply *a, uint64_t bytes, uint64_t messages)
{
    struct quota q[2];
    quotas_of(&a->v.account, q);
    if (over(&q[0], bytes) || over(&q[1], messages))
        return CQ_FAIL(a->v.err, CQ_E_OVER_QUOTA, "%llu bytes and %llu messages more", (unsigned long long)bytes,
                       (unsigned long long)messages);
    return CQ_OK;
}

void apply_quota_refused(struct apply *a)
{
    struct account_record *account = &a->v.account;
    if (account->quota_state & QUOTA_EXCEEDED)
        return;
    struct quota q[2];
    quotas_of(account, q);
    account->quota_state |= QUOTA_EXCEEDED;
    a->account_dirty = true;
    /* Which of the two refused: the one that is nearer to its limit. */
    bool bytes = q[0].limit && (!q[1].limit || q[1].used < q[1].limit);
    quota_event(a, CHASQUI__OUTBOX__TYPE__QUOTA_EXCEEDED, &q[bytes ? 0 : 1]);
}

void apply_quota_events(struct apply *a)
{
    struct account_record *account = &a->v.account;
    struct quota q[2];
    quotas_of(account, q);
    const struct quota *high = warned(&q[0]) ? &q[0] : warned(&q[1]) ? &q[1] : NULL;
    if (high && !(account->quota_state & QUOTA_WARNED)) {
        account->quota_state |= QUOTA_WARNED;
        a->account_dirty = true;
        quota_event(a, CHASQUI__OUTBOX__TYPE__QUOTA_WARNING, high);
    }
    if (high || !account->quota_state)
        return;
    if (account->quota_state & QUOTA_EXCEEDED)
        quota_event(a, CHASQUI__OUTBOX__TYPE__QUOTA_RECOVERED, &q[q[0].limit ? 0 : 1]);
    account->quota_state = 0;
    a->account_dirty = true;
}
