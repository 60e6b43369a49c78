/* The best-effort events of sessions (docs/events.md): refusals, log-ins, sessions of accounts, rate limits. Each call
 * copies what it needs and never waits; without a ring in the worker nothing is told. Log-ins and limits are counted
 * here too, so that events and metrics agree. Passwords are never given here,
 * and a login name is told only when it is an address. */
#ifndef FRONT_EVENTS_H
#define FRONT_EVENTS_H

#include "core/front_metrics.h"
#include "core/front_session.h"

#define FRONT_EVENTS_PER_SECOND 20 /* of each kind that is sampled and each limit; more are counted in the next one */

/* After front_session_identify(). */
void front_event_opened(const struct front_session *session);
/* The session ends; its connection is there still. */
void front_event_closed(const struct front_session *session);

struct front_attempt {
    const char *mechanism;
    struct cq_slice login; /* as the client sent it */
    enum cq_rc rc;         /* CQ_E_RATE: it was not looked at */
    const struct auth_identity *identity;
    uint64_t retry_after_s;
};

/* auth.succeeded, auth.failed or auth.blocked. */
void front_event_auth(const struct front_session *session, const struct front_attempt *attempt);

/* The name only when it is an address, "" otherwise: other words may be a password in the wrong field. For logs too. */
const char *front_login_to_tell(struct cq_slice login, struct cq_pool *pool);

/* Why a log-in failed, as the outside may be told: an unknown user and a wrong password are one. */
const char *front_auth_reason(enum cq_rc rc, enum auth_reason reason);

struct front_rejection {
    const char *stage;  /* "connect", "ehlo", "mail", "rcpt", "data" */
    const char *reason; /* "unknown_user" */
    unsigned code;
    const char *enhanced; /* NULL: none */
    const char *verb, *text;
    const char *ehlo, *message_id; /* NULL, "": none */
    struct cq_slice envelope_from, recipient;
    uint32_t recipients; /* of the transaction so far */
    uint64_t size;
};

/* message.rejected. */
void front_event_rejected(const struct front_session *session, const struct front_rejection *rejection);
/* The same for a connection that never became a session. */
void front_event_turned_away(struct front_worker *worker, enum front_protocol protocol, const struct io_addr *peer,
                             const struct front_rejection *rejection);

struct front_limited {
    enum front_limit limit;
    enum front_protocol protocol;
    const struct io_addr *peer;
    const struct front_session *session; /* NULL: there is none yet */
    uint64_t account;                    /* 0: unknown */
    uint64_t retry_after_s;              /* 0: unknown */
};

/* rate_limited; not for FRONT_LIMIT_AUTH, of which auth.blocked tells. */
void front_event_limited(struct front_worker *worker, const struct front_limited *limited);

#endif
