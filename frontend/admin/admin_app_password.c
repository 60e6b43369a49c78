/* app-password add, list, remove. */
#include "admin/admin_request.h"

#include "base/cq_time.h"

enum cq_rc admin_app_password_add(struct admin_request *r)
{
    struct dir_account account;
    struct auth_app_password what = {.scopes = DIR_ALL_SERVICES, .label = admin_field(r, "label")};
    char password[AUTH_APP_PASSWORD_SIZE];
    uint64_t id = 0, lifetime_us;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK && admin_has(r, "services"))
        rc = admin_parse_services(r, admin_field(r, "services"), &what.scopes);
    if (rc == CQ_OK && admin_has(r, "expires")) {
        if (!cq_config_duration(admin_field(r, "expires"), &lifetime_us))
            return CQ_FAIL(&r->err, CQ_E_INVALID, "--expires is a time such as 30d or 12h");
        what.expires_us = cq_time_wall_us() + lifetime_us;
    }
    if (rc == CQ_OK)
        rc = auth_app_password_add(r->service->worker->auth, account.id, &what, password, &id, &r->err);
    return rc == CQ_OK ? ADMIN_ROW(r, admin_number(r, id), admin_text(r, cq_slice_cstr(password))) : rc;
}

enum cq_rc admin_app_password_list(struct admin_request *r)
{
    struct dir_account account;
    struct dir_credential *rows;
    size_t count = 0;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK)
        rc = directory_credential_list(r->service->worker->directory, account.id, r->pool, &rows, &count, &r->err);
    for (size_t i = 0; rc == CQ_OK && i < count; i++)
        if (rows[i].kind == DIR_APP_PASSWORD)
            rc = ADMIN_ROW(r, admin_number(r, rows[i].id), admin_text(r, rows[i].label),
                           admin_services(r, rows[i].scopes), admin_time(r, rows[i].created_us),
                           admin_time(r, rows[i].expires_us), admin_time(r, rows[i].last_used_us));
    return rc;
}

/* The account's password has an id too, and is not for this command. */
static enum cq_rc is_app_password(struct admin_request *r, const struct dir_account *account, uint64_t id)
{
    struct dir_credential *rows;
    size_t count = 0;
    enum cq_rc rc =
        directory_credential_list(r->service->worker->directory, account->id, r->pool, &rows, &count, &r->err);
    for (size_t i = 0; rc == CQ_OK && i < count; i++)
        if (rows[i].id == id && rows[i].kind == DIR_APP_PASSWORD)
            return CQ_OK;
    if (rc != CQ_OK)
        return rc;
    return CQ_FAIL(&r->err, CQ_E_NOT_FOUND, "the account has no app password %llu; see chasquictl app-password list",
                   (unsigned long long)id);
}

enum cq_rc admin_app_password_remove(struct admin_request *r)
{
    struct dir_account account;
    uint64_t id = 0;
    enum cq_rc rc = admin_account(r, "address", &account);
    if (rc == CQ_OK)
        rc = admin_parse_number(r, "id", &id);
    if (rc == CQ_OK)
        rc = is_app_password(r, &account, id);
    if (rc == CQ_OK)
        rc = directory_credential_remove(r->service->worker->directory, account.id, id, &r->err);
    return rc == CQ_OK ? ADMIN_ROW(r, admin_number(r, id)) : rc;
}
