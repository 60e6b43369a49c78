/* account add, list, show, set, password, remove (DESIGN: creating -> CREATE_ACCOUNT in the shard -> active;
 * deleting -> tombstone in the shard -> row removed). Each step may be repeated after a fault. */
#include "admin/admin_request.h"

#include "base/cq_hex.h"
#include "cluster/placement.h"

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

enum cq_rc admin_account(struct admin_request *r, const char *field, struct dir_account *account_r)
{
    struct cq_slice address = admin_field(r, field);
    enum cq_rc rc = directory_account_by_login(r->service->worker->directory, address, r->pool, account_r, &r->err);
    if (rc == CQ_E_NOT_FOUND || rc == CQ_E_INVALID)
        return CQ_FAIL(&r->err, CQ_E_NOT_FOUND, "there is no account %.*s; see chasquictl account list",
                       CQ_SLICE_ARG(address));
    return rc;
}

enum cq_rc admin_account_cells(struct admin_request *r, const struct dir_account *account,
                               const char *cells_r[static ADMIN_ACCOUNT_CELLS])
{
    const struct topology *topology = NULL;
    char id[CQ_HEX64_SIZE];
    enum cq_rc rc = r->service->topology(r->service->topology_ctx, &topology, &r->err);
    if (rc != CQ_OK)
        return rc;
    cq_hex_u64(account->id, id);
    const char *cells[ADMIN_ACCOUNT_CELLS] = {
        admin_text(r, account->address),
        admin_text(r, cq_slice_cstr(id)),
        dir_state_name(account->state),
        account->plan->name,
        admin_text(r, account->home_dc),
        admin_services(r, account->services),
        admin_number(r, account->quota_bytes),
        admin_number(r, account->quota_messages),
        admin_number(r, topology_group_of(topology, account->id)),
    };
    topology_unref(&topology);
    for (size_t i = 0; i < ADMIN_ACCOUNT_CELLS; i++)
        cells_r[i] = cells[i];
    return CQ_OK;
}

enum cq_rc admin_account_row(struct admin_request *r, const struct dir_account *account)
{
    const char *cells[ADMIN_ACCOUNT_CELLS + 1] = {NULL};
    enum cq_rc rc = admin_account_cells(r, account, cells);
    return rc == CQ_OK ? admin_row(r, cells) : rc;
}

/* The row as it is now, after a change. */
static enum cq_rc show_again(struct admin_request *r, uint64_t id)
{
    struct dir_account account;
    enum cq_rc rc = directory_account(r->service->worker->directory, id, r->pool, &account, &r->err);
    return rc == CQ_OK ? admin_account_row(r, &account) : rc;
}

/* Where the new account's mail will be. */
static enum cq_rc place(struct admin_request *r, struct dir_account_new *account)
{
    const struct topology *topology = NULL;
    uint32_t slot = 0;
    enum cq_rc rc = r->service->topology(r->service->topology_ctx, &topology, &r->err);
    if (rc != CQ_OK)
        return rc;
    const char *home =
        admin_has(r, "home") ? admin_text(r, account->home_dc) : placement_home(topology, account->address);
    if (!home) {
        rc = CQ_FAIL(&r->err, CQ_E_UNAVAILABLE, "the cluster has no shards yet; run chasquictl cluster init");
    } else if (!placement_slot(topology, home, account->address, &slot)) {
        rc = CQ_FAIL(&r->err, CQ_E_INVALID, "no shard is at home in the data centre \"%s\"", home);
    } else {
        account->home_dc = cq_slice_cstr(cq_pool_printf(r->pool, "%s", home));
        account->slot = (uint16_t)slot;
    }
    topology_unref(&topology);
    return rc;
}

static enum cq_rc new_account_of(struct admin_request *r, struct dir_account_new *account)
{
    struct dir_address address;
    enum cq_rc rc = dir_address_parse(admin_field(r, "address"), r->pool, &address, &r->err);
    if (rc != CQ_OK)
        return rc;
    *account = (struct dir_account_new){
        .address = address.text,
        .home_dc = admin_field(r, "home"),
        .plan = admin_field(r, "plan"),
        .services = DIR_ALL_SERVICES,
        .admin = admin_has(r, "admin"),
    };
    if (admin_has(r, "quota"))
        rc = admin_parse_size(r, "quota", &account->quota_bytes);
    if (rc == CQ_OK && admin_has(r, "quota-messages"))
        rc = admin_parse_number(r, "quota-messages", &account->quota_messages);
    return rc == CQ_OK ? place(r, account) : rc;
}

/* The shard's half, then the password, then the account is open. A first attempt may have got anywhere in between. */
static enum cq_rc finish_creating(struct admin_request *r, const struct dir_account *account)
{
    struct front_worker *worker = r->service->worker;
    struct mailstore_account shard = {.id = account->id};
    struct mail_limits limits = admin_limits(account);
    enum cq_rc rc = mailstore_create_account(worker->mailstore, &shard, &limits, account->address, &r->err);
    if (rc == CQ_OK)
        rc = auth_set_password(worker->auth, account->id, admin_field(r, "password"), &r->err);
    if (rc == CQ_OK)
        rc = directory_account_activate(worker->directory, account->id, &r->err);
    return rc;
}

enum cq_rc admin_account_add(struct admin_request *r)
{
    struct dir_account_new wanted;
    struct dir_account account;
    if (admin_field(r, "password").len < AUTH_PASSWORD_MIN)
        return CQ_FAIL(&r->err, CQ_E_INVALID, "a password has at least %d bytes", AUTH_PASSWORD_MIN);
    enum cq_rc rc = new_account_of(r, &wanted);
    if (rc != CQ_OK)
        return rc;
    rc = directory_account_create(r->service->worker->directory, &wanted, r->pool, &account, &r->err);
    if (rc == CQ_E_EXISTS && account.state != DIR_CREATING)
        return CQ_FAIL(&r->err, CQ_E_EXISTS, "%.*s is taken", CQ_SLICE_ARG(wanted.address));
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(&r->err, CQ_E_NOT_FOUND, "not a domain of ours; run chasquictl domain add first");
    if (rc != CQ_OK && rc != CQ_E_EXISTS)
        return rc;
    rc = finish_creating(r, &account);
    return rc == CQ_OK ? show_again(r, account.id) : rc;
}

enum cq_rc admin_account_list(struct admin_request *r)
{
    struct dir_account_filter filter = {.domain = admin_field(r, "domain"), .max = ADMIN_LIST_MAX};
    struct dir_account *accounts;
    size_t count = 0;
    enum cq_rc rc;
    do {
        rc = directory_account_list(r->service->worker->directory, &filter, r->pool, &accounts, &count, &r->err);
        for (size_t i = 0; rc == CQ_OK && i < count; i++) {
            rc = admin_account_row(r, &accounts[i]);
            filter.after_id = accounts[i].id;
        }
    } while (rc == CQ_OK && count == ADMIN_LIST_MAX);
    return rc;
}

enum cq_rc admin_account_show(struct admin_request *r)
{
    struct dir_account account;
    struct mail_account_state state;
    const char *cells[ADMIN_ACCOUNT_CELLS + 4] = {NULL};
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc != CQ_OK)
        return rc;
    struct mailstore_account shard = {.id = account.id};
    rc = mailstore_get_account(r->service->worker->mailstore, &shard, r->pool, &state, &r->err);
    if (rc == CQ_OK)
        rc = admin_account_cells(r, &account, cells);
    if (rc != CQ_OK)
        return rc;
    cells[ADMIN_ACCOUNT_CELLS] = admin_number(r, state.used_bytes);
    cells[ADMIN_ACCOUNT_CELLS + 1] = admin_number(r, state.used_messages);
    cells[ADMIN_ACCOUNT_CELLS + 2] = admin_number(r, state.mailboxes);
    return admin_row(r, cells);
}

static enum cq_rc update_of(struct admin_request *r, const struct dir_account *account,
                            struct dir_account_update *update)
{
    enum cq_rc rc = CQ_OK;
    *update = (struct dir_account_update){
        .expected_version = account->version,
        .plan = admin_field(r, "plan"),
        .quota_bytes = account->quota_bytes,
        .quota_messages = account->quota_messages,
    };
    if (admin_has(r, "plan"))
        update->what |= DIR_SET_PLAN;
    if (admin_has(r, "services")) {
        update->what |= DIR_SET_SERVICES;
        rc = admin_parse_services(r, admin_field(r, "services"), &update->services);
    }
    if (rc == CQ_OK && admin_has(r, "quota")) {
        update->what |= DIR_SET_QUOTA;
        rc = admin_parse_size(r, "quota", &update->quota_bytes);
    }
    if (rc == CQ_OK && admin_has(r, "quota-messages")) {
        update->what |= DIR_SET_QUOTA;
        rc = admin_parse_number(r, "quota-messages", &update->quota_messages);
    }
    return rc;
}

static enum cq_rc set_enabled(struct admin_request *r, uint64_t id)
{
    struct directory *directory = r->service->worker->directory;
    struct cq_slice enabled = admin_field(r, "enabled");
    if (!admin_has(r, "enabled"))
        return CQ_OK;
    if (cq_slice_eq(enabled, CQ_SLICE("yes")))
        return directory_account_enable(directory, id, &r->err);
    if (cq_slice_eq(enabled, CQ_SLICE("no")))
        return directory_account_disable(directory, id, &r->err);
    return CQ_FAIL(&r->err, CQ_E_INVALID, "--enabled is yes or no");
}

/* The shard has the exact limits: it learns of a change here, or from the reconciler. */
static enum cq_rc tell_shard(struct admin_request *r, uint64_t id)
{
    struct dir_account account;
    enum cq_rc rc = directory_account(r->service->worker->directory, id, r->pool, &account, &r->err);
    if (rc != CQ_OK)
        return rc;
    struct mail_limits limits = admin_limits(&account);
    struct mailstore_account shard = {.id = id};
    return mailstore_set_limits(r->service->worker->mailstore, &shard, &limits, &r->err);
}

enum cq_rc admin_account_set(struct admin_request *r)
{
    struct dir_account account;
    struct dir_account_update update;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK)
        rc = update_of(r, &account, &update);
    if (rc == CQ_OK && update.what)
        rc = directory_account_update(r->service->worker->directory, account.id, &update, &r->err);
    if (rc == CQ_OK)
        rc = set_enabled(r, account.id);
    if (rc == CQ_OK && update.what & (DIR_SET_PLAN | DIR_SET_QUOTA))
        rc = tell_shard(r, account.id);
    return rc == CQ_OK ? show_again(r, account.id) : rc;
}

enum cq_rc admin_account_password(struct admin_request *r)
{
    struct dir_account account;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK)
        rc = auth_set_password(r->service->worker->auth, account.id, admin_field(r, "password"), &r->err);
    return rc == CQ_OK ? ADMIN_ROW(r, admin_text(r, account.address)) : rc;
}

enum cq_rc admin_account_remove(struct admin_request *r)
{
    struct front_worker *worker = r->service->worker;
    struct dir_account account;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK)
        rc = directory_account_delete(worker->directory, account.id, &r->err);
    if (rc != CQ_OK)
        return rc;
    struct mailstore_account shard = {.id = account.id};
    rc = mailstore_delete_account(worker->mailstore, &shard, &r->err);
    if (rc == CQ_OK || rc == CQ_E_NO_ACCOUNT)
        rc = directory_account_remove(worker->directory, account.id, &r->err);
    return rc == CQ_OK ? ADMIN_ROW(r, admin_text(r, account.address)) : rc;
}
