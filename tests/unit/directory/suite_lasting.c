/* The directory's suite: what watchers hear, what is there after opening again, two at the same time. */
#include "unit/directory/suite_private.h"

#include <pthread.h>
#include <stdio.h>

/* ---- Changes ---- */

struct heard {
    struct dir_change changes[64];
    size_t count;
    int lost;
};

static void hear(const struct dir_change *change, bool lost, void *ctx)
{
    struct heard *heard = ctx;
    if (lost)
        heard->lost++;
    else if (heard->count < 64)
        heard->changes[heard->count++] = *change;
}

static void a_watcher_hears_every_change_once_even_from_another_process(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct directory_watch watch = {.directory = suite->again(suite->ctx), .changed = hear, .ctx = &heard};
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test");
    assert_ok(directory_watch_poll(&watch, &suite_err));
    assert_int_equal(heard.count, 0); /* the first look only notes where the feed ends */
    assert_ok(directory_account_disable(dir, x, &suite_err));
    uint64_t app = suite_put_app(x, "aaaa", "one");
    assert_ok(directory_alias_add(dir, S("i@a.test"), x, &suite_err));
    assert_ok(directory_credential_remove(dir, x, app, &suite_err));
    assert_ok(directory_account_delete(dir, x, &suite_err));
    assert_ok(directory_account_remove(dir, x, &suite_err));
    assert_ok(directory_watch_poll(&watch, &suite_err));
    assert_ok(directory_watch_poll(&watch, &suite_err));
    static const enum dir_change_kind want[] = {DIR_CHANGED_ACCOUNT,    DIR_CHANGED_CREDENTIAL, DIR_CHANGED_ADDRESS,
                                                DIR_CHANGED_CREDENTIAL, DIR_CHANGED_ACCOUNT,    DIR_CHANGED_ACCOUNT};
    assert_int_equal(heard.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(heard.changes[i].kind, want[i]);
        assert_true(heard.changes[i].account_id == x);
        assert_true(i == 0 || heard.changes[i].version > heard.changes[i - 1].version);
        assert_true((want[i] == DIR_CHANGED_CREDENTIAL) == (heard.changes[i].credential_id == app));
    }
    assert_int_equal(heard.lost, 0);
    directory_close(&watch.directory);
}

static void a_watcher_from_the_future_is_told_that_it_lost_track(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct directory_watch watch = {
        .directory = dir, .changed = hear, .ctx = &heard, .started = true, .seen = 1000}; /* an old copy came back */
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    assert_ok(directory_watch_poll(&watch, &suite_err));
    assert_int_equal(heard.lost, 1);
    suite_add("x@a.test");
    assert_ok(directory_watch_poll(&watch, &suite_err));
    assert_int_equal(heard.lost, 1);
    assert_int_equal(heard.count, 2);
}

static void the_feed_comes_in_pages(void **state)
{
    (void)state;
    struct dir_change *changes;
    size_t n;
    uint64_t head;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "d%d.test", i);
        assert_ok(directory_domain_add(dir, S(name), &suite_err));
    }
    assert_ok(directory_changes(dir, 0, 2, pool, &changes, &n, &head, &suite_err));
    assert_int_equal(n, 2);
    assert_true(head > changes[1].version);
    assert_ok(directory_changes(dir, changes[1].version, 100, pool, &changes, &n, &head, &suite_err));
    assert_int_equal(n, 3);
    assert_int_equal(changes[2].version, head);
    assert_ok(directory_changes(dir, head, 100, pool, &changes, &n, &head, &suite_err));
    assert_int_equal(n, 0);
}

/* ---- Lasting and concurrency ---- */

static void everything_is_there_after_opening_again(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    uint64_t x = suite_add("x@a.test");
    uint64_t version = suite_get(x).version;
    directory_close(&dir);
    dir = suite->again(suite->ctx);
    assert_int_equal(suite_get(x).version, version);
    suite_expect_one("x@a.test", DIR_VIA_PRIMARY, x);
    assert_true(directory_healthy(dir));
}

struct racer {
    struct directory *directory;
    struct cq_pool *pool;
    int created;
};

static void *create_many(void *arg)
{
    struct racer *racer = arg;
    for (int i = 0; i < 20; i++) {
        char address[64];
        snprintf(address, sizeof address, "u%d@a.test", i);
        const struct dir_account_new new = {.address = S(address), .slot = 1, .services = DIR_IMAP};
        struct dir_account account;
        enum cq_rc rc = directory_account_create(racer->directory, &new, racer->pool, &account, NULL);
        racer->created += rc == CQ_OK;
        if (rc != CQ_OK && rc != CQ_E_EXISTS)
            racer->created = -1000;
    }
    return NULL;
}

static void two_that_create_the_same_address_make_one_account(void **state)
{
    (void)state;
    pthread_t threads[3];
    struct racer racers[3];
    struct directory *other = suite->again(suite->ctx);
    assert_ok(directory_domain_add(dir, S("a.test"), &suite_err));
    for (int i = 0; i < 3; i++) {
        racers[i] = (struct racer){i == 2 ? other : dir, cq_pool_new(1024), 0};
        pthread_create(&threads[i], NULL, create_many, &racers[i]);
    }
    int created = 0;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        created += racers[i].created;
        cq_pool_free(&racers[i].pool);
    }
    assert_int_equal(created, 20);
    directory_close(&other);
}

int suite_lasting_tests(const char *backend)
{
    const struct CMUnitTest tests[] = {
        TEST(a_watcher_hears_every_change_once_even_from_another_process),
        TEST(a_watcher_from_the_future_is_told_that_it_lost_track),
        TEST(the_feed_comes_in_pages),
        TEST(everything_is_there_after_opening_again),
        TEST(two_that_create_the_same_address_make_one_account),
    };
    return cmocka_run_group_tests_name(backend, tests, NULL, NULL);
}
