/* roles: who is let in. */
#include "storage_client.h"

#include "proto/mail.pb-c.h"
#include "proto/system.pb-c.h"

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
    {CHASQUI__SYSTEM__METHOD__VERIFY_REPLICA, RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR},
    {CHASQUI__SYSTEM__METHOD__VERIFY_STATE, RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR},
    {CHASQUI__SYSTEM__METHOD__DISTRUST_REPLICA, RPC_ROLE_ADMIN | RPC_ROLE_OPERATOR},
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

int check_roles(struct client *c, char **args, const char *address)
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
