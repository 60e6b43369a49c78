/* What is counted of clients: one set of rows for all protocols, so that a dashboard asks the same question of each.
 * Rows of SMTP stand here too: they are few. Gauges of connections are kept by front_session.c. */
#ifndef FRONT_METRICS_H
#define FRONT_METRICS_H

#include "base/cq_metrics.h"
#include "core/front_protocol.h"

enum front_metric {
    FRONT_M_CONNECTIONS, /* protocol, enum front_m_tls */
    FRONT_M_LIVE,        /* protocol, enum front_m_state */
    FRONT_M_REJECTED,    /* protocol, enum front_m_refusal */
    FRONT_M_DURATION,    /* protocol; us */
    FRONT_M_BYTES,       /* protocol, enum front_m_direction */
    FRONT_M_COMMANDS,    /* by front_count_command() */
    FRONT_M_COMMAND_DURATION,
    FRONT_M_AUTH,    /* by front_count_auth() */
    FRONT_M_LIMITED, /* enum front_limit, 0 */
    FRONT_M_REMAINING,
    /* SMTP */
    FRONT_M_TRANSACTIONS, /* by front_count_transaction() */
    FRONT_M_RECIPIENTS,   /* enum front_recipient */
    FRONT_M_RECEIVED,     /* by front_count_message() */
    FRONT_M_SIZE,         /* by front_count_size() */
    FRONT_M_COMMIT        /* us */
};
extern struct cq_metrics front_metrics;

enum front_m_tls { FRONT_M_PLAIN, FRONT_M_IMPLICIT };
enum front_m_state { FRONT_M_PREAUTH, FRONT_M_AUTHENTICATED };
enum front_m_refusal { FRONT_M_LIMIT, FRONT_M_RATE, FRONT_M_OVERLOAD };
enum front_m_direction { FRONT_M_IN, FRONT_M_OUT };

/* ---- Commands ---- */

/* The commands of a protocol by their place in its table; tests hold the tables against these lists. */
#define FRONT_SMTP_COMMANDS(X)                                                                                         \
    X("EHLO")                                                                                                          \
    X("HELO")                                                                                                          \
    X("LHLO") X("MAIL") X("RCPT") X("DATA") X("RSET") X("NOOP") X("QUIT") X("VRFY") X("HELP") X("STARTTLS") X("AUTH")
#define FRONT_POP3_COMMANDS(X)                                                                                         \
    X("CAPA")                                                                                                          \
    X("STLS")                                                                                                          \
    X("USER") X("PASS") X("AUTH") X("STAT") X("LIST") X("UIDL") X("RETR") X("TOP") X("DELE") X("NOOP") X("RSET")       \
        X("QUIT")

enum front_m_result {
    FRONT_M_OK, /* OK, +OK, 2xx, 354 */
    FRONT_M_NO, /* refused: NO, -ERR, 4xx, 5xx */
    FRONT_M_BAD /* not understood, or not allowed here: BAD, 500 to 504, an unknown command */
};

#define FRONT_NO_COMMAND UINT32_MAX /* none of the protocol's: counted as "unknown" */

void front_count_command(enum front_protocol protocol, unsigned place, enum front_m_result result,
                         uint64_t duration_us);
/* "smtp,EHLO"; for tests and documents. Past the last one: "smtp,unknown", then NULL. */
const char *front_command_label(enum front_protocol protocol, unsigned place);

/* ---- Log-ins ---- */

/* X(reason, label: result and reason) */
#define FRONT_AUTH_REASONS(X)                                                                                          \
    X(FRONT_AUTH_OK, "ok,ok")                                                                                          \
    X(FRONT_AUTH_BAD_CREDENTIALS, "failed,bad_credentials")                                                            \
    X(FRONT_AUTH_SCOPE, "failed,scope")                                                                                \
    X(FRONT_AUTH_SERVICE_OFF, "failed,service_off")                                                                    \
    X(FRONT_AUTH_ACCOUNT_STATE, "failed,account_state")                                                                \
    X(FRONT_AUTH_SESSIONS, "failed,too_many_sessions")                                                                 \
    X(FRONT_AUTH_BLOCKED, "blocked,too_many_failures")                                                                 \
    X(FRONT_AUTH_BACKEND, "error,backend")

enum front_auth_result {
#define FRONT_AUTH_ENUM(name, label) name,
    FRONT_AUTH_REASONS(FRONT_AUTH_ENUM)
#undef FRONT_AUTH_ENUM
};

enum front_m_mechanism { FRONT_M_LOGIN, FRONT_M_SASL_PLAIN, FRONT_M_PASS, FRONT_M_OTHER };

/* As events tell them: "LOGIN", "bad_credentials". Words that no row has are counted as "other" and "backend". */
void front_count_auth(enum front_protocol protocol, const char *mechanism, const char *reason);

/* ---- Limits ---- */

/* X(limit, name as in the settings or the plan, what it counts by) */
#define FRONT_LIMITS(X)                                                                                                \
    X(FRONT_LIMIT_CONNECT, "connect", "address")                                                                       \
    X(FRONT_LIMIT_SESSIONS_ADDRESS, "sessions_address", "address")                                                     \
    X(FRONT_LIMIT_SESSIONS_ACCOUNT, "sessions_account", "account")                                                     \
    X(FRONT_LIMIT_SENDING, "sending_daily", "account")                                                                 \
    X(FRONT_LIMIT_AUTH, "auth", "login")

enum front_limit {
#define FRONT_LIMIT_ENUM(name, text, key) name,
    FRONT_LIMITS(FRONT_LIMIT_ENUM)
#undef FRONT_LIMIT_ENUM
        FRONT_LIMIT_COUNT
};
const char *front_limit_name(enum front_limit limit);
const char *front_limit_key(enum front_limit limit); /* "address", "account", "login" */

/* ---- Mail in: SMTP, submission, LMTP ---- */

enum front_m_outcome { FRONT_M_ACCEPTED, FRONT_M_DEFERRED, FRONT_M_REJECTED_MAIL, FRONT_M_ABORTED };

/* By the reply code: 2xx, 4xx, 5xx; 0: it was given up (RSET, QUIT, a lost connection). */
enum front_m_outcome front_outcome(unsigned code);

void front_count_transaction(enum front_protocol protocol, unsigned code);
void front_count_message(enum front_protocol protocol, unsigned code); /* an answer to DATA */
void front_count_size(enum front_protocol protocol, uint64_t size);
/* An answer to RCPT; `reason` as message.rejected tells it, NULL for an accepted one. */
void front_count_recipient(unsigned code, const char *reason);

#endif
