/* Accounts, those that are half done among them, and their credentials. */
#include "directory/directory_private.h"

#include "directory/dir_address.h"

#include "base/cq_rand.h"
#include "base/cq_text.h"
#include "base/cq_time.h"

#define ID_TRIES 16
#define PLAN_NAME(name, ...) " " name
#define PENDING_AGE_MAX_US (UINT64_C(86400) * 365 * 1000000) /* so that no clock reading is smaller */

/* ---- Accounts ---- */

static enum cq_rc check_quota(uint64_t bytes, uint64_t messages, struct cq_err *err)
{
    if (bytes > INT64_MAX || messages > INT64_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "quota is over 2^63 - 1");
    return CQ_OK;
}

static enum cq_rc check_home_dc(struct cq_slice name, struct cq_err *err)
{
    if (name.len > DIR_LABEL_MAX || !cq_utf8_valid(name) || cq_slice_find(name, '\0') < name.len)
        return CQ_FAIL(err, CQ_E_INVALID, "name of a data centre is over %d bytes or no text", DIR_LABEL_MAX);
    return CQ_OK;
}

static enum cq_rc check_services(unsigned services, struct cq_err *err)
{
    if (services & ~(unsigned)DIR_ALL_SERVICES)
        return CQ_FAIL(err, CQ_E_INVALID, "unknown service");
    return CQ_OK;
}

/* The low 48 bits are random, not counted: after a restore of an old copy of the database no new account can get the
 * id, and with it the mailboxes, of an account that the copy does not know. */
static uint64_t make_account_id(uint16_t slot)
{
    uint64_t low;
    do
        low = cq_rand_u64() >> 16;
    while (low == 0);
    return (uint64_t)slot << DIR_SLOT_SHIFT | low;
}

static enum cq_rc check_new_account(const struct dir_account_new *new, const struct dir_plan *plan,
                                    const struct dir_address *address, struct cq_err *err)
{
    enum cq_rc rc;
    if (!plan)
        return CQ_FAIL(err, CQ_E_INVALID, "there is no such plan, but" DIR_PLANS(PLAN_NAME));
    if (!dir_local_creatable(address->local) || address->base.len < address->local.len)
        return CQ_FAIL(err, CQ_E_INVALID,
                       "no account can have this local part: letters, digits, dots in between, no tag");
    if ((rc = check_home_dc(new->home_dc, err)) != CQ_OK || (rc = check_services(new->services, err)) != CQ_OK)
        return rc;
    return check_quota(new->quota_bytes, new->quota_messages, err);
}

/* The address is taken: by whom? An id of 0 when it is an alias. */
static enum cq_rc tell_holder(struct call *c, uint64_t domain_id, struct cq_slice local)
{
    struct dir_account *account = c->out;
    struct dir_address_row row;
    *account = (struct dir_account){0};
    enum cq_rc rc = c->backend->ops->address_get(c->backend, domain_id, local, c->tmp, &row, c->err);
    if (rc == CQ_OK && row.kind == DIR_PRIMARY && row.target_count == 1)
        rc = c->backend->ops->account_get(c->backend, row.targets[0], c->pool, account, c->err);
    return rc == CQ_OK ? CQ_FAIL(c->err, CQ_E_EXISTS, "the address is taken") : rc;
}

static enum cq_rc add_with_new_id(struct call *c, struct dir_account_row *row, uint16_t slot)
{
    enum cq_rc rc = CQ_E_CONFLICT;
    for (int i = 0; i < ID_TRIES && rc == CQ_E_CONFLICT; i++) {
        row->id = make_account_id(slot);
        rc = c->backend->ops->account_add(c->backend, row, c->err);
    }
    return rc;
}

static enum cq_rc do_account_create(struct call *c)
{
    const struct dir_account_new *new = c->in;
    struct dir_address address;
    struct dir_domain domain;
    const struct dir_plan *plan = dir_plan_find(new->plan.len ? new->plan : CQ_SLICE(DIR_PLAN_DEFAULT));
    enum cq_rc rc = dir_address_parse(new->address, c->tmp, &address, c->err);
    if (rc == CQ_OK)
        rc = check_new_account(new, plan, &address, c->err);
    if (rc == CQ_OK)
        rc = directory_find_domain(c, address.domain, c->tmp, &domain);
    if (rc != CQ_OK)
        return rc;
    if (domain.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "an alias domain has no accounts of its own");
    struct dir_account_row row = {
        .domain_id = domain.id,
        .local = address.local,
        .home_dc = new->home_dc,
        .plan = plan,
        .services = new->services,
        .admin = new->admin,
        .quota_bytes = new->quota_bytes,
        .quota_messages = new->quota_messages,
        .password_hash = new->password_hash,
        .now_us = cq_time_wall_us(),
    };
    rc = add_with_new_id(c, &row, new->slot);
    if (rc == CQ_E_EXISTS)
        return tell_holder(c, domain.id, address.local);
    return rc == CQ_OK ? c->backend->ops->account_get(c->backend, row.id, c->pool, c->out, c->err) : rc;
}

enum cq_rc directory_account_create(struct directory *directory, const struct dir_account_new *account,
                                    struct cq_pool *pool, struct dir_account *account_r, struct cq_err *err)
{
    struct call call = {.in = account, .pool = pool, .out = account_r};
    *account_r = (struct dir_account){0};
    return directory_run(directory, do_account_create, &call, err);
}

static enum cq_rc do_set_state(struct call *c)
{
    return c->backend->ops->account_set_state(c->backend, c->id, c->from, c->to, c->err);
}

static enum cq_rc set_state(struct directory *directory, uint64_t account_id, unsigned from, enum dir_state to,
                            struct cq_err *err)
{
    struct call call = {.id = account_id, .from = from, .to = to};
    return directory_run(directory, do_set_state, &call, err);
}

enum cq_rc directory_account_activate(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_CREATING, DIR_ACTIVE, err);
}

enum cq_rc directory_account_disable(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_ACTIVE, DIR_DISABLED, err);
}

enum cq_rc directory_account_enable(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_DISABLED, DIR_ACTIVE, err);
}

enum cq_rc directory_account_delete(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    return set_state(directory, account_id, 1u << DIR_CREATING | DIR_STATES_KEPT, DIR_DELETING, err);
}

static enum cq_rc do_account_remove(struct call *c)
{
    enum cq_rc rc = c->backend->ops->account_remove(c->backend, c->id, c->err);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

enum cq_rc directory_account_remove(struct directory *directory, uint64_t account_id, struct cq_err *err)
{
    struct call call = {.id = account_id};
    return directory_run(directory, do_account_remove, &call, err);
}

static enum cq_rc do_account_update(struct call *c)
{
    const struct dir_account_update *update = c->in;
    const struct dir_plan *plan = NULL;
    enum cq_rc rc = CQ_OK;
    if (update->what & DIR_SET_PLAN && !(plan = dir_plan_find(update->plan)))
        return CQ_FAIL(c->err, CQ_E_INVALID, "there is no such plan, but" DIR_PLANS(PLAN_NAME));
    if (update->what & DIR_SET_SERVICES)
        rc = check_services(update->services, c->err);
    if (rc == CQ_OK && update->what & DIR_SET_QUOTA)
        rc = check_quota(update->quota_bytes, update->quota_messages, c->err);
    if (rc == CQ_OK && update->what & DIR_SET_HOME_DC)
        rc = check_home_dc(update->home_dc, c->err);
    return rc == CQ_OK ? c->backend->ops->account_update(c->backend, c->id, update, plan, c->err) : rc;
}

enum cq_rc directory_account_update(struct directory *directory, uint64_t account_id,
                                    const struct dir_account_update *update, struct cq_err *err)
{
    struct call call = {.id = account_id, .in = update};
    return directory_run(directory, do_account_update, &call, err);
}

static enum cq_rc do_account_list(struct call *c)
{
    const struct dir_account_filter *filter = c->in;
    struct dir_account_query query = {
        .states = filter->states ? filter->states : (1u << DIR_STATE_COUNT) - 1,
        .after_id = filter->after_id,
        .max = directory_page(filter->max),
    };
    struct dir_domain domain;
    enum cq_rc rc = filter->domain.len ? directory_get_domain(c, filter->domain, &domain) : CQ_OK;
    if (rc != CQ_OK)
        return rc;
    query.domain_id = filter->domain.len ? domain.id : 0;
    return c->backend->ops->account_list(c->backend, &query, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_account_list(struct directory *directory, const struct dir_account_filter *filter,
                                  struct cq_pool *pool, struct dir_account **accounts_r, size_t *count_r,
                                  struct cq_err *err)
{
    struct call call = {.in = filter, .pool = pool, .out = accounts_r, .count_r = count_r};
    return directory_run(directory, do_account_list, &call, err);
}

/* ---- Half done ---- */

static enum cq_rc do_pending_list(struct call *c)
{
    struct dir_pending_query query = *(const struct dir_pending_query *)c->in;
    query.max = directory_page(query.max);
    if (query.age_min_us > PENDING_AGE_MAX_US)
        query.age_min_us = PENDING_AGE_MAX_US;
    return c->backend->ops->pending_list(c->backend, &query, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_pending_list(struct directory *directory, const struct dir_pending_query *query,
                                  struct cq_pool *pool, struct dir_account **accounts_r, size_t *count_r,
                                  struct cq_err *err)
{
    struct call call = {.in = query, .pool = pool, .out = accounts_r, .count_r = count_r};
    return directory_run(directory, do_pending_list, &call, err);
}

static enum cq_rc do_pending_count(struct call *c)
{
    return c->backend->ops->pending_count(c->backend, c->out, c->err);
}

enum cq_rc directory_pending_count(struct directory *directory, struct dir_pending *pending_r, struct cq_err *err)
{
    struct call call = {.out = pending_r};
    *pending_r = (struct dir_pending){0};
    return directory_run(directory, do_pending_count, &call, err);
}

/* ---- Credentials ---- */

static enum cq_rc do_credential_list(struct call *c)
{
    return c->backend->ops->credential_list(c->backend, c->id, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_credential_list(struct directory *directory, uint64_t account_id, struct cq_pool *pool,
                                     struct dir_credential **rows_r, size_t *count_r, struct cq_err *err)
{
    struct call call = {.id = account_id, .pool = pool, .out = rows_r, .count_r = count_r};
    return directory_run(directory, do_credential_list, &call, err);
}

static enum cq_rc do_credential_put(struct call *c)
{
    const struct dir_credential *row = c->in;
    if (row->label.len > DIR_LABEL_MAX || !cq_utf8_valid(row->label) ||
        cq_slice_find(row->label, '\0') < row->label.len)
        return CQ_FAIL(c->err, CQ_E_INVALID, "a label is over %d bytes or no text", DIR_LABEL_MAX);
    if (row->scopes == 0 || check_services(row->scopes, NULL) != CQ_OK)
        return CQ_FAIL(c->err, CQ_E_INVALID, "a credential is for some of imap, pop, smtp");
    if ((row->kind == DIR_APP_PASSWORD) != (row->prefix.len > 0))
        return CQ_FAIL(c->err, CQ_E_INVALID, "an app password has a prefix, a password has none");
    return c->backend->ops->credential_put(c->backend, row, cq_time_wall_us(), c->number_r, c->err);
}

enum cq_rc directory_credential_put(struct directory *directory, const struct dir_credential *credential,
                                    uint64_t *id_r, struct cq_err *err)
{
    struct call call = {.in = credential, .number_r = id_r};
    return directory_run(directory, do_credential_put, &call, err);
}

static enum cq_rc do_credential_rehash(struct call *c)
{
    return c->backend->ops->credential_rehash(c->backend, c->id, c->number, c->text, c->err);
}

enum cq_rc directory_credential_rehash(struct directory *directory, uint64_t credential_id, uint64_t old_version,
                                       struct cq_slice hash, struct cq_err *err)
{
    struct call call = {.id = credential_id, .number = old_version, .text = hash};
    return directory_run(directory, do_credential_rehash, &call, err);
}

static enum cq_rc do_credential_used(struct call *c)
{
    return c->backend->ops->credential_used(c->backend, c->id, c->number, c->err);
}

enum cq_rc directory_credential_used(struct directory *directory, uint64_t credential_id, uint64_t now_us,
                                     struct cq_err *err)
{
    struct call call = {.id = credential_id, .number = now_us};
    return directory_run(directory, do_credential_used, &call, err);
}

static enum cq_rc do_credential_remove(struct call *c)
{
    return c->backend->ops->credential_remove(c->backend, c->id, c->id2, c->err);
}

enum cq_rc directory_credential_remove(struct directory *directory, uint64_t account_id, uint64_t credential_id,
                                       struct cq_err *err)
{
    struct call call = {.id = account_id, .id2 = credential_id};
    return directory_run(directory, do_credential_remove, &call, err);
}
