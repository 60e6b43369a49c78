#include "admin/admin_steps.h"

struct mail_limits admin_limits(const struct dir_account *account)
{
    return (struct mail_limits){
        .directory_version = account->version,
        .quota_bytes = account->quota_bytes,
        .quota_messages = account->quota_messages,
        .sending_messages_day = account->plan->messages_per_day,
        .sending_recipients_day = account->plan->recipients_per_day,
        .recipients_message = account->plan->recipients_per_message,
    };
}

static enum cq_rc create_in_shard(struct mailstore *store, const struct dir_account *account, struct cq_err *err)
{
    struct mailstore_account shard = {.id = account->id};
    struct mail_limits limits = admin_limits(account);
    return mailstore_create_account(store, &shard, &limits, account->address, err);
}

enum cq_rc admin_finish_creating(struct directory *directory, struct mailstore *store,
                                 const struct dir_account *account, struct cq_err *err)
{
    enum cq_rc rc = create_in_shard(store, account, err);
    return rc == CQ_OK ? directory_account_activate(directory, account->id, err) : rc;
}

static enum cq_rc delete_in_shard(struct mailstore *store, const struct dir_account *account, struct cq_err *err)
{
    struct mailstore_account shard = {.id = account->id};
    return mailstore_delete_account(store, &shard, err);
}

enum cq_rc admin_finish_deleting(struct directory *directory, struct mailstore *store,
                                 const struct dir_account *account, struct cq_err *err)
{
    enum cq_rc rc = delete_in_shard(store, account, err);
    if (rc == CQ_E_NO_ACCOUNT) {
        rc = create_in_shard(store, account, err);
        if (rc == CQ_OK || rc == CQ_E_CONFLICT) /* another front-end's tombstone is as good as ours */
            rc = delete_in_shard(store, account, err);
    }
    return rc == CQ_OK ? directory_account_remove(directory, account->id, err) : rc;
}
