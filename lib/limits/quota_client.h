/* "May this happen now?", asked by a front-end worker: rates and connection counts. One client belongs to one loop.
 *
 * The quota-service knows all front-ends; when it does not answer in time, the worker decides by its own counters with
 * its share of each limit (limit / shares, at least 1) and says so in chasqui_quota_local_total. So nothing here ever
 * fails: the answer is yes or no. These limits own rates, never the truth of storage or of a daily cap. */
#ifndef CHASQUI_QUOTA_CLIENT_H
#define CHASQUI_QUOTA_CLIENT_H

#include "base/cq_err.h"
#include "io/io_net.h"
#include "limits/quota_kinds.h"
#include "rpc/rpc_client.h"

struct quota_client;

struct quota_client_config {
    struct io_loop *loop;
    struct rpc_client *rpc; /* to the quota-service, with limits.connections = 1; borrowed. NULL: local only */
    const struct quota_limits *limits; /* borrowed */
    unsigned shares;                   /* how many workers there are in all, for the share of each */
    uint64_t renew_us;                 /* between renewals; 0: QUOTA_RENEW_US */
    uint64_t timeout_us;               /* for an answer; 0: QUOTA_TIMEOUT_US */
};

#define QUOTA_TIMEOUT_US 250000 /* of one question */
#define QUOTA_PAUSE_US 1000000  /* after a question without answer, the next ones are decided here for so long */
#define QUOTA_RENEW_US 4000000  /* between renewals of the lease under which the service keeps our counts */
#define QUOTA_HELD_MAX 1000000  /* keys that one worker holds counts of */

/* CQ_E_CONFIG: an exempt network is none. */
enum cq_rc quota_client_new(const struct quota_client_config *config, struct quota_client **client_r,
                            struct cq_err *err);
/* Before config.rpc goes: it is not used any more, and what is asked from now on is decided here. NULL is fine. */
void quota_client_leave(struct quota_client *client);
void quota_client_free(struct quota_client **client);

/* ---- Log-ins. On a fiber (auth_allowed suspends). ---- */

/* Before the password is looked at: are there few enough failures of this name and from this address? CQ_OK, or
 * CQ_E_RATE with the seconds to wait in *retry_after_s (may be NULL). */
enum cq_rc quota_auth_allowed(struct quota_client *client, struct cq_slice login, const struct io_addr *peer,
                              uint64_t *retry_after_s, struct cq_err *err);
/* After a failure. Does not suspend. */
void quota_auth_failed(struct quota_client *client, struct cq_slice login, const struct io_addr *peer);

/* ---- Connections. `begin` on a fiber, suspends; `end` anywhere on the loop's thread, does not. ---- */

/* A new connection from this address: CQ_OK (quota_connection_end follows), CQ_E_RATE (too often), CQ_E_LIMIT (too
 * many at once). */
enum cq_rc quota_connection_begin(struct quota_client *client, const struct io_addr *peer, struct cq_err *err);
void quota_connection_end(struct quota_client *client, const struct io_addr *peer);

/* A session of this account: CQ_OK (quota_session_end follows) or CQ_E_LIMIT. */
enum cq_rc quota_session_begin(struct quota_client *client, uint64_t account, struct cq_err *err);
void quota_session_end(struct quota_client *client, uint64_t account);

/* chasqui_quota_local_total{kind}, chasqui_quota_refused_total{kind}. */
extern struct cq_metrics quota_client_metrics;

#endif
