/* IMAP sessions over a real shard state and real connections in one process: what conversation tests stand on. One
 * account, "ana" with the password "secret"; "denied" may not use IMAP; "broken" cannot be looked up. */
#ifndef IMAP_FIXTURE_H
#define IMAP_FIXTURE_H

#include "imap/imap_service.h"
#include "io/io_pair.h"
#include "support/mailstore_local.h"

#define IMAP_FIXTURE_METHODS 256
#define IMAP_FIXTURE_ACCOUNT UINT64_C(0x1234000000000001)

struct imap_fixture {
    struct io_loop *loop;
    struct mailstore_local *local;
    struct mailstore *store;
    struct mailstore_account account; /* the test's own view of the shard */
    struct imap_config config;
    struct imap_service *service;
    size_t ahead_octets;            /* of the worker */
    enum cq_rc fault;               /* of every call; CQ_OK: none */
    bool fault_applied;             /* the call has happened, its answer is lost */
    unsigned fault_after;           /* calls that still work */
    uint32_t fault_method;          /* 0: all */
    void (*before_call)(void *arg); /* before each call of a session: what others do in that moment; NULL: nothing */
    void *before_arg;
    unsigned logins, closed;
    unsigned calls[IMAP_FIXTURE_METHODS]; /* by method, from the sessions and the test */
};

struct imap_fixture *imap_fixture_new(void);
/* With STARTTLS, and no log-in without it. */
struct imap_fixture *imap_fixture_new_tls(struct io_tls *tls);
/* From now on "ana" is this account, which is new. */
void imap_fixture_new_account(struct imap_fixture *fixture, uint64_t id);
void imap_fixture_free(struct imap_fixture **fixture);

/* One client. */
struct imap_peer {
    struct imap_fixture *fixture;
    struct imap_session *session; /* NULL when it has gone */
    int fd;
    struct cq_buf in;
    bool eof;
};

/* A session for a connection that the test made; `peer` is its host, without a descriptor. */
void imap_peer_adopt(struct imap_fixture *fixture, struct imap_peer *peer, struct io_conn *conn);
void imap_peer_connect(struct imap_fixture *fixture, struct imap_peer *peer);
void imap_peer_close(struct imap_peer *peer);

/* `piece`: bytes that are sent at a time, the server runs in between. */
void imap_peer_send(struct imap_peer *peer, struct cq_slice bytes, size_t piece);
/* Lets the server work until it has nothing to do. */
void imap_fixture_settle(struct imap_fixture *fixture);
/* A line without its CRLF, in the pool; false: there is none (and none will come without more input). */
bool imap_peer_line(struct imap_peer *peer, struct cq_pool *pool, struct cq_slice *line_r);
/* Reads lines up to the tagged answer of `tag`; all of it, CRLFs included, is appended to `out`. */
bool imap_peer_until(struct imap_peer *peer, const char *tag, struct cq_buf *out);

/* Delivers a message into INBOX behind the sessions' backs; size octets when the text is shorter. */
void imap_fixture_deliver(struct imap_fixture *fixture, struct cq_slice message);

#endif
