/* account add, list, show, set, password, remove (DESIGN: creating -> CREATE_ACCOUNT in the shard -> active;
 * deleting -> tombstone in the shard -> row removed). Each step may be repeated after a fault. */
#include "admin/admin_request.h"

#include "base/cq_hex.h"
#include "cluster/placement.h"

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
    enum cq_rc rc = admin_topology(r, &topology);
    if (rc != CQ_OK)
        return rc;
    cq_hex_u64(account->id, id);
    const char *cells[ADMIN_ACCOUNT_CELLS] = {
        admin_text(r, account->address),
        admin_text(r, cq_slice_cstr(id)),
        dir_state_name(account->state),
        admin_time(r, account->state_us),
        account->plan->name,
        admin_text(r, account->home_dc),
        admin_services(r, account->services),
        admin_number(r, account->quota_bytes),
        admin_number(r, account->quota_messages),
        admin_number(r, topology_group_of(topology, account->id)),
    };
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
    enum cq_rc rc = admin_topology(r, &topology);
    if (rc != CQ_OK)
        return rc;
    const char *home =
        admin_has(r, "home") ? admin_text(r, account->home_dc) : placement_home(topology, account->address);
    if (!home) {
        rc = CQ_FAIL(&r->err, CQ_E_UNAVAILABLE, "the cluster has no shards yet; run chasquictl cluster init");
    } else if (!placement_slot(topology, home, account->address, &slot)) {
        rc = CQ_FAIL(&r->err, CQ_E_INVALID, "no shard is at home in the data centre \"%s\"; see chasquictl shard list",
                     home);
    } else {
        account->home_dc = cq_slice_cstr(cq_pool_printf(r->pool, "%s", home));
        account->slot = (uint16_t)slot;
    }
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

/* Does it say what the account is? What it does not name may be anything. */
static bool says_the_same(const struct admin_request *r, const struct dir_account_new *wanted,
                          const struct dir_account *account)
{
    return (!admin_has(r, "plan") || cq_slice_eq(wanted->plan, cq_slice_cstr(account->plan->name))) &&
           (!admin_has(r, "home") || cq_slice_eq(wanted->home_dc, account->home_dc)) &&
           (!admin_has(r, "quota") || wanted->quota_bytes == account->quota_bytes) &&
           (!admin_has(r, "quota-messages") || wanted->quota_messages == account->quota_messages) &&
           (!wanted->admin || account->admin);
}

/* An add that is repeated, or whose answer was lost: the account is as it says, and has that password. */
static enum cq_rc judge_active(struct admin_request *r, const struct dir_account_new *wanted,
                               const struct dir_account *account)
{
    struct auth_identity identity;
    const struct auth_login login = {DIR_IMAP, account->address, admin_field(r, "password")};
    enum cq_rc rc = says_the_same(r, wanted, account)
                        ? auth_verify(r->service->worker->auth, &login, r->pool, &identity, &r->err)
                        : CQ_E_AUTH;
    if (rc != CQ_E_AUTH && rc != CQ_E_DENIED)
        return rc;
    return CQ_FAIL(&r->err, CQ_E_EXISTS,
                   "%.*s exists already and is %s, with another password or other settings; see chasquictl account "
                   "password, account set",
                   CQ_SLICE_ARG(account->address), dir_state_name(account->state));
}

/* A first attempt may have got anywhere: its row is there without the shard's half, or the reconciler has finished it.
 */
static enum cq_rc judge_existing(struct admin_request *r, const struct dir_account *account)
{
    switch (account->id ? account->state : DIR_STATE_COUNT) {
    case DIR_CREATING:
        return auth_set_password(r->service->worker->auth, account->id, admin_field(r, "password"), &r->err);
    case DIR_DELETING:
        return CQ_FAIL(&r->err, CQ_E_EXISTS, "%.*s is being deleted; try again in a few seconds",
                       CQ_SLICE_ARG(account->address));
    case DIR_STATE_COUNT:
        return CQ_FAIL(&r->err, CQ_E_EXISTS, "the address is an alias; chasquictl alias remove makes it free");
    default:
        return CQ_FAIL(&r->err, CQ_E_EXISTS,
                       "%.*s exists already and is %s; chasquictl account password sets its password",
                       CQ_SLICE_ARG(account->address), dir_state_name(account->state));
    }
}

/* The row is there, so the account will come to be: by this command, or by the reconciler. */
static enum cq_rc finish_adding(struct admin_request *r, const struct dir_account *account)
{
    struct front_worker *worker = r->service->worker;
    enum cq_rc rc = admin_finish_creating(worker->directory, worker->mailstore, account, &r->err);
    if (rc == CQ_OK)
        return show_again(r, account->id);
    return CQ_FAIL(&r->err, rc == CQ_E_UNKNOWN_OUTCOME ? CQ_E_UNAVAILABLE : rc,
                   "its shard does not answer; the account is kept as \"creating\" and opened as soon as it does, see "
                   "chasquictl account list");
}

enum cq_rc admin_account_add(struct admin_request *r)
{
    struct dir_account_new wanted;
    struct dir_account account;
    enum cq_rc rc = new_account_of(r, &wanted);
    if (rc == CQ_OK)
        rc = auth_hash_password(r->service->worker->auth, admin_field(r, "password"), r->pool, &wanted.password_hash,
                                &r->err);
    if (rc != CQ_OK)
        return rc;
    rc = directory_account_create(r->service->worker->directory, &wanted, r->pool, &account, &r->err);
    if (rc == CQ_E_EXISTS && account.id && account.state == DIR_ACTIVE) {
        rc = judge_active(r, &wanted, &account);
        return rc == CQ_OK ? show_again(r, account.id) : rc;
    }
    if (rc == CQ_E_EXISTS)
        rc = judge_existing(r, &account);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(&r->err, rc, "%s; run chasquictl domain add first", cq_pool_printf(r->pool, "%s", r->err.text));
    return rc == CQ_OK ? finish_adding(r, &account) : rc;
}

enum cq_rc admin_account_list(struct admin_request *r)
{
    struct dir_account_filter filter = {.domain = admin_field(r, "domain"), .max = ADMIN_LIST_MAX};
    struct dir_account *accounts;
    enum dir_state state;
    size_t count = 0;
    enum cq_rc rc;
    if (admin_has(r, "state")) {
        if (!dir_state_parse(admin_field(r, "state"), &state))
            return CQ_FAIL(&r->err, CQ_E_INVALID, "--state is creating, active, disabled, vanished or deleting");
        filter.states = 1u << state;
    }
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
    if (rc == CQ_E_NO_ACCOUNT)
        return CQ_FAIL(&r->err, rc, "the account is %s, and its shard does not know it%s",
                       dir_state_name(account.state), account.state == DIR_CREATING ? " yet" : "");
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

/* The shard has the exact limits: it learns of a change here, or by the reconciler's audit. */
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
    if (rc == CQ_OK && !update.what && !admin_has(r, "enabled"))
        return CQ_FAIL(&r->err, CQ_E_INVALID,
                       "nothing to set: give --plan, --quota, --quota-messages, --services or "
                       "--enabled");
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
    rc = admin_finish_deleting(worker->directory, worker->mailstore, &account, &r->err);
    if (rc != CQ_OK)
        return CQ_FAIL(&r->err, rc == CQ_E_UNKNOWN_OUTCOME ? CQ_E_UNAVAILABLE : rc,
                       "its shard does not answer; the account is kept as \"deleting\" and removed as soon as it does");
    return ADMIN_ROW(r, admin_text(r, account.address));
}
