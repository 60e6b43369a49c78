/* What all client sessions have in common, and the list of them: who is logged in, ending the sessions of an account,
 * draining. Embedded in a protocol's session; touched by its worker's thread alone. */
#ifndef FRONT_SESSION_H
#define FRONT_SESSION_H

#include "core/front_protocol.h"
#include "core/front_worker.h"
#include "io/io_conn.h"

enum front_end {
    FRONT_END_DRAIN,   /* the process is going: between commands, with the protocol's farewell */
    FRONT_END_KICKED,  /* an operator ended it */
    FRONT_END_ACCOUNT, /* the account was disabled, deleted, or its credential revoked */
};

#define FRONT_SESSION_ID_SIZE 27 /* 26 characters (ULID) and a NUL */

struct front_session;
/* Asks the protocol to end the session: at once when it waits for input, else after the present command. */
typedef void front_end_fn(struct front_session *session, enum front_end why);

struct front_session {
    struct cq_list link;
    struct front_worker *worker;
    struct io_conn *conn;
    enum front_protocol protocol;
    front_end_fn *end;
    char id[FRONT_SESSION_ID_SIZE];
    struct io_addr addr;          /* the client's */
    char peer[IO_ADDR_TEXT_SIZE]; /* the same as text, without the port */
    uint64_t started_us;          /* wall clock */
    uint64_t began_us;            /* the same moment on the monotonic clock */
    uint64_t account, credential; /* 0 before login */
    uint64_t expires_us;          /* of the credential, wall clock; 0: never */
    enum dir_service service;     /* what it logged in for */
    bool counted;                 /* among the account's sessions */
    uint64_t ended_us;            /* monotonic: when it was thrown out and has not gone yet; 0: it was not */
    uint64_t looked_at;           /* front_revoke.c */
    uint32_t commands;            /* that have ended */
    const char *ended_by;         /* a constant: who or what ended it; NULL: the client, until the end is known */
    char address[DIR_ADDRESS_MAX + 1];
};

/* Fills the common part and puts it on the worker's list. With worker->quota, and except for LMTP, the connection was
 * admitted by quota_connection_begin() before; fini gives it back. */
void front_session_init(struct front_session *session, struct front_worker *worker, enum front_protocol protocol,
                        struct io_conn *conn, front_end_fn *end);
/* Takes it off the list and out of the counts, and tells that it has ended. The connection is there still. */
void front_session_fini(struct front_session *session);

/* After a successful log-in (front_login() tells of it); forget: the log-in is undone, and not counted any more. */
void front_session_identify(struct front_session *session, const struct auth_identity *identity,
                            enum dir_service service);

void front_session_forget(struct front_session *session);

/* Ends all sessions of the worker for which `match` says so; returns how many. */
size_t front_sessions_end(struct front_worker *worker, bool (*match)(const struct front_session *, void *), void *arg,
                          enum front_end why);

/* Cuts off those that were thrown out (not: drained) at least so long ago and are still here. */
size_t front_sessions_cut(struct front_worker *worker, uint64_t after_us);

/* A ULID (48 bits of milliseconds, 80 random bits, Crockford's base 32): session and message ids. */
void front_ulid(char out[static FRONT_SESSION_ID_SIZE]);

#endif
