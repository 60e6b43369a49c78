#include "admin/admin_missing.h"

#include "base/cq_log.h"
#include "io/io_fiber.h"

enum { M_MISSING };
static const struct cq_metric metric_rows[] = {
    [M_MISSING] = CQ_COUNTER("chasqui_accounts_missing_total",
                             "Answers of a shard that it has no such account, for one that the directory has; alarm"),
};
struct cq_metrics admin_missing_metrics = CQ_METRICS_OF(metric_rows);

bool admin_missing_wait(void)
{
    return !io_fiber_running() || io_fiber_sleep(ADMIN_MISSING_WAIT_MS) == CQ_OK;
}

bool admin_missing_check(struct directory *directory, uint64_t account_id)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_account account;
    enum cq_rc rc = directory_account(directory, account_id, pool, &account, NULL);
    bool missing = rc == CQ_OK && (DIR_STATES_KEPT & 1u << account.state);
    if (missing) {
        cq_metric_add(&admin_missing_metrics, M_MISSING, 1);
        cq_log_limited(1, CQ_ERROR, "account.missing", CQ_F_ACCOUNT(account_id),
                       CQ_F_STR("state", dir_state_name(account.state)));
    }
    cq_pool_free(&pool);
    return missing;
}
