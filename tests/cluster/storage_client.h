/* What the verbs of storage_client share: a connection to each node, a transport that finds leaders by trying, sessions
 * of accounts, and messages that follow from their seed. */
#ifndef STORAGE_CLIENT_H
#define STORAGE_CLIENT_H

#include <signal.h>
#include <stdio.h>

#include "base/cq_rand.h"
#include "cluster/topology.h"
#include "io/io_fiber.h"
#include "io/io_pool.h"
#include "io/io_tls.h"
#include "mailstore/mailstore.h"
#include "rpc/rpc_client.h"

#define ACCOUNTS_MAX 1024
#define NODES_MAX 16
#define CALL_MS 8000
#define ATTEMPT_MS 1500
#define ATTEMPT_PROBE_MS 500

extern volatile sig_atomic_t client_stopped; /* probe ends when its calls have ended */

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
    unsigned accounts; /* sessions that run at once */
    unsigned running, failures, acked, unknown, refused;
    uint64_t longest_us; /* load: between two acknowledgements of one account */
    uint32_t attempt_ms; /* 0: ATTEMPT_MS */
    void *arg;           /* the verb's */
};

struct session {
    struct client *client;
    struct mailstore *store;
    struct mailstore_account account;
    uint64_t acked_us; /* load: the last time */
    struct cq_prng prng;
    uint64_t inbox;
    struct cq_pool *pool;
};

/* ---- storage_client_setup.c ---- */

/* May another node, or the same one later, give a better answer? */
bool try_on(enum cq_rc rc);
void complain(struct session *s, const char *what, enum cq_rc rc, const struct cq_err *err);
/* Something that must not be: counted, and told. */
void wrong(struct session *s, uint32_t uid, const char *what);
bool find_inbox(struct session *s);

/* Connects to the nodes, learns the topology, runs `fiber` once per account (its argument is a struct session) and
 * waits for all. args: CA, CERT, KEY, CLUSTER. The exit status. */
int run_sessions(struct client *c, char **args, char **addresses, int count, void (*fiber)(void *arg));

/* The octets of a message: free() them. */
uint8_t *octets_of(uint64_t seed, uint32_t size);

/* ---- The verbs ---- */
void append_one(struct session *s);
void load_fiber(void *arg);
void fill_fiber(void *arg);
void empty_fiber(void *arg);
void poison_fiber(void *arg);
void verify_read_file(FILE *file);
size_t verify_line_count(void);
void verify_fiber(void *arg);
void watch_fiber(void *arg);
void probe_fiber(void *arg); /* client.arg: the FILE of its times */
int check_roles(struct client *c, char **args, const char *address);

#endif
