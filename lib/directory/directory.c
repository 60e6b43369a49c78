/* Who gets mail, domains and aliases. Accounts are in directory_account.c, opening in directory_open.c. */
#include "directory/directory_private.h"

#include "directory/dir_resolve.h"

#include "base/cq_time.h"

/* ---- Looking up ---- */

static enum cq_rc do_resolve(struct call *c)
{
    return dir_resolve_accounts(c->backend, c->text, c->pool, c->out, c->err);
}

enum cq_rc directory_resolve(struct directory *directory, struct cq_slice address, struct cq_pool *pool,
                             struct dir_resolution *resolution_r, struct cq_err *err)
{
    struct call call = {.text = address, .pool = pool, .out = resolution_r};
    return directory_run(directory, do_resolve, &call, err);
}

static enum cq_rc do_may_send_as(struct call *c)
{
    struct dir_targets targets;
    enum cq_rc rc = dir_resolve_targets(c->backend, c->text, c->tmp, &targets, c->err);
    if (rc != CQ_OK)
        return rc;
    for (size_t i = 0; i < targets.count && targets.answer == DIR_FOUND && targets.via != DIR_VIA_CATCH_ALL; i++)
        if (targets.ids[i] == c->id)
            return CQ_OK;
    return CQ_FAIL(c->err, CQ_E_DENIED, "the address is not one of the account's");
}

enum cq_rc directory_may_send_as(struct directory *directory, uint64_t account_id, struct cq_slice address,
                                 struct cq_err *err)
{
    struct call call = {.text = address, .id = account_id};
    return directory_run(directory, do_may_send_as, &call, err);
}

static enum cq_rc do_account(struct call *c)
{
    return c->backend->ops->account_get(c->backend, c->id, c->pool, c->out, c->err);
}

enum cq_rc directory_account(struct directory *directory, uint64_t account_id, struct cq_pool *pool,
                             struct dir_account *account_r, struct cq_err *err)
{
    struct call call = {.id = account_id, .pool = pool, .out = account_r};
    return directory_run(directory, do_account, &call, err);
}

static enum cq_rc do_account_by_login(struct call *c)
{
    struct dir_address address;
    struct dir_domain domain;
    struct dir_address_row row;
    if (dir_address_parse(c->text, c->tmp, &address, NULL) != CQ_OK || address.local.len == 0)
        return CQ_FAIL(c->err, CQ_E_NOT_FOUND, "no such login name");
    enum cq_rc rc = dir_resolve_domain(c->backend, address.domain, c->tmp, &domain, c->err);
    if (rc == CQ_OK)
        rc = c->backend->ops->address_get(c->backend, domain.id, address.local, c->tmp, &row, c->err);
    if (rc != CQ_OK)
        return rc;
    if (row.kind != DIR_PRIMARY || row.target_count != 1)
        return CQ_FAIL(c->err, CQ_E_NOT_FOUND, "no such login name");
    return c->backend->ops->account_get(c->backend, row.targets[0], c->pool, c->out, c->err);
}

enum cq_rc directory_account_by_login(struct directory *directory, struct cq_slice login, struct cq_pool *pool,
                                      struct dir_account *account_r, struct cq_err *err)
{
    struct call call = {.text = login, .pool = pool, .out = account_r};
    return directory_run(directory, do_account_by_login, &call, err);
}

static enum cq_rc do_login_name(struct call *c)
{
    const struct dir_address *address = c->in;
    struct dir_domain domain;
    struct cq_slice *name = c->out;
    enum cq_rc rc = dir_resolve_domain(c->backend, address->domain, c->tmp, &domain, c->err);
    if (rc == CQ_OK)
        *name = cq_slice_cstr(
            cq_pool_printf(c->pool, "%.*s@%.*s", CQ_SLICE_ARG(address->local), CQ_SLICE_ARG(domain.name)));
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc;
}

struct cq_slice directory_login_name(struct directory *directory, struct cq_slice login, struct cq_pool *pool)
{
    struct dir_address address;
    if (dir_address_parse(login, pool, &address, NULL) != CQ_OK)
        return login;
    struct cq_slice name = address.text;
    struct call call = {.in = &address, .pool = pool, .out = &name};
    directory_run(directory, do_login_name, &call, NULL);
    return name;
}

/* ---- Domains ---- */

enum cq_rc directory_parse_domain(struct call *c, struct cq_slice text, struct cq_slice *name_r)
{
    return dir_domain_parse(text, c->tmp, name_r, c->err);
}

/* By its canonical name, in `pool`. */
enum cq_rc directory_find_domain(struct call *c, struct cq_slice name, struct cq_pool *pool,
                                 struct dir_domain *domain_r)
{
    enum cq_rc rc = c->backend->ops->domain_get(c->backend, name, pool, domain_r, c->err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(c->err, rc, "%.*s is no domain of ours", CQ_SLICE_ARG(name));
    return rc;
}

enum cq_rc directory_get_domain(struct call *c, struct cq_slice text, struct dir_domain *domain_r)
{
    struct cq_slice name;
    enum cq_rc rc = directory_parse_domain(c, text, &name);
    return rc == CQ_OK ? directory_find_domain(c, name, c->tmp, domain_r) : rc;
}

static enum cq_rc do_domain_add(struct call *c)
{
    struct cq_slice name;
    struct dir_domain target = {0};
    enum cq_rc rc = directory_parse_domain(c, c->text, &name);
    if (rc == CQ_OK && c->other.len)
        rc = directory_get_domain(c, c->other, &target);
    if (rc != CQ_OK)
        return rc;
    if (target.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "the target is an alias domain itself");
    return c->backend->ops->domain_add(c->backend, name, target.id, cq_time_wall_us(), c->err);
}

enum cq_rc directory_domain_add(struct directory *directory, struct cq_slice name, struct cq_err *err)
{
    struct call call = {.text = name};
    return directory_run(directory, do_domain_add, &call, err);
}

enum cq_rc directory_domain_alias_add(struct directory *directory, struct cq_slice alias, struct cq_slice target,
                                      struct cq_err *err)
{
    struct call call = {.text = alias, .other = target};
    if (target.len == 0)
        return CQ_FAIL(err, CQ_E_INVALID, "an alias domain needs a target");
    return directory_run(directory, do_domain_add, &call, err);
}

static enum cq_rc do_domain_postmaster(struct call *c)
{
    struct dir_domain domain;
    struct dir_account account;
    enum cq_rc rc = directory_get_domain(c, c->text, &domain);
    if (rc == CQ_OK && domain.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "an alias domain has its target's postmaster");
    if (rc == CQ_OK && c->id)
        rc = c->backend->ops->account_get(c->backend, c->id, c->tmp, &account, c->err);
    return rc == CQ_OK ? c->backend->ops->domain_set_postmaster(c->backend, domain.id, c->id, c->err) : rc;
}

enum cq_rc directory_domain_postmaster(struct directory *directory, struct cq_slice name, uint64_t account_id,
                                       struct cq_err *err)
{
    struct call call = {.text = name, .id = account_id};
    return directory_run(directory, do_domain_postmaster, &call, err);
}

static enum cq_rc do_domain_remove(struct call *c)
{
    struct dir_domain domain;
    enum cq_rc rc = directory_get_domain(c, c->text, &domain);
    return rc == CQ_OK ? c->backend->ops->domain_remove(c->backend, domain.id, c->err) : rc;
}

enum cq_rc directory_domain_remove(struct directory *directory, struct cq_slice name, struct cq_err *err)
{
    struct call call = {.text = name};
    return directory_run(directory, do_domain_remove, &call, err);
}

static enum cq_rc do_domain(struct call *c)
{
    struct cq_slice name;
    enum cq_rc rc = directory_parse_domain(c, c->text, &name);
    return rc == CQ_OK ? directory_find_domain(c, name, c->pool, c->out) : rc;
}

enum cq_rc directory_domain(struct directory *directory, struct cq_slice name, struct cq_pool *pool,
                            struct dir_domain *domain_r, struct cq_err *err)
{
    struct call call = {.text = name, .pool = pool, .out = domain_r};
    return directory_run(directory, do_domain, &call, err);
}

static enum cq_rc do_domain_list(struct call *c)
{
    return c->backend->ops->domain_list(c->backend, c->text, c->max, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_domain_list(struct directory *directory, struct cq_slice after, size_t max, struct cq_pool *pool,
                                 struct dir_domain **domains_r, size_t *count_r, struct cq_err *err)
{
    struct call call = {.text = after, .max = directory_page(max), .pool = pool, .out = domains_r, .count_r = count_r};
    return directory_run(directory, do_domain_list, &call, err);
}

/* ---- Aliases ---- */

static enum cq_rc find_alias(struct call *c, struct dir_address *address_r, struct dir_domain *domain_r)
{
    enum cq_rc rc = dir_address_parse(c->text, c->tmp, address_r, c->err);
    return rc == CQ_OK ? directory_find_domain(c, address_r->domain, c->tmp, domain_r) : rc;
}

static enum cq_rc do_alias_add(struct call *c)
{
    struct dir_address address;
    struct dir_domain domain;
    struct dir_account account;
    enum cq_rc rc = find_alias(c, &address, &domain);
    if (rc == CQ_OK)
        rc = c->backend->ops->account_get(c->backend, c->id, c->tmp, &account, c->err);
    if (rc != CQ_OK)
        return rc;
    if (domain.alias_of)
        return CQ_FAIL(c->err, CQ_E_INVALID, "an alias domain has no addresses of its own");
    if (address.local.len && !dir_local_creatable(address.local))
        return CQ_FAIL(c->err, CQ_E_INVALID, "no alias can have this local part: letters, digits, dots in between");
    return c->backend->ops->target_add(c->backend, domain.id, address.local,
                                       address.local.len ? DIR_ALIAS : DIR_CATCH_ALL, c->id, c->err);
}

enum cq_rc directory_alias_add(struct directory *directory, struct cq_slice address, uint64_t account_id,
                               struct cq_err *err)
{
    struct call call = {.text = address, .id = account_id};
    return directory_run(directory, do_alias_add, &call, err);
}

static enum cq_rc do_alias_remove(struct call *c)
{
    struct dir_address address;
    struct dir_domain domain;
    enum cq_rc rc = find_alias(c, &address, &domain);
    if (rc != CQ_OK)
        return rc;
    rc = c->backend->ops->target_remove(c->backend, domain.id, address.local, c->id, c->err);
    if (rc == CQ_E_NOT_FOUND)
        return CQ_FAIL(c->err, rc, "%.*s is no alias%s", CQ_SLICE_ARG(address.text), c->id ? " of that account" : "");
    return rc;
}

enum cq_rc directory_alias_remove(struct directory *directory, struct cq_slice address, uint64_t account_id,
                                  struct cq_err *err)
{
    struct call call = {.text = address, .id = account_id};
    return directory_run(directory, do_alias_remove, &call, err);
}

static enum cq_rc do_address_list(struct call *c)
{
    struct dir_domain domain = {0};
    enum cq_rc rc = c->id ? CQ_OK : directory_get_domain(c, c->text, &domain);
    if (rc != CQ_OK)
        return rc;
    return c->backend->ops->address_list(c->backend, c->id, domain.id, c->max, c->pool, c->out, c->count_r, c->err);
}

enum cq_rc directory_address_list(struct directory *directory, uint64_t account_id, struct cq_slice domain, size_t max,
                                  struct cq_pool *pool, struct dir_address_row **rows_r, size_t *count_r,
                                  struct cq_err *err)
{
    struct call call = {
        .id = account_id, .text = domain, .max = directory_page(max), .pool = pool, .out = rows_r, .count_r = count_r};
    return directory_run(directory, do_address_list, &call, err);
}
