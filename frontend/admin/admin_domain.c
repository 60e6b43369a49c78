/* domain add, list, set, remove. */
#include "admin/admin_request.h"

static enum cq_rc done(struct admin_request *r, enum cq_rc rc)
{
    return rc == CQ_OK ? ADMIN_ROW(r, admin_text(r, admin_field(r, "domain"))) : rc;
}

enum cq_rc admin_domain_add(struct admin_request *r)
{
    struct directory *directory = r->service->worker->directory;
    struct cq_slice name = admin_field(r, "domain");
    enum cq_rc rc = admin_has(r, "alias-of")
                        ? directory_domain_alias_add(directory, name, admin_field(r, "alias-of"), &r->err)
                        : directory_domain_add(directory, name, &r->err);
    return done(r, rc);
}

static enum cq_rc list_row(struct admin_request *r, const struct dir_domain *domain)
{
    struct dir_account postmaster = {.address = CQ_SLICE_NONE};
    if (domain->postmaster)
        directory_account(r->service->worker->directory, domain->postmaster, r->pool, &postmaster, &r->err);
    return ADMIN_ROW(r, admin_text(r, domain->name), admin_text(r, domain->alias_of_name),
                     admin_text(r, postmaster.address));
}

enum cq_rc admin_domain_list(struct admin_request *r)
{
    struct dir_domain *domains;
    struct cq_slice after = CQ_SLICE_NONE;
    size_t count = 0;
    enum cq_rc rc;
    do {
        rc = directory_domain_list(r->service->worker->directory, after, ADMIN_LIST_MAX, r->pool, &domains, &count,
                                   &r->err);
        for (size_t i = 0; rc == CQ_OK && i < count; i++) {
            rc = list_row(r, &domains[i]);
            after = domains[i].name;
        }
    } while (rc == CQ_OK && count == ADMIN_LIST_MAX);
    return rc;
}

enum cq_rc admin_domain_set(struct admin_request *r)
{
    struct dir_account account = {.id = 0};
    enum cq_rc rc = CQ_OK;
    if (!admin_has(r, "postmaster"))
        return CQ_FAIL(&r->err, CQ_E_INVALID, "nothing to set: give --postmaster ADDRESS, or \"\" for the rule");
    if (admin_field(r, "postmaster").len)
        rc = admin_account(r, "postmaster", &account);
    if (rc == CQ_OK)
        rc = directory_domain_postmaster(r->service->worker->directory, admin_field(r, "domain"), account.id, &r->err);
    return done(r, rc);
}

enum cq_rc admin_domain_remove(struct admin_request *r)
{
    return done(r, directory_domain_remove(r->service->worker->directory, admin_field(r, "domain"), &r->err));
}
