/* The halves of an account's creation and deletion that come after the directory's row: what a command does at once and
 * what the reconciler does for one that was cut short. Every step may be repeated, by several front-ends at once. */
#ifndef ADMIN_STEPS_H
#define ADMIN_STEPS_H

#include "directory/directory.h"
#include "mailstore/mailstore.h"

/* What the shard must know of the account's row. */
struct mail_limits admin_limits(const struct dir_account *account);

/* A row in state creating: the account in its shard, then the row is active. CQ_E_CONFLICT: the shard has a tombstone
 * under this id, or the row is being deleted meanwhile. On a fiber, as all of these. */
enum cq_rc admin_finish_creating(struct directory *directory, struct mailstore *store,
                                 const struct dir_account *account, struct cq_err *err);

/* A row in state deleting: the tombstone in the shard, then the row goes. The shard has a tombstone in any case, even
 * if it never knew the account: a CREATE_ACCOUNT that is still on its way finds it. */
enum cq_rc admin_finish_deleting(struct directory *directory, struct mailstore *store,
                                 const struct dir_account *account, struct cq_err *err);

#endif
