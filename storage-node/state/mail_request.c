/* Requests and their results: (account, client, sequence) acts at most once.
 *
 * Of each client an account remembers the results that the client has not reported as done, and up to where it has. A
 * result may go when it is older than a stamp may be: a duplicate that comes later is refused for its stamp. */
#include "base/cq_endian.h"
#include "state/mail_private.h"

static struct cq_slice client_id(const struct apply *a)
{
    return cq_slice_of(a->entry.client, sizeof a->entry.client);
}

static struct state_key result_key(const struct apply *a, struct cq_slice client, uint64_t sequence)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_RESULT, client);
    key_u64(&key, sequence);
    return key;
}

static enum cq_rc load_client(struct apply *a, struct cq_slice id, struct request *request)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_CLIENT, id);
    struct cq_slice bytes;
    request->client = (struct client_record){0};
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    request->known = rc == CQ_OK;
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    return rc == CQ_OK ? mail_decoded(&a->v, client_record_get(bytes, &request->client), "client") : rc;
}

/* CQ_E_NOT_FOUND when this sequence has no remembered result. */
static enum cq_rc find_result(struct apply *a, const struct request *request, enum cq_rc *rc_r,
                              struct cq_slice *reply_r)
{
    if (!request->known || a->entry.sequence > request->client.highest)
        return CQ_E_NOT_FOUND;
    struct state_key key = result_key(a, client_id(a), a->entry.sequence);
    struct cq_slice bytes;
    struct result_record result;
    enum cq_rc rc = db_get(a->v.m->db, &key, a->v.pool, &bytes);
    if (rc == CQ_OK)
        rc = mail_decoded(&a->v, result_record_get(bytes, &result), "result");
    if (rc != CQ_OK)
        return rc;
    *rc_r = (enum cq_rc)result.rc;
    *reply_r = result.body;
    return CQ_OK;
}

static bool stamp_valid(const struct apply *a)
{
    uint64_t stamp = a->entry.stamp;
    return stamp != 0 && stamp <= a->now && a->now - stamp <= STATE_REQUEST_AGE_US;
}

enum cq_rc request_judge(struct apply *a, enum cq_rc *rc_r, struct cq_slice *reply_r)
{
    struct request *request = &a->request;
    struct cq_err *err = a->v.err;
    if (a->entry.sequence == 0 || a->entry.done >= a->entry.sequence)
        return CQ_FAIL(err, CQ_E_INVALID, "sequence %llu with done %llu", (unsigned long long)a->entry.sequence,
                       (unsigned long long)a->entry.done);
    enum cq_rc rc = load_client(a, client_id(a), request);
    if (rc != CQ_OK)
        return rc;
    rc = find_result(a, request, rc_r, reply_r);
    if (rc != CQ_E_NOT_FOUND)
        return rc == CQ_OK ? CQ_E_EXISTS : rc;
    if (a->entry.sequence <= request->client.done)
        return CQ_FAIL(err, CQ_E_STALE, "sequence %llu was answered before", (unsigned long long)a->entry.sequence);
    if (!stamp_valid(a))
        return CQ_FAIL(err, CQ_E_STALE, "stamp %llu at entry time %llu", (unsigned long long)a->entry.stamp,
                       (unsigned long long)a->now);
    if (!request->known && a->v.account.clients >= STATE_CLIENTS_MAX)
        return CQ_FAIL(err, CQ_E_OVERLOADED, "account remembers %u clients", a->v.account.clients);
    if (request->client.results >= STATE_RESULTS_MAX)
        return CQ_FAIL(err, CQ_E_OVERLOADED, "client has %u results that are not done", request->client.results);
    return CQ_OK;
}

/* How many sequences are deleted one by one before an iterator is cheaper. */
#define SINGLES_MAX 8

static void forget_range(struct apply *a, struct client_record *client, uint64_t first, uint64_t last)
{
    struct state_key from = result_key(a, client_id(a), first), to = result_key(a, client_id(a), last);
    key_u8(&to, 0);
    uint64_t *found = cq_pool_calloc(a->v.pool, client->results, sizeof *found);
    size_t count = 0;
    struct db_iter *iter = db_iter_new(a->v.m->db, key_slice(&from), key_slice(&to));
    while (count < client->results && db_iter_next(iter) == CQ_OK)
        found[count++] = cq_get_be64(db_iter_key(iter).data + db_iter_key(iter).len - 8);
    db_iter_free(&iter);
    for (size_t i = 0; i < count; i++) {
        struct state_key key = result_key(a, client_id(a), found[i]);
        db_delete(a->v.m->db, &key);
    }
    client->results -= (uint32_t)count;
}

/* The results that the client has reported as done. */
static void forget_done(struct apply *a, struct client_record *client)
{
    uint64_t first = client->done + 1, last = a->entry.done;
    if (last < first)
        return;
    client->done = last;
    if (client->results == 0)
        return;
    if (last - first >= SINGLES_MAX) {
        forget_range(a, client, first, last);
        return;
    }
    for (uint64_t sequence = first; sequence <= last && client->results; sequence++) {
        struct state_key key = result_key(a, client_id(a), sequence);
        struct cq_slice bytes;
        if (db_get(a->v.m->db, &key, a->v.pool, &bytes) != CQ_OK)
            continue;
        db_delete(a->v.m->db, &key);
        client->results--;
    }
}

static void save_client(struct apply *a, struct cq_slice id, const struct request *request)
{
    struct state_key key = mail_key_bytes(&a->v, KEY_CLIENT, id);
    struct cq_buf *out = mail_scratch(a->v.m);
    client_record_put(&request->client, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    if (request->known)
        return;
    a->v.account.clients++;
    a->account_dirty = true;
    apply_expire(a, a->now + STATE_REQUEST_AGE_US, a->v.id, KEY_CLIENT, id);
}

static void put_result(struct apply *a, struct cq_slice id, uint64_t sequence, enum cq_rc rc, struct cq_slice reply,
                       struct client_record *client)
{
    struct state_key key = result_key(a, id, sequence);
    struct cq_buf *out = mail_scratch(a->v.m);
    result_record_put(&(struct result_record){a->now, (uint16_t)rc, reply}, out);
    db_put(a->v.m->db, &key, cq_buf_slice(out));
    client->results++;
    client->time = a->now;
    if (sequence > client->highest)
        client->highest = sequence;
}

void request_remember(struct apply *a, enum cq_rc rc, struct cq_slice reply)
{
    put_result(a, client_id(a), a->entry.sequence, rc, reply, &a->request.client);
    forget_done(a, &a->request.client);
    save_client(a, client_id(a), &a->request);
}

enum cq_rc request_remember_for(struct apply *a, struct cq_slice id, uint64_t sequence, struct cq_slice reply)
{
    struct request request;
    enum cq_rc rc = load_client(a, id, &request);
    if (rc != CQ_OK || sequence <= request.client.done) /* nobody waits for it any more */
        return rc;
    put_result(a, id, sequence, CQ_OK, reply, &request.client);
    save_client(a, id, &request);
    return CQ_OK;
}
