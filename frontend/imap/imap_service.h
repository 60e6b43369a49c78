/* IMAP4rev1 sessions of one worker. The process (listeners, settings, accounts) is the host: it hands connections over,
 * answers log-ins and hears when a session has gone.
 *
 * All calls on the loop's thread. */
#ifndef IMAP_SERVICE_H
#define IMAP_SERVICE_H

#include "base/cq_config.h"
#include "base/cq_limits.h"
#include "base/cq_metrics.h"
#include "io/io_conn.h"
#include "mailstore/mailstore.h"

struct imap_service;
struct imap_session;

/* clang-format off */
#define IMAP_SESSION_LIMITS(X)                                                                                         \
    X(IMAP_JUNK_PREAUTH_MAX, 3, "commands", "Commands before login that are no commands", "BYE, closed")               \
    X(IMAP_JUNK_MAX, 20, "commands", "The same after login, without a good one between", "BYE, closed")                \
    X(IMAP_LOGIN_FAILURES_MAX, 5, "attempts", "Failed log-ins of one connection", "BYE, closed")                       \
    X(IMAP_PREAUTH_S, 180, "seconds", "From connecting to login, however busy", "BYE, closed")                         \
    X(IMAP_INPUT_MAX, 16 << 10, "bytes", "Input that waits unread behind the present command", "reading stops")        \
    X(IMAP_APPEND_INPUT_MAX, 128 << 10, "bytes", "The same while a message arrives", "reading stops")                  \
    X(IMAP_STALL_S, 300, "seconds", "Without progress while a message arrives or an answer leaves", "closed")          \
    X(IMAP_BODY_PIECE, 512 << 10, "bytes", "Octets of a message in one read; SEARCH holds one piece", "-")            \
    X(IMAP_RECORDS_AHEAD, 3, "batches", "Of records that a command has asked for or works on", "asked for later")                  \
    X(IMAP_RECORDS_BATCH, 1 << 20, "bytes", "That one of them is counted as", "-")                                                 \
    X(IMAP_HEADER_READ_MAX, 16 << 20, "bytes", "Header octets that HEADER.FIELDS and SEARCH HEADER look into",         \
      "the rest is not looked into")
/* clang-format on */
CQ_LIMITS_ENUM(IMAP_SESSION_LIMITS);
extern const struct cq_limit imap_session_limit_rows[];
extern const size_t imap_session_limit_row_count;

struct imap_config {
    uint64_t message_max;      /* octets of an APPENDed message */
    uint64_t login_timeout_us; /* for each command before login */
    uint64_t autologout_us;    /* without a command after login, not in IDLE */
    uint64_t still_here_us;    /* between "* OK Still here" in IDLE */
    bool login_without_tls;    /* for tests and networks that are trusted */
};

struct cq_config_part imap_config_part(struct imap_config *values);

/* What the client said, in its command's memory: copy what must live longer, log nothing of the password. */
struct imap_login {
    const char *mechanism; /* "LOGIN" (the command) or "PLAIN" */
    struct cq_slice user, password;
};

struct imap_identity {
    uint64_t account;
};

struct imap_host_ops {
    /* On a fiber; may suspend. CQ_E_AUTH: unknown user or wrong password; CQ_E_DENIED: the account may not use IMAP;
     * CQ_E_LIMIT: too many connections; CQ_E_RATE: too many attempts; others: later. */
    enum cq_rc (*login)(void *host, struct imap_session *session, const struct imap_login *login,
                        struct imap_identity *identity_r, struct cq_err *err);
    /* The session has ended; it and its connection go when this returns. */
    void (*closed)(void *host);
};

struct imap_service_options {
    struct io_loop *loop;
    struct mailstore *store;
    const struct imap_config *config; /* borrowed */
    struct io_tls *starttls;          /* NULL: STARTTLS is not offered */
    const struct imap_host_ops *ops;
    size_t *ahead_octets; /* of the worker (front_ahead.h); outlives the service */
};

struct imap_service *imap_service_new(const struct imap_service_options *options);
void imap_service_free(struct imap_service **service); /* all sessions have gone */

/* Takes the connection (PROXY header read, implicit TLS done) and greets. `id` names the session in logs; it and `host`
 * are the host's and live until ops->closed. */
struct imap_session *imap_session_start(struct imap_service *service, struct io_conn *conn, const char *id, void *host);

enum imap_end { IMAP_END_DRAIN, IMAP_END_KICKED, IMAP_END_ACCOUNT };
/* BYE and close: at once when the session waits for input or idles, else after the present command. */
void imap_session_end(struct imap_session *session, enum imap_end why);

/* For lists of sessions. The client's name is what ID said, "" before. */
struct imap_session_info {
    uint64_t account; /* 0 before login */
    bool selected, idle;
    const char *client;
    uint32_t commands; /* that have ended */
    bool bye;          /* we ended it, or are about to */
};
void imap_session_info(const struct imap_session *session, struct imap_session_info *info_r);

size_t imap_service_sessions(const struct imap_service *service);

#endif
