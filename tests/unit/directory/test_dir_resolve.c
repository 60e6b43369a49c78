/* Who is behind an address, over a backend whose rows can be away one by one. */
#include "directory/dir_resolve.h"

#include "unit/cq_cmocka.h"

/* One domain, a.test, whose postmaster is account 7; account 1 is its first admin. Nobody else. */
static enum cq_rc of_seven; /* what is said of account 7 */
static enum dir_state state_of_seven;

static enum cq_rc domain_get(struct dir_backend *self, struct cq_slice name, struct cq_pool *pool,
                             struct dir_domain *out, struct cq_err *err)
{
    (void)self, (void)pool, (void)err;
    *out = (struct dir_domain){.id = 5, .name = name, .postmaster = 7};
    return CQ_OK;
}

static enum cq_rc address_get(struct dir_backend *self, uint64_t domain, struct cq_slice local, struct cq_pool *pool,
                              struct dir_address_row *out, struct cq_err *err)
{
    (void)self, (void)domain, (void)local, (void)pool, (void)out, (void)err;
    return CQ_E_NOT_FOUND;
}

static enum cq_rc account_get(struct dir_backend *self, uint64_t id, struct cq_pool *pool, struct dir_account *out,
                              struct cq_err *err)
{
    (void)self, (void)pool, (void)err;
    *out = (struct dir_account){.id = id, .state = id == 7 ? state_of_seven : DIR_ACTIVE};
    return id == 7 ? of_seven : CQ_OK;
}

static enum cq_rc first_account(struct dir_backend *self, uint64_t domain, bool admin, uint64_t *id_r,
                                struct cq_err *err)
{
    (void)self, (void)domain, (void)admin, (void)err;
    *id_r = 1;
    return CQ_OK;
}

static void postmaster_mail_goes_to_the_chosen_account_or_waits_for_it(void **state)
{
    static const struct dir_backend_ops ops = {.domain_get = domain_get,
                                               .address_get = address_get,
                                               .account_get = account_get,
                                               .first_account = first_account};
    static const struct {
        enum cq_rc of_seven;
        enum dir_state state;
        enum cq_rc rc;
        uint64_t gets_it;
    } cases[] = {
        {CQ_OK, DIR_ACTIVE, CQ_OK, 7},
        {CQ_OK, DIR_DISABLED, CQ_OK, 1},
        {CQ_OK, DIR_VANISHED, CQ_OK, 1},
        {CQ_E_NOT_FOUND, DIR_ACTIVE, CQ_OK, 1},
        {CQ_E_UNAVAILABLE, DIR_ACTIVE, CQ_E_UNAVAILABLE, 0}, /* no answer: nobody else's mail */
        {CQ_E_TIMEOUT, DIR_ACTIVE, CQ_E_TIMEOUT, 0},
        {CQ_E_BEHIND, DIR_ACTIVE, CQ_E_BEHIND, 0},
    };
    struct dir_backend backend = {.ops = &ops};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_pool *pool = cq_pool_new(1024);
        struct dir_resolution found;
        of_seven = cases[i].of_seven;
        state_of_seven = cases[i].state;
        assert_int_equal(dir_resolve_accounts(&backend, CQ_SLICE("postmaster@a.test"), pool, &found, NULL),
                         cases[i].rc);
        assert_int_equal(found.account_count, cases[i].gets_it ? 1 : 0);
        if (cases[i].gets_it)
            assert_int_equal(found.accounts[0].id, cases[i].gets_it);
        cq_pool_free(&pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(postmaster_mail_goes_to_the_chosen_account_or_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
