/* alias add, list, remove. */
#include "admin/admin_request.h"

static enum cq_rc done(struct admin_request *r, enum cq_rc rc)
{
    return rc == CQ_OK ? ADMIN_ROW(r, admin_text(r, admin_field(r, "alias"))) : rc;
}

enum cq_rc admin_alias_add(struct admin_request *r)
{
    struct dir_account account;
    enum cq_rc rc = admin_account(r, "account", &account);
    if (rc == CQ_OK)
        rc = directory_alias_add(r->service->worker->directory, admin_field(r, "alias"), account.id, &r->err);
    return done(r, rc);
}

enum cq_rc admin_alias_remove(struct admin_request *r)
{
    struct dir_account account = {.id = 0};
    enum cq_rc rc = admin_has(r, "account") ? admin_account(r, "account", &account) : CQ_OK;
    if (rc == CQ_OK)
        rc = directory_alias_remove(r->service->worker->directory, admin_field(r, "alias"), account.id, &r->err);
    return done(r, rc);
}

/* The addresses of the accounts behind an alias, with commas. */
static enum cq_rc targets(struct admin_request *r, const struct dir_address_row *row, const char **text_r)
{
    struct cq_buf out;
    enum cq_rc rc = CQ_OK;
    cq_buf_init(&out, DIR_TARGETS_MAX * (DIR_ADDRESS_MAX + 1));
    for (size_t i = 0; rc == CQ_OK && i < row->target_count; i++) {
        struct dir_account account;
        rc = directory_account(r->service->worker->directory, row->targets[i], r->pool, &account, &r->err);
        if (rc == CQ_OK)
            cq_buf_printf(&out, "%s%.*s", i ? "," : "", CQ_SLICE_ARG(account.address));
    }
    *text_r = admin_text(r, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return rc;
}

enum cq_rc admin_alias_list(struct admin_request *r)
{
    static const char *const kinds[] = {
        [DIR_PRIMARY] = "primary", [DIR_ALIAS] = "alias", [DIR_CATCH_ALL] = "catch-all"};
    struct cq_slice of = admin_field(r, "of"), domain = of;
    struct dir_account account = {.id = 0};
    struct dir_address_row *rows;
    size_t count = 0;
    enum cq_rc rc = CQ_OK;
    if (cq_slice_find(of, '@') < of.len) {
        rc = admin_account(r, "of", &account);
        domain = CQ_SLICE_NONE;
    }
    if (rc == CQ_OK)
        rc = directory_address_list(r->service->worker->directory, account.id, domain, ADMIN_ROWS_MAX, r->pool, &rows,
                                    &count, &r->err);
    for (size_t i = 0; rc == CQ_OK && i < count; i++) {
        const char *to = "";
        rc = targets(r, &rows[i], &to);
        if (rc == CQ_OK)
            rc = ADMIN_ROW(r, admin_text(r, rows[i].address), kinds[rows[i].kind], to);
    }
    return rc;
}
