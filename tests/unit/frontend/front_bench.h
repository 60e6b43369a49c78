/* A front-end worker on a loop that the test turns: real directory (SQLite in a temporary file), real authentication,
 * the shard's state machine in this process. Conversations are tables of lines. */
#ifndef FRONT_BENCH_H
#define FRONT_BENCH_H

#include "core/front_worker.h"
#include "io/io_conn.h"
#include "support/mailstore_local.h"

#define BENCH_PASSWORD "correct horse"

struct front_bench {
    struct front_worker worker;
    struct mailstore_local *local;
    char folder[32];
    uint64_t ana, ben; /* ana@ and ben@example.test; ben has room for 2,000 bytes */
};

/* cmocka group setup and teardown: *state is the bench. */
int bench_setup(void **state);
int bench_teardown(void **state);

/* A client: one end of a socket pair whose other end a session has. */
struct bench_client {
    struct front_bench *bench;
    int fd;
    struct cq_buf got; /* not matched yet */
    bool eof;
};
/* The session's connection; give it to a service. */
struct io_conn *bench_connect(struct front_bench *bench, struct bench_client *client);
void bench_disconnect(struct bench_client *client);

/* Lines "C: text" are sent with CRLF ("C! text" without); "S: text" must come next, "*" at its end matches any rest of
 * the line; "S+ text" skips lines until one matches; "S." is the end of the connection. Fails the test otherwise. */
void bench_talk(struct bench_client *client, const char *const *lines, size_t count);
#define TALK(client, ...)                                                                                              \
    bench_talk((client), (const char *const[]){__VA_ARGS__},                                                           \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

void bench_send(struct bench_client *client, struct cq_slice octets);
/* The whole of an account's message number n of INBOX (from 1), in the pool; empty when there is none. */
struct cq_slice bench_message(struct front_bench *bench, uint64_t account, size_t n, struct cq_pool *pool);
size_t bench_count(struct front_bench *bench, uint64_t account);

#endif
