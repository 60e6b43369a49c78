#include "unit/directory/suite_private.h"

const struct dir_suite *suite;
struct directory *dir;
struct cq_pool *pool;
struct cq_err suite_err;

int suite_setup(void **state)
{
    (void)state;
    pool = cq_pool_new(4096);
    cq_err_clear(&suite_err);
    dir = suite->create(suite->ctx);
    return dir ? 0 : -1;
}

int suite_teardown(void **state)
{
    (void)state;
    directory_close(&dir);
    suite->destroy(suite->ctx);
    cq_pool_free(&pool);
    return 0;
}

uint64_t suite_create(const char *address, uint16_t slot, bool admin)
{
    struct dir_account account;
    const struct dir_account_new new = {
        .address = S(address), .slot = slot, .home_dc = S("a"), .services = DIR_ALL_SERVICES, .admin = admin};
    assert_ok(directory_account_create(dir, &new, pool, &account, &suite_err));
    return account.id;
}

uint64_t suite_add(const char *address)
{
    uint64_t id = suite_create(address, 7, false);
    assert_ok(directory_account_activate(dir, id, &suite_err));
    return id;
}

uint64_t suite_add_admin(const char *address)
{
    uint64_t id = suite_create(address, 7, true);
    assert_ok(directory_account_activate(dir, id, &suite_err));
    return id;
}

struct dir_account suite_get(uint64_t id)
{
    struct dir_account account;
    assert_ok(directory_account(dir, id, pool, &account, &suite_err));
    return account;
}

struct dir_resolution suite_resolve(const char *address)
{
    struct dir_resolution r;
    assert_ok(directory_resolve(dir, S(address), pool, &r, &suite_err));
    return r;
}

void suite_expect_one(const char *address, enum dir_via via, uint64_t id)
{
    struct dir_resolution r = suite_resolve(address);
    if (r.answer != DIR_FOUND || r.account_count != 1 || r.accounts[0].id != id || r.via != via)
        fail_msg("%s: answer %d, %zu accounts, via %d", address, r.answer, r.account_count, r.via);
}

void suite_expect_answer(const char *address, enum dir_answer answer)
{
    struct dir_resolution r = suite_resolve(address);
    if (r.answer != answer || (answer != DIR_FOUND && r.account_count))
        fail_msg("%s: answer %d, want %d", address, r.answer, answer);
}

uint64_t suite_put_app(uint64_t account, const char *prefix, const char *label)
{
    uint64_t id = 0;
    const struct dir_credential row = {.account_id = account,
                                       .kind = DIR_APP_PASSWORD,
                                       .scopes = DIR_IMAP,
                                       .prefix = S(prefix),
                                       .hash = S("hash of it"),
                                       .label = S(label),
                                       .expires_us = 99};
    assert_ok(directory_credential_put(dir, &row, &id, &suite_err));
    return id;
}

int dir_suite_run(const struct dir_suite *which)
{
    suite = which;
    return suite_account_tests(which->name) + suite_resolve_tests(which->name) + suite_credential_tests(which->name) +
           suite_lasting_tests(which->name);
}
