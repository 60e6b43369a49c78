/* A loop, certificates of every role made by deploy/make-certs, servers and clients over loopback TLS: what the tests
 * of conversations share. Test bodies run on a fiber. */
#ifndef RPC_FIXTURE_H
#define RPC_FIXTURE_H

#include "io/io_conn.h"
#include "io/io_pool.h"
#include "rpc/rpc_client.h"
#include "rpc/rpc_server.h"

#include "unit/cq_cmocka.h"

/* Roles by the names of their files: "frontend", "storage", ... FX_NODE_ROLE: a storage node's whose certificate names
 * FX_NODE. A name that begins with "other/" is of the same CA but
 * another cluster's, "foreign/" of another CA. */
#define FX_NODE "01234567-89ab-4cde-8f00-010203040506"
#define FX_NODE_ROLE "storage-" FX_NODE
extern struct io_loop *fx_loop;
extern struct io_pool *fx_pool;
extern struct rpc_hello fx_hello; /* of cluster c1 */

int fx_group_setup(void **state); /* makes the certificates once */
int fx_group_teardown(void **state);
int fx_setup(void **state); /* a new loop for each test */
int fx_teardown(void **state);

struct io_tls *fx_tls_server(const char *role);
struct io_tls *fx_tls_client(const char *role); /* NULL: without a certificate */

/* Has the test's body failed in the middle? Then nothing of it can be freed: teardowns leave it, and the program ends
 * with this test. */
bool fx_broken(void);

/* Runs fn(arg) on a fiber and turns the loop until it has ended. */
void fx_run(void (*fn)(void *arg), void *arg);

/* A server with these methods and the "storage" certificate, listening at fx_address. Freed by fx_server_free. */
struct fx_server {
    struct rpc_server *server;
    struct io_tls *tls;
    struct rpc_service service;
    char address[64];
};
struct fx_server *fx_server_new(const struct rpc_method *methods, size_t count, void *ctx,
                                const struct rpc_server_config *like, const char *role);
void fx_server_free(struct fx_server **server);

struct fx_client {
    struct rpc_client *client;
    struct io_tls *tls;
};
/* like: limits, on_state, peer_roles (0: storage); may be NULL. */
struct fx_client *fx_client_new(const char *address, const char *role, const struct rpc_client_config *like);
void fx_client_free(struct fx_client **client);

/* On a fiber: a bare TLS connection with paused input, for bytes by hand. */
struct io_conn *fx_raw_connect(const char *address, struct io_tls *tls);
/* Appends a frame to a buffer. */
void fx_put_frame(struct cq_buf *buf, struct rpc_frame frame, struct cq_slice message, struct cq_slice raw);
void fx_put_hello(struct cq_buf *buf, const char *cluster);
/* On a fiber: the next frame that the peer sends; CQ_E_EOF and so on as io_conn_read_more. */
enum cq_rc fx_raw_next(struct io_conn *conn, struct rpc_frame_reader *reader, struct rpc_frame *frame_r,
                       struct rpc_payload **payload_r);

/* On a fiber: a call with a deadline of 5 s; the reply's bytes live in fx_reply_pool until the test ends. */
extern struct cq_pool *fx_reply_pool;
enum rpc_fate fx_call(struct rpc_client *client, uint16_t method, const char *message, struct rpc_reply_in *reply_r);

#endif
