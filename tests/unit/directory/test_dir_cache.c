#include "directory/dir_cache.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

/* A database of one domain, one account and a feed that the test writes; it answers, or it is gone. */
static struct {
    struct dir_backend base;
    enum cq_rc down; /* what every call gets; CQ_OK: it answers */
    unsigned asked;
    uint64_t version, first_version, head; /* of the account; of the feed */
    struct dir_change feed[16];
    bool gone; /* the account was removed */
} db;

static uint64_t now_us;
static struct dir_backend *cache;
static struct cq_pool *pool;
static struct cq_err err;

static uint64_t clock_us(void)
{
    return now_us;
}

static enum cq_rc answer(void)
{
    db.asked++;
    return db.down;
}

static enum cq_rc db_domain(struct dir_backend *self, struct cq_slice name, struct cq_pool *p, struct dir_domain *out,
                            struct cq_err *e)
{
    (void)self, (void)e;
    if (answer() != CQ_OK)
        return db.down;
    *out = (struct dir_domain){.id = 1, .name = cq_pool_slice(p, name)};
    return cq_slice_eq(name, CQ_SLICE("a.test")) ? CQ_OK : CQ_E_NOT_FOUND;
}

static enum cq_rc db_address(struct dir_backend *self, uint64_t domain, struct cq_slice local, struct cq_pool *p,
                             struct dir_address_row *out, struct cq_err *e)
{
    (void)self, (void)domain, (void)e;
    if (answer() != CQ_OK)
        return db.down;
    uint64_t *id = cq_pool_new_of(p, uint64_t);
    *id = 7;
    *out = (struct dir_address_row){.address = CQ_SLICE("x@a.test"), .targets = id, .target_count = 1};
    if (cq_slice_eq(local, CQ_SLICE("soon")))
        return CQ_E_BEHIND;
    return cq_slice_eq(local, CQ_SLICE("x")) && !db.gone ? CQ_OK : CQ_E_NOT_FOUND;
}

static enum cq_rc db_account(struct dir_backend *self, uint64_t id, struct cq_pool *p, struct dir_account *out,
                             struct cq_err *e)
{
    (void)self, (void)p, (void)e;
    if (answer() != CQ_OK)
        return db.down;
    *out = (struct dir_account){.id = id, .version = db.version, .address = CQ_SLICE("x@a.test"), .state = DIR_ACTIVE};
    return id == 7 && !db.gone ? CQ_OK : CQ_E_NOT_FOUND;
}

static enum cq_rc db_credentials(struct dir_backend *self, uint64_t id, struct cq_pool *p,
                                 struct dir_credential **rows_r, size_t *count_r, struct cq_err *e)
{
    (void)self, (void)e;
    if (answer() != CQ_OK)
        return db.down;
    *rows_r = cq_pool_calloc(p, 2, sizeof **rows_r);
    (*rows_r)[0] =
        (struct dir_credential){.id = 3, .account_id = id, .hash = CQ_SLICE("secret"), .version = db.version};
    (*rows_r)[1] = (struct dir_credential){.id = 4, .account_id = id, .hash = CQ_SLICE("other")};
    *count_r = 2;
    return CQ_OK;
}

static enum cq_rc db_changes(struct dir_backend *self, uint64_t since, size_t max, struct cq_pool *p,
                             struct dir_change **rows_r, size_t *count_r, uint64_t *head_r, struct cq_err *e)
{
    (void)self, (void)e;
    if (answer() != CQ_OK)
        return db.down;
    *head_r = db.head;
    *count_r = 0;
    if (since + 1 < db.first_version)
        return CQ_E_STALE;
    *rows_r = cq_pool_calloc(p, max + 1, sizeof **rows_r);
    for (uint64_t v = since + 1; v <= db.head && *count_r < max; v++)
        (*rows_r)[(*count_r)++] = db.feed[v % 16];
    return CQ_OK;
}

static enum cq_rc db_set_state(struct dir_backend *self, uint64_t id, unsigned from, enum dir_state to,
                               struct cq_err *e)
{
    (void)self, (void)id, (void)from, (void)to, (void)e;
    return answer();
}

static void db_close(struct dir_backend *self)
{
    (void)self;
}

static const struct dir_backend_ops db_ops = {
    .name = "memory",
    .close = db_close,
    .domain_get = db_domain,
    .address_get = db_address,
    .account_get = db_account,
    .credential_list = db_credentials,
    .changes = db_changes,
    .account_set_state = db_set_state,
};

static void change(enum dir_change_kind kind, uint64_t account)
{
    db.version = ++db.head;
    db.feed[db.head % 16] = (struct dir_change){.version = db.head, .kind = kind, .account_id = account};
}

static uint64_t feed_seen;

static void poll_feed(void)
{
    struct dir_change *rows;
    size_t count;
    enum cq_rc rc = cache->ops->changes(cache, feed_seen, 1000, pool, &rows, &count, &feed_seen, &err);
    assert_true(rc == db.down || rc == CQ_E_STALE);
}

static int setup(void **state)
{
    (void)state;
    const struct dir_cache_config config = {
        .fresh_us = 5000000, .stale_us = UINT64_C(86400000000), .max = 16, .now_us = clock_us};
    memset(&db, 0, sizeof db);
    db.base.ops = &db_ops;
    now_us = 1000000;
    feed_seen = 0;
    pool = cq_pool_new(1024);
    cache = dir_cache_new(&db.base, &config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cache->ops->close(cache);
    cq_pool_free(&pool);
    return 0;
}

static enum cq_rc address(const char *local)
{
    struct dir_address_row row = {0};
    enum cq_rc rc = cache->ops->address_get(cache, 1, cq_slice_cstr(local), pool, &row, &err);
    if (rc == CQ_OK)
        assert_true(row.target_count == 1 && row.targets[0] == 7 && cq_slice_eq(row.address, CQ_SLICE("x@a.test")));
    return rc;
}

static uint64_t account_version(void)
{
    struct dir_account account = {0};
    enum cq_rc rc = cache->ops->account_get(cache, 7, pool, &account, &err);
    return rc == CQ_OK ? account.version : 1000 + (uint64_t)rc;
}

static uint64_t credential_version(void)
{
    struct dir_credential *rows;
    size_t count;
    enum cq_rc rc = cache->ops->credential_list(cache, 7, pool, &rows, &count, &err);
    if (rc != CQ_OK)
        return 1000 + (uint64_t)rc;
    assert_true(count == 2 && cq_slice_eq(rows[0].hash, CQ_SLICE("secret")));
    return rows[0].version;
}

static void without_the_feed_the_database_is_always_asked(void **state)
{
    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(address("x"), CQ_OK);
        assert_int_equal(db.asked, i);
    }
}

static void with_the_feed_a_row_is_asked_for_once_for_a_while(void **state)
{
    (void)state;
    poll_feed();
    db.asked = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(address("x"), CQ_OK);
        assert_int_equal(address("nobody"), CQ_E_NOT_FOUND);
        assert_int_equal(account_version(), 0);
        assert_int_equal(credential_version(), 0);
    }
    assert_int_equal(db.asked, 4);
    now_us += 4999999;
    address("x");
    assert_int_equal(db.asked, 4);
    now_us += 1;
    address("x");
    assert_int_equal(db.asked, 5);
    now_us += DIR_CACHE_FEED_MAX_US; /* nobody reads the feed any more: nothing vouches for what is remembered */
    address("x");
    address("x");
    assert_int_equal(db.asked, 7);
}

static void a_change_is_seen_with_the_next_look_at_the_feed(void **state)
{
    (void)state;
    poll_feed();
    account_version(), credential_version(), address("x");
    change(DIR_CHANGED_CREDENTIAL, 7);
    assert_int_equal(credential_version(), 0);
    poll_feed();
    assert_int_equal(credential_version(), 1);
    assert_int_equal(account_version(), 1);
    change(DIR_CHANGED_ACCOUNT, 7);
    db.gone = true;
    poll_feed();
    assert_int_equal(address("x"), CQ_E_NOT_FOUND);
    assert_int_equal(account_version(), 1000 + CQ_E_NOT_FOUND);
    db.gone = false;
    change(DIR_CHANGED_ADDRESS, 9); /* another account's: names are looked at again all the same */
    poll_feed();
    assert_int_equal(address("x"), CQ_OK);
}

static void changes_that_nobody_heard_of_make_all_old(void **state)
{
    (void)state;
    poll_feed();
    assert_int_equal(account_version(), 0);
    change(DIR_CHANGED_ACCOUNT, 7);
    feed_seen = db.head; /* the reader jumps over it */
    poll_feed();
    assert_int_equal(account_version(), 1);
    change(DIR_CHANGED_ACCOUNT, 7);
    change(DIR_CHANGED_DOMAIN, 0);
    db.first_version = db.head; /* the feed was trimmed */
    poll_feed();
    assert_int_equal(account_version(), 3);
}

static void our_own_writes_count_at_once(void **state)
{
    (void)state;
    poll_feed();
    assert_int_equal(account_version(), 0);
    change(DIR_CHANGED_ACCOUNT, 7);
    assert_int_equal(cache->ops->account_set_state(cache, 7, 0, DIR_DISABLED, &err), CQ_OK);
    assert_int_equal(account_version(), 1);
}

static void those_who_are_known_are_served_while_the_database_is_away(void **state)
{
    (void)state;
    static const enum cq_rc trouble[] = {CQ_E_UNAVAILABLE, CQ_E_TIMEOUT, CQ_E_OVERLOADED, CQ_E_IO};
    for (size_t i = 0; i < sizeof trouble / sizeof *trouble; i++) {
        db.down = CQ_OK;
        now_us += 2 * DIR_CACHE_RETRY_US;
        assert_int_equal(address("x"), CQ_OK);
        account_version(), credential_version();
        db.down = trouble[i];
        now_us += UINT64_C(3600000000);
        assert_int_equal(address("x"), CQ_OK);
        assert_int_equal(account_version(), 0);
        assert_int_equal(credential_version(), 0);
        assert_int_equal(address("y"), trouble[i]); /* not "no such user" */
    }
    now_us += UINT64_C(86400000000);
    assert_true(cq_rc_retryable(address("x"))); /* a day is enough */
}

static void a_row_that_is_known_to_have_changed_is_not_served_in_an_outage(void **state)
{
    (void)state;
    poll_feed();
    account_version(), credential_version();
    change(DIR_CHANGED_CREDENTIAL, 7);
    poll_feed();
    db.down = CQ_E_UNAVAILABLE; /* between the feed and the row */
    assert_int_equal(account_version(), 1000 + CQ_E_UNAVAILABLE);
    assert_int_equal(credential_version(), 1000 + CQ_E_UNAVAILABLE);
    db.down = CQ_OK;
    now_us += 2 * DIR_CACHE_RETRY_US;
    assert_int_equal(credential_version(), 1);
}

static void an_old_no_is_not_believed_but_of_tags(void **state)
{
    (void)state;
    assert_int_equal(address("nobody"), CQ_E_NOT_FOUND);
    assert_int_equal(address("x+tag"), CQ_E_NOT_FOUND);
    db.down = CQ_E_UNAVAILABLE;
    assert_int_equal(address("nobody"), CQ_E_UNAVAILABLE);
    assert_int_equal(address("x+tag"), CQ_E_NOT_FOUND); /* then "x" is asked for, which must be known */
    assert_int_equal(address("x+other"), CQ_E_UNAVAILABLE);
}

static void a_database_that_is_away_is_not_asked_for_the_known_again_and_again(void **state)
{
    (void)state;
    assert_int_equal(address("x"), CQ_OK);
    char text[DIRECTORY_TROUBLE_SIZE];
    assert_false(cache->ops->trouble(cache, text));
    db.down = CQ_E_TIMEOUT;
    db.asked = 0;
    for (int i = 0; i < 100; i++)
        assert_int_equal(address("x"), CQ_OK);
    assert_int_equal(db.asked, 1);
    assert_true(cache->ops->trouble(cache, text)); /* though everybody got an answer */
    assert_string_equal(text, cq_rc_text(CQ_E_TIMEOUT));
    now_us += DIR_CACHE_RETRY_US;
    address("x");
    assert_int_equal(db.asked, 2);
    db.down = CQ_OK;
    now_us += DIR_CACHE_RETRY_US;
    address("x");
    address("x");
    assert_int_equal(db.asked, 4); /* back */
    assert_false(cache->ops->trouble(cache, text));
}

static void what_is_not_ready_yet_is_no_outage(void **state)
{
    (void)state;
    db.gone = true;
    assert_int_equal(address("x"), CQ_E_NOT_FOUND);
    db.gone = false;
    assert_int_equal(address("soon"), CQ_E_BEHIND);
    assert_int_equal(address("x"), CQ_OK);
}

static void names_that_strangers_guess_do_not_push_out_the_known(void **state)
{
    (void)state;
    poll_feed();
    assert_int_equal(address("x"), CQ_OK);
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "guess%d", i);
        assert_int_equal(address(name), CQ_E_NOT_FOUND);
    }
    db.down = CQ_E_UNAVAILABLE;
    now_us += UINT64_C(60000000);
    assert_int_equal(address("x"), CQ_OK);
}

static void the_longest_unused_makes_room(void **state)
{
    (void)state;
    struct dir_account account;
    assert_int_equal(address("x"), CQ_OK);
    for (uint64_t i = 0; i < 40; i++) {
        struct dir_credential *rows;
        size_t count;
        cache->ops->credential_list(cache, 100 + i, pool, &rows, &count, &err);
        if (i == 10)
            cache->ops->account_get(cache, 7, pool, &account, &err);
    }
    db.down = CQ_E_UNAVAILABLE;
    assert_int_equal(address("x"), CQ_E_UNAVAILABLE);
    assert_int_equal(account_version(), 1000 + CQ_E_UNAVAILABLE);
    struct dir_credential *rows;
    size_t count;
    assert_int_equal(cache->ops->credential_list(cache, 139, pool, &rows, &count, &err), CQ_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_the_feed_the_database_is_always_asked),
        TEST(with_the_feed_a_row_is_asked_for_once_for_a_while),
        TEST(a_change_is_seen_with_the_next_look_at_the_feed),
        TEST(changes_that_nobody_heard_of_make_all_old),
        TEST(our_own_writes_count_at_once),
        TEST(those_who_are_known_are_served_while_the_database_is_away),
        TEST(a_row_that_is_known_to_have_changed_is_not_served_in_an_outage),
        TEST(an_old_no_is_not_believed_but_of_tags),
        TEST(a_database_that_is_away_is_not_asked_for_the_known_again_and_again),
        TEST(what_is_not_ready_yet_is_no_outage),
        TEST(names_that_strangers_guess_do_not_push_out_the_known),
        TEST(the_longest_unused_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
