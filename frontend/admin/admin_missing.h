/* The alarm for an account that the directory has and its shard does not. Clients see "unavailable" meanwhile; what is
 * behind it (a directory or a shard restored from an older copy, a wrong shard map) needs a person, so nothing is
 * repaired here. */
#ifndef ADMIN_MISSING_H
#define ADMIN_MISSING_H

#include "base/cq_metrics.h"
#include "directory/directory.h"

extern struct cq_metrics admin_missing_metrics;

/* Long enough for the feed of changes to tell of a deletion: the rows that a directory remembers may be that old. */
#define ADMIN_MISSING_WAIT_MS 5000

/* On a fiber: lets that time pass; elsewhere nothing. false: cancelled. */
bool admin_missing_wait(void);

/* The shard has said NO_ACCOUNT, and that time has passed. true, a line
 * in the log ("account.missing") and a count if the directory has the account as active or disabled; false if it is
 * just being created or deleted, is gone, or nobody can tell. */
bool admin_missing_check(struct directory *directory, uint64_t account_id);

#endif
