#include "limits/quota_client.h"

#include "base/cq_endian.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"
#include "base/cq_metrics.h"
#include "base/cq_rand.h"
#include "limits/lease_table.h"
#include "limits/rate_table.h"
#include "proto/quota.pb-c.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define LOCAL_RATE_KEYS 20000
#define ITEMS_MAX 4      /* of one question */
#define RESEND_ITEMS 500 /* of one message when all counts are sent again */
#define PREFIX_V4 32
#define PREFIX_V6 64
#define LOGIN_MAX 200 /* bytes of a login name in a key */

/* One key that this worker holds a count of. */
struct held {
    struct limit_key id;
    uint32_t kind;
    uint32_t count;
    struct cq_list link;
    UT_hash_handle hh;
    size_t key_len;
    uint8_t key[];
};

struct quota_client {
    struct quota_client_config config;
    struct io_cidr *exempt;
    size_t exempt_count;
    struct lease_holder_id holder;
    struct rate_table *rates; /* our own, for when nobody answers */
    struct held *held;
    struct cq_list held_list;
    size_t held_count;
    uint64_t number;    /* of the last Counts message */
    bool resend;        /* the service may not have our counts */
    uint64_t paused_us; /* until then nobody is asked */
    struct io_timer renew;
    struct rpc_pending *renewing;
};

/* ---- Metrics ---- */

enum { M_LOCAL, M_REFUSED };

static const char *const kind_names[] = {
#define RATE_LABEL(name, number, text, count, period, without_redis, help) text,
    QUOTA_RATES(RATE_LABEL)
#undef RATE_LABEL
#define COUNT_LABEL(name, number, text, count, help) text,
        QUOTA_COUNTS(COUNT_LABEL)
#undef COUNT_LABEL
};

static const struct cq_metric metric_rows[] = {
    [M_LOCAL] = CQ_COUNTER("chasqui_quota_local_total",
                           "Questions that this process answered itself, because the quota-service did not",
                           CQ_LABEL("limit", kind_names)),
    [M_REFUSED] =
        CQ_COUNTER("chasqui_quota_refused_total", "What was refused, by limit", CQ_LABEL("limit", kind_names)),
};

struct cq_metrics quota_client_metrics = CQ_METRICS_OF(metric_rows);

static unsigned rate_label(uint32_t kind)
{
    return kind - 1;
}

static unsigned count_label(uint32_t kind)
{
    return QUOTA_RATE_END - 1 + kind - 1;
}

/* ---- Keys ---- */

struct key {
    uint8_t data[QUOTA_KEY_MAX];
    size_t len;
};

static void key_add(struct key *key, const void *data, size_t len)
{
    size_t room = sizeof key->data - key->len;
    size_t n = len < room ? len : room;
    memcpy(key->data + key->len, data, n);
    key->len += n;
}

static void key_add_peer(struct key *key, const struct io_addr *peer)
{
    struct io_addr net = io_addr_masked(peer, PREFIX_V4, PREFIX_V6);
    key_add(key, &net.family, 1);
    key_add(key, net.ip, sizeof net.ip);
}

/* ASCII case does not make another name. */
static void key_add_login(struct key *key, struct cq_slice login)
{
    login = cq_slice_sub(login, 0, LOGIN_MAX);
    for (size_t i = 0; i < login.len; i++) {
        uint8_t c = cq_ascii_lower(login.data[i]);
        key_add(key, &c, 1);
    }
}

static bool is_exempt(const struct quota_client *client, const struct io_addr *peer)
{
    return peer->family == IO_UNSPEC || io_cidr_match_any(client->exempt, client->exempt_count, peer);
}

/* ---- Our share ---- */

static uint64_t share_of(const struct quota_client *client, int64_t count)
{
    if (count <= 0)
        return 0; /* no limit */
    uint64_t share = (uint64_t)count / client->config.shares;
    return share ? share : 1;
}

static struct gcra_limit rate_share(const struct quota_client *client, uint32_t kind)
{
    const struct quota_rate_limit *limit = &client->config.limits->rates[kind];
    return (struct gcra_limit){share_of(client, limit->count), limit->period_us};
}

/* ---- Asking ---- */

static bool may_ask(const struct quota_client *client)
{
    return client->config.rpc && io_loop_now_us(client->config.loop) >= client->paused_us;
}

static void pause_asking(struct quota_client *client)
{
    client->paused_us = io_loop_now_us(client->config.loop) + QUOTA_PAUSE_US;
    client->resend = true;
}

static void pack(struct cq_buf *out, const ProtobufCMessage *message)
{
    uint8_t *at = cq_buf_reserve(out, protobuf_c_message_get_packed_size(message));
    if (at)
        cq_buf_commit(out, protobuf_c_message_pack(message, at));
}

static struct rpc_call call_of(const struct quota_client *client, uint16_t method, const struct cq_buf *message)
{
    return (struct rpc_call){.method = method,
                             .deadline_us = io_loop_now_us(client->config.loop) + client->config.timeout_us,
                             .message = cq_buf_slice(message)};
}

/* CQ_OK: there is a verdict. CQ_E_CANCELLED: the caller goes. Otherwise nobody answered. */
static enum cq_rc ask(struct quota_client *client, uint16_t method, const ProtobufCMessage *message,
                      struct gcra_verdict *verdict_r, uint32_t *refused_r)
{
    struct cq_buf out;
    struct rpc_reply_in reply = {0};
    struct cq_pool *pool = cq_pool_new(512);
    Chasqui__Quota__Verdict *verdict = NULL;
    cq_buf_init(&out, RPC_PAYLOAD_MAX);
    pack(&out, message);
    const struct rpc_call call = call_of(client, method, &out);
    enum rpc_fate fate = rpc_call(client->config.rpc, &call, pool, &reply, NULL);
    enum cq_rc rc = fate == RPC_ANSWERED || reply.rc == CQ_E_CANCELLED ? reply.rc : CQ_E_UNAVAILABLE;
    if (rc == CQ_OK && !(verdict = chasqui__quota__verdict__unpack(NULL, reply.message.len, reply.message.data)))
        rc = CQ_E_PROTO;
    if (rc == CQ_OK) {
        *verdict_r = (struct gcra_verdict){.allowed = verdict->allowed, .retry_after_us = verdict->retry_after_us};
        *refused_r = verdict->refused;
    } else {
        pause_asking(client);
    }
    chasqui__quota__verdict__free_unpacked(verdict, NULL);
    cq_buf_fini(&out);
    cq_pool_free(&pool);
    return rc;
}

static enum cq_rc tell(struct quota_client *client, uint16_t method, const ProtobufCMessage *message)
{
    struct cq_buf out;
    if (!client->config.rpc)
        return CQ_E_UNAVAILABLE;
    cq_buf_init(&out, RPC_PAYLOAD_MAX);
    pack(&out, message);
    const struct rpc_call call = call_of(client, method, &out);
    enum cq_rc rc = rpc_oneway(client->config.rpc, &call);
    cq_buf_fini(&out);
    return rc;
}

/* ---- Rates ---- */

struct rate_item {
    uint32_t kind;
    struct key key;
};

struct rate_items {
    struct rate_item items[ITEMS_MAX];
    size_t count;
};

static struct key *rates_add(struct rate_items *rates, enum quota_rate kind)
{
    struct rate_item *item = &rates->items[rates->count++];
    item->kind = kind;
    item->key.len = 0;
    return &item->key;
}

struct rates_message {
    Chasqui__Quota__Rates message;
    Chasqui__Quota__Rate items[ITEMS_MAX], *pointers[ITEMS_MAX];
};

static void rates_message(const struct rate_items *rates, bool peek, struct rates_message *m)
{
    chasqui__quota__rates__init(&m->message);
    for (size_t i = 0; i < rates->count; i++) {
        chasqui__quota__rate__init(&m->items[i]);
        m->items[i].kind = rates->items[i].kind;
        m->items[i].key = (ProtobufCBinaryData){rates->items[i].key.len, (uint8_t *)rates->items[i].key.data};
        m->items[i].cost = 1;
        m->pointers[i] = &m->items[i];
    }
    m->message.n_items = rates->count;
    m->message.items = m->pointers;
    m->message.peek = peek;
}

static struct limit_key rate_id(const struct rate_item *item)
{
    return limit_key_of(item->kind, cq_slice_of(item->key.data, item->key.len));
}

static void charge_here(struct quota_client *client, const struct rate_items *rates)
{
    for (size_t i = 0; i < rates->count; i++) {
        struct gcra_limit limit = rate_share(client, rates->items[i].kind);
        struct limit_key id = rate_id(&rates->items[i]);
        rate_table_charge(client->rates, &id, &limit, 1, io_loop_now_us(client->config.loop));
    }
}

static struct gcra_verdict decide_here(struct quota_client *client, const struct rate_items *rates, uint32_t *refused_r)
{
    for (size_t i = 0; i < rates->count; i++) {
        struct gcra_limit limit = rate_share(client, rates->items[i].kind);
        struct limit_key id = rate_id(&rates->items[i]);
        struct gcra_verdict verdict =
            rate_table_peek(client->rates, &id, &limit, 1, io_loop_now_us(client->config.loop));
        cq_metric_add(&quota_client_metrics, M_LOCAL, 1, rate_label(rates->items[i].kind));
        *refused_r = (uint32_t)i;
        if (!verdict.allowed)
            return verdict;
    }
    return (struct gcra_verdict){.allowed = true};
}

/* CQ_OK or CQ_E_RATE (or CQ_E_CANCELLED). Taken rates are charged here too, so that our share knows them. */
static enum cq_rc check_rates(struct quota_client *client, const struct rate_items *rates, bool peek,
                              uint64_t *retry_after_s, struct cq_err *err)
{
    struct gcra_verdict verdict = {0};
    uint32_t refused = 0;
    enum cq_rc rc = CQ_E_UNAVAILABLE;
    if (may_ask(client)) {
        struct rates_message m;
        rates_message(rates, peek, &m);
        rc = ask(client, CHASQUI__QUOTA__METHOD__RATE_CHECK, &m.message.base, &verdict, &refused);
    }
    if (rc == CQ_E_CANCELLED)
        return rc;
    if (rc != CQ_OK)
        verdict = decide_here(client, rates, &refused);
    if (verdict.allowed && !peek)
        charge_here(client, rates);
    if (verdict.allowed)
        return CQ_OK;
    uint32_t kind = refused < rates->count ? rates->items[refused].kind : rates->items[0].kind;
    cq_metric_add(&quota_client_metrics, M_REFUSED, 1, rate_label(kind));
    if (retry_after_s)
        *retry_after_s = verdict.retry_after_us / 1000000 + 1;
    return CQ_FAIL(err, CQ_E_RATE, "over limits.%s", quota_rate_name((enum quota_rate)kind));
}

static void auth_items(const struct quota_client *client, struct cq_slice login, const struct io_addr *peer,
                       struct rate_items *rates)
{
    rates->count = 0;
    key_add_login(rates_add(rates, QUOTA_AUTH_ACCOUNT), login);
    if (is_exempt(client, peer))
        return;
    key_add_peer(rates_add(rates, QUOTA_AUTH_ADDRESS), peer);
    struct key *pair = rates_add(rates, QUOTA_AUTH_PAIR);
    key_add_peer(pair, peer);
    key_add_login(pair, login);
}

enum cq_rc quota_auth_allowed(struct quota_client *client, struct cq_slice login, const struct io_addr *peer,
                              uint64_t *retry_after_s, struct cq_err *err)
{
    struct rate_items rates;
    auth_items(client, login, peer, &rates);
    return check_rates(client, &rates, true, retry_after_s, err);
}

void quota_auth_failed(struct quota_client *client, struct cq_slice login, const struct io_addr *peer)
{
    struct rate_items rates;
    struct rates_message m;
    auth_items(client, login, peer, &rates);
    charge_here(client, &rates);
    rates_message(&rates, false, &m);
    tell(client, CHASQUI__QUOTA__METHOD__RATE_CHARGE, &m.message.base);
}

/* ---- Counts ---- */

static struct held *find_held(struct quota_client *client, uint32_t kind, const struct key *key)
{
    struct limit_key id = limit_key_of(kind, cq_slice_of(key->data, key->len));
    struct held *held;
    HASH_FIND(hh, client->held, &id, sizeof id, held);
    return held;
}

static struct held *add_held(struct quota_client *client, uint32_t kind, const struct key *key)
{
    struct held *held = cq_calloc(1, sizeof *held + key->len);
    held->id = limit_key_of(kind, cq_slice_of(key->data, key->len));
    held->kind = kind;
    held->key_len = key->len;
    memcpy(held->key, key->data, key->len);
    HASH_ADD(hh, client->held, id, sizeof held->id, held);
    cq_list_push_back(&client->held_list, &held->link);
    client->held_count++;
    return held;
}

static void drop_held(struct quota_client *client, struct held *held)
{
    HASH_DEL(client->held, held);
    cq_list_remove(&held->link);
    client->held_count--;
    free(held);
}

struct counts_message {
    Chasqui__Quota__Counts message;
    Chasqui__Quota__Count items[RESEND_ITEMS], *pointers[RESEND_ITEMS];
};

static void counts_init(struct quota_client *client, struct counts_message *m, bool replace)
{
    chasqui__quota__counts__init(&m->message);
    m->message.holder = (ProtobufCBinaryData){sizeof client->holder.bytes, client->holder.bytes};
    m->message.number = ++client->number;
    m->message.replace = replace;
    m->message.items = m->pointers;
}

static void counts_add(struct counts_message *m, const struct held *held)
{
    size_t i = m->message.n_items++;
    chasqui__quota__count__init(&m->items[i]);
    m->items[i].kind = held->kind;
    m->items[i].key = (ProtobufCBinaryData){held->key_len, (uint8_t *)held->key};
    m->items[i].count = held->count;
    m->pointers[i] = &m->items[i];
}

/* Large for a fiber's stack, so from the heap. */
static enum cq_rc tell_counts(struct quota_client *client, struct counts_message *m)
{
    enum cq_rc rc = tell(client, CHASQUI__QUOTA__METHOD__COUNT_SET, &m->message.base);
    if (rc != CQ_OK)
        client->resend = true;
    return rc;
}

static void tell_count(struct quota_client *client, const struct held *held)
{
    struct counts_message *m = cq_new(struct counts_message);
    counts_init(client, m, false);
    counts_add(m, held);
    tell_counts(client, m);
    free(m);
}

/* All counts again; the first message replaces what the service has of us. */
static void resend_counts(struct quota_client *client)
{
    struct counts_message *m = cq_new(struct counts_message);
    enum cq_rc rc = CQ_OK;
    client->resend = false;
    counts_init(client, m, true);
    cq_list_each (&client->held_list, node) {
        if (m->message.n_items == RESEND_ITEMS) {
            if ((rc = tell_counts(client, m)) != CQ_OK)
                break;
            counts_init(client, m, false);
        }
        counts_add(m, cq_list_entry(node, struct held, link));
    }
    if (rc == CQ_OK)
        tell_counts(client, m);
    free(m);
}

static void give_back(struct quota_client *client, struct held *held)
{
    held->count--;
    tell_count(client, held);
    if (held->count == 0)
        drop_held(client, held);
}

static enum cq_rc ask_count(struct quota_client *client, const struct held *held, struct gcra_verdict *verdict_r)
{
    uint32_t refused;
    struct counts_message *m = cq_new(struct counts_message);
    counts_init(client, m, false);
    counts_add(m, held);
    enum cq_rc rc = ask(client, CHASQUI__QUOTA__METHOD__COUNT_BEGIN, &m->message.base, verdict_r, &refused);
    free(m);
    return rc;
}

/* One more of this key. It is counted before the question, so that fibers that ask at the same time ask for different
 * numbers; the entry lives as long as we have counted it. */
static enum cq_rc begin(struct quota_client *client, enum quota_count kind, const struct key *key, struct cq_err *err)
{
    int64_t limit = client->config.limits->counts[kind];
    struct gcra_verdict verdict = {0};
    struct held *held = find_held(client, kind, key);
    if (!held && client->held_count >= QUOTA_HELD_MAX)
        return CQ_FAIL(err, CQ_E_LIMIT, "too many different accounts or addresses");
    if (!held)
        held = add_held(client, kind, key);
    held->count++;
    uint32_t count = held->count;
    enum cq_rc rc = may_ask(client) ? ask_count(client, held, &verdict) : CQ_E_UNAVAILABLE;
    if (rc != CQ_OK && rc != CQ_E_CANCELLED) {
        uint64_t share = share_of(client, limit);
        cq_metric_add(&quota_client_metrics, M_LOCAL, 1, count_label(kind));
        verdict.allowed = share == 0 || count <= share;
        client->resend = true;
    }
    if (verdict.allowed)
        return CQ_OK;
    give_back(client, held);
    if (rc == CQ_E_CANCELLED)
        return rc;
    cq_metric_add(&quota_client_metrics, M_REFUSED, 1, count_label(kind));
    return CQ_FAIL(err, CQ_E_LIMIT, "over limits.%s", quota_count_name(kind));
}

static void end(struct quota_client *client, enum quota_count kind, const struct key *key)
{
    struct held *held = find_held(client, kind, key);
    if (held)
        give_back(client, held);
}

static struct key account_key(uint64_t account)
{
    struct key key = {.len = 0};
    uint8_t bytes[8];
    cq_put_be64(bytes, account);
    key_add(&key, bytes, sizeof bytes);
    return key;
}

enum cq_rc quota_session_begin(struct quota_client *client, uint64_t account, struct cq_err *err)
{
    struct key key = account_key(account);
    return begin(client, QUOTA_SESSIONS_ACCOUNT, &key, err);
}

void quota_session_end(struct quota_client *client, uint64_t account)
{
    struct key key = account_key(account);
    end(client, QUOTA_SESSIONS_ACCOUNT, &key);
}

enum cq_rc quota_connection_begin(struct quota_client *client, const struct io_addr *peer, struct cq_err *err)
{
    struct rate_items rates = {.count = 0};
    struct key key = {.len = 0};
    if (is_exempt(client, peer))
        return CQ_OK;
    key_add_peer(rates_add(&rates, QUOTA_CONNECT), peer);
    enum cq_rc rc = check_rates(client, &rates, false, NULL, err);
    if (rc != CQ_OK)
        return rc;
    key_add_peer(&key, peer);
    return begin(client, QUOTA_SESSIONS_ADDRESS, &key, err);
}

void quota_connection_end(struct quota_client *client, const struct io_addr *peer)
{
    struct key key = {.len = 0};
    if (is_exempt(client, peer))
        return;
    key_add_peer(&key, peer);
    end(client, QUOTA_SESSIONS_ADDRESS, &key);
}

/* ---- The lease ---- */

static void on_renewed(void *ctx, enum rpc_fate fate, const struct rpc_reply_in *reply)
{
    struct quota_client *client = ctx;
    client->renewing = NULL;
    if (fate != RPC_ANSWERED || reply->rc != CQ_OK) {
        client->resend = true;
        return;
    }
    Chasqui__Quota__Renewed *renewed = chasqui__quota__renewed__unpack(NULL, reply->message.len, reply->message.data);
    if (!renewed || !renewed->known || client->resend)
        resend_counts(client);
    chasqui__quota__renewed__free_unpacked(renewed, NULL);
}

static void on_renew_timer(struct io_timer *timer)
{
    struct quota_client *client = cq_containerof(timer, struct quota_client, renew);
    Chasqui__Quota__Renew renew = CHASQUI__QUOTA__RENEW__INIT;
    struct cq_buf out;
    io_timer_start(timer, client->config.renew_us / 1000);
    if (client->renewing)
        return;
    cq_buf_init(&out, 256);
    renew.holder = (ProtobufCBinaryData){sizeof client->holder.bytes, client->holder.bytes};
    renew.number = client->number;
    pack(&out, &renew.base);
    const struct rpc_call call = call_of(client, CHASQUI__QUOTA__METHOD__RENEW, &out);
    client->renewing = rpc_call_start(client->config.rpc, &call, on_renewed, client);
    cq_buf_fini(&out);
}

/* ---- Life ---- */

static enum cq_rc read_exempt(struct quota_client *client, struct cq_err *err)
{
    const struct cq_strings *list = &client->config.limits->exempt;
    client->exempt = cq_calloc(list->count + 1, sizeof *client->exempt);
    for (size_t i = 0; i < list->count; i++) {
        enum cq_rc rc = io_cidr_parse(cq_slice_cstr(list->items[i]), &client->exempt[i], err);
        if (rc != CQ_OK)
            return CQ_FAIL(err, CQ_E_CONFIG, "limits.exempt: \"%s\" is no network", list->items[i]);
        client->exempt_count++;
    }
    return CQ_OK;
}

enum cq_rc quota_client_new(const struct quota_client_config *config, struct quota_client **client_r,
                            struct cq_err *err)
{
    struct quota_client *client = cq_new(struct quota_client);
    client->config = *config;
    client->config.shares = config->shares ? config->shares : 1;
    client->config.timeout_us = config->timeout_us ? config->timeout_us : QUOTA_TIMEOUT_US;
    client->config.renew_us = config->renew_us ? config->renew_us : QUOTA_RENEW_US;
    client->rates = rate_table_new(LOCAL_RATE_KEYS);
    cq_list_init(&client->held_list);
    cq_rand_bytes(&client->holder, sizeof client->holder);
    io_timer_init(&client->renew, config->loop, on_renew_timer);
    enum cq_rc rc = read_exempt(client, err);
    if (rc != CQ_OK)
        quota_client_free(&client);
    else if (config->rpc)
        io_timer_start(&client->renew, 0);
    *client_r = client;
    return rc;
}

void quota_client_leave(struct quota_client *client)
{
    if (!client)
        return;
    if (client->renewing)
        rpc_call_cancel(&client->renewing);
    io_timer_stop(&client->renew);
    client->config.rpc = NULL;
}

void quota_client_free(struct quota_client **client)
{
    struct quota_client *c = *client;
    if (!c)
        return;
    quota_client_leave(c);
    cq_list_each_safe (&c->held_list, node)
        drop_held(c, cq_list_entry(node, struct held, link));
    rate_table_free(&c->rates);
    free(c->exempt);
    free(c);
    *client = NULL;
}
