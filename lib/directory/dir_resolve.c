#include "directory/dir_resolve.h"

enum cq_rc dir_resolve_domain(struct dir_backend *backend, struct cq_slice name, struct cq_pool *pool,
                              struct dir_domain *domain_r, struct cq_err *err)
{
    enum cq_rc rc = backend->ops->domain_get(backend, name, pool, domain_r, err);
    if (rc != CQ_OK || domain_r->alias_of == 0)
        return rc;
    return backend->ops->domain_get(backend, domain_r->alias_of_name, pool, domain_r, err); /* aliases are one step */
}

/* ---- postmaster ---- */

/* CQ_OK: *active_r is known. Anything else is no answer: the mail must not go to somebody else for it. */
static enum cq_rc is_active(struct dir_backend *backend, uint64_t account_id, struct cq_pool *pool, bool *active_r,
                            struct cq_err *err)
{
    struct dir_account account;
    enum cq_rc rc = backend->ops->account_get(backend, account_id, pool, &account, err);
    *active_r = rc == CQ_OK && account.state == DIR_ACTIVE;
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

/* RFC 5321 section 4.5.1: mail to postmaster is always taken. domain NULL: "postmaster" without a domain. */
static enum cq_rc find_postmaster(struct dir_backend *backend, const struct dir_domain *domain, struct cq_pool *pool,
                                  uint64_t *id_r, struct cq_err *err)
{
    const struct {
        uint64_t domain_id;
        bool admin;
    } steps[] = {{domain ? domain->id : 0, true}, {domain ? domain->id : 0, false}, {0, true}, {0, false}};
    enum cq_rc rc = CQ_OK;
    bool chosen = false;
    if (domain && domain->postmaster)
        rc = is_active(backend, domain->postmaster, pool, &chosen, err);
    if (chosen)
        *id_r = domain->postmaster;
    if (chosen || rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        rc = backend->ops->first_account(backend, steps[i].domain_id, steps[i].admin, id_r, err);
        if (rc != CQ_E_NOT_FOUND)
            return rc;
    }
    return CQ_FAIL(err, CQ_E_UNAVAILABLE, "there is no active account for postmaster yet");
}

static enum cq_rc answer_postmaster(struct dir_backend *backend, const struct dir_domain *domain, struct cq_pool *pool,
                                    struct dir_targets *targets_r, struct cq_err *err)
{
    uint64_t *id = cq_pool_new_of(pool, uint64_t);
    enum cq_rc rc = find_postmaster(backend, domain, pool, id, err);
    if (rc != CQ_OK)
        return rc;
    targets_r->answer = DIR_FOUND;
    targets_r->via = DIR_VIA_POSTMASTER;
    targets_r->ids = id;
    targets_r->count = 1;
    return CQ_OK;
}

/* ---- Addresses ---- */

/* One look at one local part. CQ_E_NOT_FOUND: go on with the next rule. */
static enum cq_rc try_local(struct dir_backend *backend, uint64_t domain_id, struct cq_slice local,
                            struct cq_pool *pool, struct dir_targets *targets_r, struct cq_err *err)
{
    static const enum dir_via via[] = {
        [DIR_PRIMARY] = DIR_VIA_PRIMARY, [DIR_ALIAS] = DIR_VIA_ALIAS, [DIR_CATCH_ALL] = DIR_VIA_CATCH_ALL};
    struct dir_address_row row;
    enum cq_rc rc = backend->ops->address_get(backend, domain_id, local, pool, &row, err);
    if (rc != CQ_OK)
        return rc;
    targets_r->answer = DIR_FOUND;
    targets_r->via = via[row.kind];
    targets_r->ids = row.targets;
    targets_r->count = row.target_count;
    return CQ_OK;
}

static bool is_postmaster(struct cq_slice local)
{
    return cq_slice_eq(local, CQ_SLICE("postmaster"));
}

static enum cq_rc resolve_in_domain(struct dir_backend *backend, const struct dir_domain *domain, struct cq_pool *pool,
                                    struct dir_targets *targets_r, struct cq_err *err)
{
    struct dir_address *address = &targets_r->address;
    enum cq_rc rc = CQ_E_NOT_FOUND;
    if (address->local.len) /* "@domain" is a rule, not an address */
        rc = try_local(backend, domain->id, address->local, pool, targets_r, err);
    if (rc == CQ_E_NOT_FOUND && address->base.len < address->local.len) {
        rc = try_local(backend, domain->id, address->base, pool, targets_r, err);
        if (rc == CQ_OK)
            targets_r->via = DIR_VIA_PLUS;
    }
    if (rc == CQ_E_NOT_FOUND && is_postmaster(address->base))
        return answer_postmaster(backend, domain, pool, targets_r, err);
    if (rc == CQ_E_NOT_FOUND && address->local.len)
        rc = try_local(backend, domain->id, CQ_SLICE_NONE, pool, targets_r, err);
    if (rc != CQ_E_NOT_FOUND)
        return rc;
    targets_r->answer = DIR_NO_USER;
    return CQ_OK;
}

/* No such address can exist; is the domain at least ours? */
static enum cq_rc answer_malformed(struct dir_backend *backend, struct cq_slice text, struct cq_pool *pool,
                                   struct dir_targets *targets_r, struct cq_err *err)
{
    struct cq_slice name;
    struct dir_domain domain;
    size_t at = text.len;
    while (at > 0 && text.data[at - 1] != '@')
        at--;
    targets_r->answer = DIR_NO_DOMAIN;
    if (text.len > DIR_INPUT_MAX || dir_domain_parse(cq_slice_skip(text, at), pool, &name, NULL) != CQ_OK)
        return CQ_OK;
    enum cq_rc rc = dir_resolve_domain(backend, name, pool, &domain, err);
    if (rc == CQ_OK)
        targets_r->answer = DIR_NO_USER;
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

enum cq_rc dir_resolve_targets(struct dir_backend *backend, struct cq_slice address, struct cq_pool *pool,
                               struct dir_targets *targets_r, struct cq_err *err)
{
    struct dir_domain domain;
    *targets_r = (struct dir_targets){.answer = DIR_NO_DOMAIN};
    if (cq_slice_caseeq(address, CQ_SLICE("postmaster"))) { /* RFC 5321 section 4.1.1.3 */
        targets_r->address.text = targets_r->address.local = targets_r->address.base = CQ_SLICE("postmaster");
        return answer_postmaster(backend, NULL, pool, targets_r, err);
    }
    if (dir_address_parse(address, pool, &targets_r->address, NULL) != CQ_OK)
        return answer_malformed(backend, address, pool, targets_r, err);
    enum cq_rc rc = dir_resolve_domain(backend, targets_r->address.domain, pool, &domain, err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_OK;
    return rc == CQ_OK ? resolve_in_domain(backend, &domain, pool, targets_r, err) : rc;
}

/* ---- Accounts ---- */

struct loaded {
    struct dir_account *accounts; /* the active ones */
    size_t active;
    size_t disabled;
    enum dir_state waiting; /* creating or deleting, of some account; DIR_ACTIVE when there is none */
};

static enum cq_rc load_accounts(struct dir_backend *backend, const struct dir_targets *targets, struct cq_pool *pool,
                                struct loaded *loaded, struct cq_err *err)
{
    *loaded = (struct loaded){.accounts = cq_pool_calloc(pool, targets->count + 1, sizeof(struct dir_account)),
                              .waiting = DIR_ACTIVE};
    for (size_t i = 0; i < targets->count; i++) {
        struct dir_account *account = &loaded->accounts[loaded->active];
        enum cq_rc rc = backend->ops->account_get(backend, targets->ids[i], pool, account, err);
        if (rc == CQ_E_NOT_FOUND)
            continue; /* removed between the two looks */
        if (rc != CQ_OK)
            return rc;
        if (account->state == DIR_ACTIVE)
            loaded->active++;
        else if (account->state == DIR_DISABLED || account->state == DIR_VANISHED)
            loaded->disabled++;
        else
            loaded->waiting = account->state;
    }
    return CQ_OK;
}

/* The account of this name is no help now, but postmaster must be answered: somebody else gets it. */
static enum cq_rc other_postmaster(struct dir_backend *backend, struct cq_pool *pool, struct dir_targets *targets,
                                   struct loaded *loaded, struct cq_err *err)
{
    struct dir_domain domain;
    enum cq_rc rc = dir_resolve_domain(backend, targets->address.domain, pool, &domain, err);
    if (rc == CQ_OK)
        rc = answer_postmaster(backend, &domain, pool, targets, err);
    return rc == CQ_OK ? load_accounts(backend, targets, pool, loaded, err) : rc;
}

enum cq_rc dir_resolve_accounts(struct dir_backend *backend, struct cq_slice address, struct cq_pool *pool,
                                struct dir_resolution *resolution_r, struct cq_err *err)
{
    struct dir_targets targets;
    struct loaded loaded = {0};
    enum cq_rc rc = dir_resolve_targets(backend, address, pool, &targets, err);
    *resolution_r = (struct dir_resolution){.answer = targets.answer, .address = targets.address};
    if (rc != CQ_OK || targets.answer != DIR_FOUND)
        return rc;
    rc = load_accounts(backend, &targets, pool, &loaded, err);
    bool nobody = rc == CQ_OK && (loaded.active == 0 || loaded.waiting != DIR_ACTIVE);
    if (nobody && targets.via != DIR_VIA_POSTMASTER && is_postmaster(targets.address.base))
        rc = other_postmaster(backend, pool, &targets, &loaded, err);
    if (rc != CQ_OK)
        return rc;
    if (loaded.waiting != DIR_ACTIVE)
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "an account behind the address is %s", dir_state_name(loaded.waiting));
    resolution_r->via = targets.via;
    resolution_r->accounts = loaded.accounts;
    resolution_r->account_count = loaded.active;
    if (loaded.active == 0)
        resolution_r->answer = loaded.disabled ? DIR_USER_DISABLED : DIR_NO_USER;
    return CQ_OK;
}
