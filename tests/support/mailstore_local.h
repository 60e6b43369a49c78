/* A transport for lib/mailstore that holds a shard's state machine in this process, over the store in memory: what a
 * front-end's tests talk to instead of a cluster. The same object files as the storage node's; only Raft is left out: a
 * command is applied and written at once. No fiber is needed: calls return without suspending.
 *
 *     struct mailstore_local *local = mailstore_local_new();
 *     struct mailstore *store = mailstore_new(mailstore_local_transport(local), client_id, 1000);
 *     mailstore_create_account(store, &account, &limits, CQ_SLICE("ana@example.test"), &err);
 *     ...
 *     mailstore_free(&store);
 *     mailstore_local_free(&local);
 *
 * Time stands still at 2026-01-01T00:00:00Z but for one millisecond a command. */
#ifndef MAILSTORE_LOCAL_H
#define MAILSTORE_LOCAL_H

#include "mailstore/mailstore.h"

#include <stdint.h>

struct machine;
struct mailstore_local;

/* One group that owns all slots. */
struct mailstore_local *mailstore_local_new(void);
/* Several groups: account a is in group 1 + (slot % groups). A call for an account goes to its group alone. */
struct mailstore_local *mailstore_local_new_groups(unsigned groups);
/* Watches that are still open are closed. */
void mailstore_local_free(struct mailstore_local **local);

struct mailstore_transport *mailstore_local_transport(struct mailstore_local *local);

/* Entry times go on from here (us since 1970); they never fall. */
void mailstore_local_set_time(struct mailstore_local *local, uint64_t time_us);
uint64_t mailstore_local_time(const struct mailstore_local *local);

/* Runs RECLAIM on every group until nothing is left to do. */
void mailstore_local_reclaim(struct mailstore_local *local);

/* Closes every machine and opens it again from its store, as a restart does. */
void mailstore_local_restart(struct mailstore_local *local);

/* What goes wrong, and when: called before (applied = false) and after (applied = true) each call is run. Anything but
 * CQ_OK is the call's result instead: before, nothing has happened; after, it has, and the answer is lost. */
void mailstore_local_set_fault(struct mailstore_local *local,
                               enum cq_rc (*fault)(void *arg, const struct mailstore_call *call, bool applied),
                               void *arg);

/* Commands applied so far, of all groups. */
uint64_t mailstore_local_commands(const struct mailstore_local *local);

/* The machine that has the account: for tests that look inside. */
struct machine *mailstore_local_machine(struct mailstore_local *local, uint64_t account);

#endif
