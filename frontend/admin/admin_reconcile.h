/* The reconciler: finishes accounts that a crash left creating or deleting, in the background of every front-end with
 * the role admin. Several at once do no harm: each step may be repeated, rows are read again before they are acted on,
 * and rounds come at random moments.
 *
 * A round is bounded: `batch` accounts, and it ends early when shards do not answer; a shard that did not is left alone
 * for a while that doubles. It goes on behind where the last one ended, so accounts that cannot be finished do not
 * stand in the way of those that can.
 *
 * The audit looks at accounts that are finished, a few in each round: an account that the directory has and its shard
 * does not is an alarm for a person ("account.missing", never repaired here: it would be an empty INBOX, and clients
 * delete mail when they see that); limits that the shard missed are sent to it again. */
#ifndef ADMIN_RECONCILE_H
#define ADMIN_RECONCILE_H

#include "base/cq_config.h"
#include "base/cq_metrics.h"
#include "directory/directory.h"
#include "mailstore/mailstore.h"

struct admin_reconcile_settings {
    uint64_t interval_us; /* between rounds, on average */
    uint64_t age_min_us;  /* younger ones are left to the command that is at work on them */
    int64_t batch;        /* accounts of a round */
    int64_t audit;        /* accounts that a round looks at beside; 0: none */
};
struct cq_config_part admin_reconcile_config_part(struct admin_reconcile_settings *values);
extern struct cq_metrics admin_reconcile_metrics;

struct admin_reconciler;

struct admin_reconcile_config {
    struct directory *directory;
    struct mailstore *store; /* of the loop that the rounds run on */
    const struct admin_reconcile_settings *settings;
    /* The group that has the account, for leaving it alone; 0 when nobody knows. */
    uint32_t (*group_of)(void *ctx, uint64_t account);
    void *ctx;
};

/* Borrows what the config names. */
struct admin_reconciler *admin_reconciler_new(const struct admin_reconcile_config *config);
void admin_reconciler_free(struct admin_reconciler **reconciler);

/* What a round did: for tests and the log. */
struct admin_round {
    size_t finished, failed; /* creating and deleting */
    size_t left_alone;       /* their shard did not answer lately */
    size_t audited, missing, limits_sent;
};

/* One round, at a moment of the monotonic clock. On a fiber, or with a mailstore that does not suspend. */
void admin_reconcile_round(struct admin_reconciler *reconciler, uint64_t now_us, struct admin_round *round_r);

/* Rounds until the fiber is cancelled or *stop is set. */
void admin_reconcile_run(struct admin_reconciler *reconciler, const bool *stop);

#endif
