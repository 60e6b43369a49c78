/* CHARGE_SENDING: what an account sent in the last 24 hours, exact to the charge: each is kept with its time until it
 * leaves the window, by its id (so that charging twice charges once) and by its time. */
#include "base/cq_endian.h"
#include "state/mail_private.h"

#define CHARGE_ID 16

struct due {
    uint64_t time, recipients;
    uint8_t id[CHARGE_ID];
};

/* Up to max charges, oldest first. */
static enum cq_rc oldest(struct apply *a, struct due *due, size_t max, size_t *count_r)
{
    struct state_key all = mail_key(&a->v, KEY_CHARGE_TIME);
    struct db_iter *iter = db_iter_prefix(a->v.m->db, &all);
    enum cq_rc rc = CQ_OK;
    *count_r = 0;
    while (*count_r < max && (rc = db_iter_next(iter)) == CQ_OK) {
        struct due *row = &due[(*count_r)++];
        struct cq_slice rest = key_rest(db_iter_key(iter));
        row->time = cq_get_be64(rest.data);
        memcpy(row->id, rest.data + 8, CHARGE_ID);
        rc = mail_decoded(&a->v, number_record_get(db_iter_value(iter), &row->recipients), "charge");
        if (rc != CQ_OK)
            break;
    }
    db_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

static bool has_left(const struct apply *a, uint64_t time)
{
    return a->now - time >= STATE_SENDING_WINDOW_US;
}

static void drop_charge(struct apply *a, const struct due *due)
{
    struct state_key by_time = mail_key_u64(&a->v, KEY_CHARGE_TIME, due->time);
    key_bytes(&by_time, due->id, CHARGE_ID);
    struct state_key by_id = mail_key_bytes(&a->v, KEY_CHARGE, cq_slice_of(due->id, CHARGE_ID));
    db_delete(a->v.m->db, &by_time);
    db_delete(a->v.m->db, &by_id);
    a->v.account.charges--;
    a->v.account.window_recipients -= due->recipients;
    a->account_dirty = true;
}

#define SWEEP 256

enum cq_rc apply_sweep_charges(struct apply *a, size_t max, bool *more_r)
{
    struct due *due = cq_pool_alloc(a->v.pool, SWEEP * sizeof *due);
    size_t dropped = 0, count;
    *more_r = false;
    do {
        size_t left = 0, want = max - dropped < SWEEP ? max - dropped : SWEEP;
        enum cq_rc rc = oldest(a, due, want, &count);
        if (rc != CQ_OK)
            return rc;
        for (; left < count && has_left(a, due[left].time); left++)
            drop_charge(a, &due[left]);
        dropped += left;
        *more_r = left == count && count == want && want > 0;
    } while (*more_r && dropped < max);
    return CQ_OK;
}

/* When messages and recipients have left the window so that one more message with `recipients` fits. */
static enum cq_rc clears_at(struct apply *a, uint32_t recipients, int64_t *seconds_r)
{
    const struct account_record *account = &a->v.account;
    struct due *due = cq_pool_alloc(a->v.pool, STATE_EFFECTS_MAX * sizeof *due);
    size_t count, i = 0;
    enum cq_rc rc = oldest(a, due, STATE_EFFECTS_MAX, &count);
    uint64_t messages = account->charges + 1, total = account->window_recipients + recipients;
    uint64_t time = a->now;
    for (; i < count && ((account->sending_messages_day && messages > account->sending_messages_day) ||
                         (account->sending_recipients_day && total > account->sending_recipients_day));
         i++) {
        time = due[i].time + STATE_SENDING_WINDOW_US;
        messages--;
        total -= due[i].recipients;
    }
    *seconds_r = (int64_t)(time / 1000000) + 1;
    return rc;
}

static enum cq_rc check_sending(struct apply *a, const Chasqui__Mail__ChargeSending *charge)
{
    const struct account_record *account = &a->v.account;
    uint32_t n = charge->recipients;
    if (charge->directory_version > account->directory_version)
        return CQ_FAIL(a->v.err, CQ_E_CONFLICT, "the shard has the limits of an older directory version");
    if (n == 0 || charge->charge_id.len != CHARGE_ID)
        return CQ_FAIL(a->v.err, CQ_E_INVALID, "charge of %u recipients", n);
    if ((account->recipients_message && n > account->recipients_message) ||
        (account->sending_recipients_day && n > account->sending_recipients_day))
        return CQ_FAIL(a->v.err, CQ_E_LIMIT, "message to %u recipients", n);
    return CQ_OK;
}

static bool over_limit(const struct account_record *account, uint32_t n)
{
    return account->charges >= STATE_CHARGES_MAX ||
           (account->sending_messages_day && account->charges >= account->sending_messages_day) ||
           (account->sending_recipients_day && account->window_recipients + n > account->sending_recipients_day);
}

static void put_charge(struct apply *a, const Chasqui__Mail__ChargeSending *charge)
{
    struct cq_slice id = mail_bytes(charge->charge_id);
    struct state_key by_id = mail_key_bytes(&a->v, KEY_CHARGE, id);
    struct state_key by_time = mail_key_u64(&a->v, KEY_CHARGE_TIME, a->now);
    key_bytes(&by_time, id.data, id.len);
    struct cq_buf *out = mail_scratch(a->v.m);
    charge_record_put(&(struct charge_record){a->now, charge->recipients}, out);
    db_put(a->v.m->db, &by_id, cq_buf_slice(out));
    out = mail_scratch(a->v.m);
    number_record_put(charge->recipients, out);
    db_put(a->v.m->db, &by_time, cq_buf_slice(out));
    if (a->v.account.charges++ == 0)
        apply_expire(a, a->now + STATE_SENDING_WINDOW_US, a->v.id, KEY_CHARGE_TIME, CQ_SLICE_NONE);
    a->v.account.window_recipients += charge->recipients;
    a->account_dirty = true;
}

COMMAND(cmd_charge_sending)
{
    const Chasqui__Mail__ChargeSending *charge = message;
    Chasqui__Mail__ChargeSendingReply reply = CHASQUI__MAIL__CHARGE_SENDING_REPLY__INIT;
    bool more;
    enum cq_rc rc = check_sending(a, charge);
    if (rc == CQ_OK)
        rc = apply_sweep_charges(a, STATE_EFFECTS_MAX, &more);
    if (rc != CQ_OK)
        return rc;
    struct state_key key = mail_key_bytes(&a->v, KEY_CHARGE, mail_bytes(charge->charge_id));
    struct cq_slice bytes;
    rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc != CQ_E_NOT_FOUND) /* charged before, or the db is broken */
        return rc;
    if (!over_limit(&a->v.account, charge->recipients)) {
        put_charge(a, charge);
        return CQ_OK;
    }
    rc = clears_at(a, charge->recipients, &reply.clears_at);
    if (rc != CQ_OK)
        return rc;
    *reply_r = mail_pack(a->v.pool, &reply.base);
    return CQ_FAIL(a->v.err, CQ_E_RATE, "%u messages to %llu recipients in 24 hours", a->v.account.charges,
                   (unsigned long long)a->v.account.window_recipients);
}
