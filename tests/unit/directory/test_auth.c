#include "directory/auth.h"

#include "base/cq_metrics.h"
#include "base/cq_time.h"
#include "directory/auth_private.h"
#include "io/io_fiber.h"
#include "io/io_loop.h"
#include "unit/cq_log_expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64], path[96];
static struct directory *dir;
static struct auth *auth;
static struct cq_pool *pool;
static struct cq_err err;
static uint64_t alice, bob;

/* The least that libsodium takes: the tests are about what is hashed and when, not about its cost. */
static const struct auth_config cheap = {
    .argon2_memory = 8192, .argon2_passes = 1, .queue_max = 100, .cache_ttl_us = 60000000, .cache_max = 100};

#define S(text) cq_slice_cstr(text)

#define assert_rc(call, want)                                                                                          \
    do {                                                                                                               \
        cq_err_clear(&err);                                                                                            \
        enum cq_rc got_rc_ = (call);                                                                                   \
        if (got_rc_ != (want))                                                                                         \
            fail_msg("%s: %s (%s), want %s", #call, cq_rc_name(got_rc_), err.text, cq_rc_name(want));                  \
    } while (0)

static uint64_t add(const char *address)
{
    struct dir_account account;
    const struct dir_account_new new = {.address = S(address), .services = DIR_ALL_SERVICES};
    assert_rc(directory_account_create(dir, &new, pool, &account, &err), CQ_OK);
    assert_rc(directory_account_activate(dir, account.id, &err), CQ_OK);
    return account.id;
}

static int setup(void **state)
{
    (void)state;
    cq_metrics_register(&auth_metrics);
    pool = cq_pool_new(4096);
    snprintf(folder, sizeof folder, "/tmp/chasqui-auth-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/directory.db", folder);
    const struct directory_config config = {
        .sqlite_path = path, .busy_timeout_us = 60000000, .threads = 1, .queue_max = 100};
    assert_rc(directory_open(&config, &dir, &err), CQ_OK);
    assert_rc(directory_domain_add(dir, S("a.test"), &err), CQ_OK);
    assert_rc(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &err), CQ_OK);
    assert_rc(auth_new(&cheap, dir, &auth, &err), CQ_OK);
    alice = add("alice@a.test");
    bob = add("bob@a.test");
    assert_rc(auth_set_password(auth, alice, S("correct horse"), &err), CQ_OK);
    assert_rc(auth_set_password(auth, bob, S("correct horse"), &err), CQ_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    auth_free(&auth);
    directory_close(&dir);
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    rmdir(folder);
    cq_pool_free(&pool);
    return 0;
}

static struct auth_identity identity;

static enum cq_rc log_in(enum dir_service service, const char *login, const char *password)
{
    const struct auth_login what = {.service = service, .login = S(login), .password = S(password)};
    return auth_verify(auth, &what, pool, &identity, &err);
}

static int64_t hashes(void)
{
    return cq_metric_value(&auth_metrics, AUTH_M_HASH);
}

/* One log-in: its code, its reason, and how many hashes it cost. */
static void expect(enum dir_service service, const char *login, const char *password, enum cq_rc rc,
                   enum auth_reason reason, int cost)
{
    int64_t before = hashes();
    assert_rc(log_in(service, login, password), rc);
    if (identity.reason != reason || hashes() - before != cost)
        fail_msg("%s: reason %s, %d hashes", login, auth_reason_name(identity.reason), (int)(hashes() - before));
}

static void the_right_password_logs_in(void **state)
{
    (void)state;
    expect(DIR_IMAP, "Alice@A.test", "correct horse", CQ_OK, AUTH_OK, 1);
    assert_true(identity.account.id == alice);
    assert_slice(identity.account.address, "alice@a.test");
    assert_int_equal(identity.kind, DIR_PASSWORD);
    assert_true(identity.credential_id != 0);
    expect(DIR_POP, "alice@b.test", "correct horse", CQ_OK, AUTH_OK, 1); /* alias domain, other service */
}

static void unknown_users_and_wrong_passwords_cost_and_say_the_same(void **state)
{
    (void)state;
    add("nopassword@a.test");
    static const struct {
        const char *login, *password;
        enum auth_reason reason;
    } cases[] = {
        {"alice@a.test", "wrong", AUTH_WRONG_PASSWORD},
        {"alice@a.test", "", AUTH_WRONG_PASSWORD},
        {"alice@a.test", "correct horse ", AUTH_WRONG_PASSWORD},
        {"alice@a.test", "Correct horse", AUTH_WRONG_PASSWORD},
        {"alice@a.test", "abcdefghijklmnop", AUTH_WRONG_PASSWORD},
        {"nopassword@a.test", "", AUTH_WRONG_PASSWORD},
        {"nopassword@a.test", "x", AUTH_WRONG_PASSWORD},
        {"nobody@a.test", "correct horse", AUTH_UNKNOWN_USER},
        {"alice+tag@a.test", "correct horse", AUTH_UNKNOWN_USER},
        {"alice", "correct horse", AUTH_UNKNOWN_USER},
        {"", "correct horse", AUTH_UNKNOWN_USER},
        {"alice@nowhere.test", "correct horse", AUTH_UNKNOWN_USER},
        {"postmaster@a.test", "correct horse", AUTH_UNKNOWN_USER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int again = 0; again < 2; again++) { /* nothing negative is remembered */
            expect(DIR_IMAP, cases[i].login, cases[i].password, CQ_E_AUTH, cases[i].reason, 1);
            assert_false(identity.cached);
        }
}

static void hostile_names_and_passwords_are_refused(void **state)
{
    (void)state;
    static char longer[10000];
    memset(longer, 'x', sizeof longer);
    static const struct cq_slice texts[] = {
        {(const uint8_t *)"' OR '1'='1", 11},
        {(const uint8_t *)"alice@a.test' --", 16},
        {(const uint8_t *)"%@a.test", 8},
        {(const uint8_t *)"alice@a.test\0", 13},
        {(const uint8_t *)"\0", 1},
        {(const uint8_t *)"*", 1},
        {(const uint8_t *)"\"alice\"@a.test", 14},
        {(const uint8_t *)"\xff\xfe", 2},
        {(const uint8_t *)longer, 10000},
        {(const uint8_t *)"correct horse\0", 14},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct auth_login login = {DIR_IMAP, texts[i], S("correct horse")};
        assert_rc(auth_verify(auth, &login, pool, &identity, &err), CQ_E_AUTH);
        login = (struct auth_login){DIR_IMAP, S("alice@a.test"), texts[i]};
        assert_rc(auth_verify(auth, &login, pool, &identity, &err), CQ_E_AUTH);
    }
}

static void passwords_have_bounds(void **state)
{
    (void)state;
    char text[AUTH_PASSWORD_MAX + 2];
    memset(text, 'p', sizeof text);
    assert_rc(auth_set_password(auth, alice, cq_slice_of(text, AUTH_PASSWORD_MIN - 1), &err), CQ_E_INVALID);
    assert_rc(auth_set_password(auth, alice, cq_slice_of(text, AUTH_PASSWORD_MAX + 1), &err), CQ_E_INVALID);
    assert_rc(auth_set_password(auth, alice, cq_slice_of(text, AUTH_PASSWORD_MAX), &err), CQ_OK);
    assert_rc(auth_set_password(auth, 99, S("long enough"), &err), CQ_E_NOT_FOUND);
    struct auth_login login = {DIR_IMAP, S("alice@a.test"), cq_slice_of(text, AUTH_PASSWORD_MAX)};
    assert_rc(auth_verify(auth, &login, pool, &identity, &err), CQ_OK);
    login.password.len++; /* begins with the password: still wrong, remembered or not */
    assert_rc(auth_verify(auth, &login, pool, &identity, &err), CQ_E_AUTH);
    assert_int_equal(identity.reason, AUTH_WRONG_PASSWORD);
}

static void passwords_are_compared_as_people_type_them(void **state)
{
    (void)state;
    assert_rc(auth_set_password(auth, alice, S("p\xc3\xa4sswort \xe2\x82\xac"), &err), CQ_OK);
    expect(DIR_IMAP, "alice@a.test", "pa\xcc\x88sswort\xc2\xa0\xe2\x82\xac", CQ_OK, AUTH_OK,
           1); /* decomposed, no-break space */
    expect(DIR_IMAP, "alice@a.test", "passwort \xe2\x82\xac", CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
    assert_rc(auth_set_password(auth, alice, S("latin1 \xe4\xf6\xfc"), &err),
              CQ_OK); /* bytes that are not UTF-8 stay */
    expect(DIR_IMAP, "alice@a.test", "latin1 \xe4\xf6\xfc", CQ_OK, AUTH_OK, 1);
    expect(DIR_IMAP, "alice@a.test", "latin1 \xe4\xf6\xe4", CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
}

/* ---- The memory of verified passwords ---- */

static void a_verified_password_is_remembered_for_its_user_and_service_alone(void **state)
{
    (void)state;
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1);
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 0);
    assert_true(identity.cached);
    expect(DIR_SMTP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1);
    expect(DIR_IMAP, "bob@a.test", "correct horse", CQ_OK, AUTH_OK, 1); /* the same password of another user */
    assert_true(identity.account.id == bob && !identity.cached);
    expect(DIR_IMAP, "alice@a.test", "correct horse2", CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 0);
}

static void a_changed_password_is_not_remembered_any_more(void **state)
{
    (void)state;
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1);
    assert_rc(auth_set_password(auth, alice, S("battery staple"), &err), CQ_OK);
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
    expect(DIR_IMAP, "alice@a.test", "battery staple", CQ_OK, AUTH_OK, 1);
    assert_rc(auth_set_password(auth, alice, S("correct horse"), &err),
              CQ_OK); /* back to the first: a new credential */
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1);
}

static void the_memory_is_bounded_in_time_and_number(void **state)
{
    (void)state;
    struct auth_cache cache, other;
    struct auth_cache_tag tags[4];
    struct dir_credential credential = {.account_id = 1, .id = 1, .version = 1};
    auth_cache_init(&cache, 3, 100);
    auth_cache_init(&other, 3, 100);
    for (int i = 0; i < 4; i++) {
        credential.id = (uint64_t)i;
        tags[i] = auth_cache_tag(&cache, &credential, DIR_IMAP, S("x"));
        auth_cache_add(&cache, &tags[i], 1000 + (uint64_t)i);
    }
    assert_int_equal(cache.count, 3);
    assert_false(auth_cache_has(&cache, &tags[0], 1003)); /* the oldest made room */
    assert_true(auth_cache_has(&cache, &tags[1], 1100));
    assert_false(auth_cache_has(&cache, &tags[1], 1101)); /* its use did not renew it */
    assert_int_equal(cache.count, 2);
    auth_cache_add(&cache, &tags[2], 2000);
    assert_int_equal(cache.count, 2);
    assert_true(auth_cache_has(&cache, &tags[2], 2099));

    struct auth_cache_tag same = auth_cache_tag(&other, &credential, DIR_IMAP, S("x"));
    assert_memory_not_equal(&same, &tags[3], sizeof same); /* another process, another key */
    auth_cache_fini(&other);
    auth_cache_fini(&cache);
    auth_cache_init(&cache, 0, 100); /* off */
    auth_cache_add(&cache, &tags[0], 0);
    assert_false(auth_cache_has(&cache, &tags[0], 0));
    auth_cache_fini(&cache);
}

static void every_input_of_a_verdict_is_in_its_key(void **state)
{
    (void)state;
    struct auth_cache cache;
    auth_cache_init(&cache, 3, 100);
    static const struct {
        uint64_t account, id, version;
        enum dir_service service;
        const char *password;
        size_t len;
    } cases[] = {
        {1, 2, 3, DIR_IMAP, "pw", 2}, {9, 2, 3, DIR_IMAP, "pw", 2},   {1, 9, 3, DIR_IMAP, "pw", 2},
        {1, 2, 9, DIR_IMAP, "pw", 2}, {1, 2, 3, DIR_POP, "pw", 2},    {1, 2, 3, DIR_IMAP, "pv", 2},
        {1, 2, 3, DIR_IMAP, "p", 1},  {1, 2, 3, DIR_IMAP, "pw\0", 3}, {1, 2, 3, DIR_IMAP, "", 0},
        {2, 1, 3, DIR_IMAP, "pw", 2}, {1, 3, 2, DIR_IMAP, "pw", 2},
    };
    struct auth_cache_tag tags[11];
    for (size_t i = 0; i < 11; i++) {
        const struct dir_credential c = {
            .account_id = cases[i].account, .id = cases[i].id, .version = cases[i].version};
        tags[i] = auth_cache_tag(&cache, &c, cases[i].service, cq_slice_of(cases[i].password, cases[i].len));
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&tags[i], &tags[j], sizeof tags[i]);
    }
    auth_cache_fini(&cache);
}

/* ---- App passwords ---- */

static uint64_t add_app(unsigned scopes, uint64_t expires_us, char password[static AUTH_APP_PASSWORD_SIZE])
{
    uint64_t id = 0;
    const struct auth_app_password what = {.scopes = scopes, .label = S("phone"), .expires_us = expires_us};
    assert_rc(auth_app_password_add(auth, alice, &what, password, &id, &err), CQ_OK);
    return id;
}

static void an_app_password_works_however_it_is_typed(void **state)
{
    (void)state;
    char shown[AUTH_APP_PASSWORD_SIZE], typed[64];
    uint64_t id = add_app(DIR_IMAP, 0, shown);
    assert_int_equal(strlen(shown), 19);
    for (int i = 0; i < 19; i++)
        assert_true(i % 5 == 4 ? shown[i] == ' ' : shown[i] >= 'a' && shown[i] <= 'z');
    expect(DIR_IMAP, "alice@a.test", shown, CQ_OK, AUTH_OK, 1);
    assert_true(identity.credential_id == id && identity.kind == DIR_APP_PASSWORD);
    size_t n = 0;
    for (int i = 0; i < 19; i++)
        if (shown[i] != ' ')
            typed[n++] = (char)(shown[i] - 32);
    typed[n] = '\0';
    expect(DIR_IMAP, "alice@a.test", typed, CQ_OK, AUTH_OK, 0); /* the same secret */
    typed[n - 1] = typed[n - 1] == 'A' ? 'B' : 'A';
    expect(DIR_IMAP, "alice@a.test", typed, CQ_E_AUTH, AUTH_WRONG_PASSWORD, 2); /* may be the password: one more hash */
    expect(DIR_IMAP, "bob@a.test", shown, CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1); /* the password goes on working */
}

static void one_of_many_app_passwords_costs_one_hash(void **state)
{
    (void)state;
    char shown[10][AUTH_APP_PASSWORD_SIZE];
    for (int i = 0; i < 10; i++)
        add_app(DIR_ALL_SERVICES, 0, shown[i]);
    for (int i = 0; i < 10; i++)
        expect(DIR_IMAP, "alice@a.test", shown[i], CQ_OK, AUTH_OK, 1);
}

static void scope_and_expiry_are_kept(void **state)
{
    (void)state;
    char imap[AUTH_APP_PASSWORD_SIZE], old[AUTH_APP_PASSWORD_SIZE], later[AUTH_APP_PASSWORD_SIZE];
    add_app(DIR_IMAP, 0, imap);
    add_app(DIR_ALL_SERVICES, 1, old);
    add_app(DIR_ALL_SERVICES, cq_time_wall_us() + 3600 * CQ_US_PER_S, later);
    expect(DIR_SMTP, "alice@a.test", imap, CQ_E_DENIED, AUTH_SCOPE, 1);
    expect(DIR_POP, "alice@a.test", imap, CQ_E_DENIED, AUTH_SCOPE, 1);
    expect(DIR_IMAP, "alice@a.test", imap, CQ_OK, AUTH_OK, 1);
    expect(DIR_IMAP, "alice@a.test", old, CQ_E_AUTH, AUTH_EXPIRED, 1);
    expect(DIR_IMAP, "alice@a.test", later, CQ_OK, AUTH_OK, 1);
    uint64_t id;
    const struct auth_app_password none = {.scopes = 0};
    assert_rc(auth_app_password_add(auth, alice, &none, imap, &id, &err), CQ_E_INVALID);
    assert_string_equal(imap, "");
}

static void a_revoked_app_password_is_refused_at_once(void **state)
{
    (void)state;
    char shown[AUTH_APP_PASSWORD_SIZE];
    uint64_t id = add_app(DIR_IMAP, 0, shown);
    expect(DIR_IMAP, "alice@a.test", shown, CQ_OK, AUTH_OK, 1);
    assert_rc(auth_session_check(auth, alice, id, DIR_IMAP, &err), CQ_OK);
    assert_rc(directory_credential_remove(dir, alice, id, &err), CQ_OK);
    expect(DIR_IMAP, "alice@a.test", shown, CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
    assert_rc(auth_session_check(auth, alice, id, DIR_IMAP, &err), CQ_E_DENIED);
}

static void a_password_that_looks_like_an_app_password_works(void **state)
{
    (void)state;
    char shown[AUTH_APP_PASSWORD_SIZE], own[AUTH_APP_PASSWORD_SIZE];
    add_app(DIR_IMAP, 0, shown);
    memcpy(own, shown, sizeof own); /* the same prefix */
    own[18] = own[18] == 'a' ? 'b' : 'a';
    assert_rc(auth_set_password(auth, alice, S(own), &err), CQ_OK);
    expect(DIR_IMAP, "alice@a.test", own, CQ_OK, AUTH_OK, 2);
    assert_int_equal(identity.kind, DIR_PASSWORD);
    expect(DIR_IMAP, "alice@a.test", own, CQ_OK, AUTH_OK, 0);
    expect(DIR_IMAP, "alice@a.test", shown, CQ_OK, AUTH_OK, 1);
}

static void its_use_is_noted(void **state)
{
    (void)state;
    struct dir_credential *rows;
    size_t n;
    char shown[AUTH_APP_PASSWORD_SIZE];
    add_app(DIR_IMAP, 0, shown);
    expect(DIR_POP, "alice@a.test", shown, CQ_E_DENIED, AUTH_SCOPE, 1);
    assert_rc(directory_credential_list(dir, alice, pool, &rows, &n, &err), CQ_OK);
    assert_int_equal(rows[1].last_used_us, 0);
    expect(DIR_IMAP, "alice@a.test", shown, CQ_OK, AUTH_OK, 1);
    assert_rc(directory_credential_list(dir, alice, pool, &rows, &n, &err), CQ_OK);
    uint64_t used = rows[1].last_used_us;
    assert_true(used != 0);
    expect(DIR_IMAP, "alice@a.test", shown, CQ_OK, AUTH_OK, 0);
    assert_rc(directory_credential_list(dir, alice, pool, &rows, &n, &err), CQ_OK);
    assert_true(rows[1].last_used_us == used); /* exact to five minutes: not a write per log-in */
}

/* ---- Accounts that may not ---- */

static void a_right_password_of_an_account_that_may_not_is_denied(void **state)
{
    (void)state;
    struct dir_account_update update = {.what = DIR_SET_SERVICES, .services = DIR_POP};
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1);
    uint64_t credential = identity.credential_id;
    assert_rc(auth_session_check(auth, alice, credential, DIR_IMAP, &err), CQ_OK);
    assert_rc(directory_account_update(dir, alice, &update, &err), CQ_OK);
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_E_DENIED, AUTH_SERVICE_OFF, 0);
    assert_rc(auth_session_check(auth, alice, credential, DIR_IMAP, &err), CQ_E_DENIED);
    assert_rc(auth_session_check(auth, alice, credential, DIR_POP, &err), CQ_OK);
    assert_rc(directory_account_disable(dir, alice, &err), CQ_OK);
    expect(DIR_POP, "alice@a.test", "correct horse", CQ_E_DENIED, AUTH_ACCOUNT_STATE, 1);
    expect(DIR_POP, "alice@a.test", "wrong", CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1); /* nothing is told to strangers */
    assert_rc(auth_session_check(auth, alice, credential, DIR_POP, &err), CQ_E_DENIED);
    assert_rc(directory_account_enable(dir, alice, &err), CQ_OK);
    assert_rc(auth_session_check(auth, alice, credential, DIR_POP, &err), CQ_OK);
    assert_rc(auth_set_password(auth, alice, S("another one"), &err), CQ_OK);
    assert_rc(auth_session_check(auth, alice, credential, DIR_POP, &err), CQ_E_DENIED); /* changed: sessions end */
    assert_rc(directory_account_delete(dir, alice, &err), CQ_OK);
    expect(DIR_POP, "alice@a.test", "another one", CQ_E_DENIED, AUTH_ACCOUNT_STATE, 1);
    assert_rc(directory_account_remove(dir, alice, &err), CQ_OK);
    expect(DIR_POP, "alice@a.test", "another one", CQ_E_AUTH, AUTH_UNKNOWN_USER, 1);
    assert_rc(auth_session_check(auth, alice, credential, DIR_POP, &err), CQ_E_DENIED);
}

static void an_account_that_is_being_created_is_told_to_come_later(void **state)
{
    (void)state;
    struct dir_account account;
    struct cq_slice hash;
    assert_rc(auth_hash_password(auth, S("correct horse"), pool, &hash, &err), CQ_OK);
    const struct dir_account_new new = {
        .address = S("new@a.test"), .services = DIR_ALL_SERVICES, .password_hash = hash};
    assert_rc(directory_account_create(dir, &new, pool, &account, &err), CQ_OK);
    expect(DIR_IMAP, "new@a.test", "correct horse", CQ_E_UNAVAILABLE, AUTH_NOT_READY, 1);
    expect(DIR_IMAP, "new@a.test", "wrong", CQ_E_AUTH, AUTH_WRONG_PASSWORD, 1);
    assert_rc(directory_account_activate(dir, account.id, &err), CQ_OK);
    expect(DIR_IMAP, "new@a.test", "correct horse", CQ_OK, AUTH_OK, 0);
}

static void a_hash_with_old_parameters_is_made_anew(void **state)
{
    (void)state;
    struct dir_credential *rows;
    size_t n;
    const struct auth_config better = {.argon2_memory = 16384, .argon2_passes = 2};
    auth_free(&auth);
    assert_rc(auth_new(&better, dir, &auth, &err), CQ_OK);
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 2); /* one to verify, one anew */
    assert_rc(directory_credential_list(dir, alice, pool, &rows, &n, &err), CQ_OK);
    assert_true(cq_slice_starts(rows[0].hash, CQ_SLICE("$argon2id$v=19$m=16,t=2,p=1$")));
    expect(DIR_IMAP, "alice@a.test", "correct horse", CQ_OK, AUTH_OK, 1); /* no cache here */
    assert_true(identity.credential_id == rows[0].id);
}

static void a_stored_text_that_is_no_hash_is_our_trouble_not_the_users(void **state)
{
    (void)state;
    static const char *const texts[] = {"plain text", "", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$AAAA", "$1$md5"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        uint64_t id;
        const struct dir_credential row = {.account_id = alice, .scopes = DIR_ALL_SERVICES, .hash = S(texts[i])};
        assert_rc(directory_credential_put(dir, &row, &id, &err), CQ_OK);
        assert_rc(log_in(DIR_IMAP, "alice@a.test", "correct horse"), CQ_E_CORRUPT);
        assert_int_equal(identity.reason, AUTH_BACKEND);
        assert_rc(log_in(DIR_IMAP, "alice@a.test", texts[i]), CQ_E_CORRUPT);
    }
}

/* ---- Hashes of other mail servers ---- */

static void put_hash(const char *text)
{
    uint64_t id;
    const struct dir_credential row = {.account_id = alice, .scopes = DIR_ALL_SERVICES, .hash = S(text)};
    assert_rc(directory_credential_put(dir, &row, &id, &err), CQ_OK);
}

static const char *const foreign[] = {
    "{SHA512-CRYPT}$6$saltsaltsalt$Cy2drr8kDRji6smvDcT28wkqtq0R0VzVL5CkrjPQCITc5d/31j94knt9rGTcVSyjLXfjsiIsBh5ee8qR/"
    "3QDx1",
    "{sha512-crypt}$6$rounds=20000$saltsalt$cF0DZ3OLjY3AcbgQEeWSd3tRwuxKUuE4.fLMopAeIhAyGzi2fYBKh4HrACY0wyA5oT1kAGcvVe2"
    "W2iRfubAPX/",
    "{SHA256-CRYPT}$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
    "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
    "{CRYPT}$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    NULL, /* {ARGON2ID}, made by the test */
};

static void hashes_of_other_servers_are_verified_and_made_ours(void **state)
{
    (void)state;
    struct cq_slice ours;
    assert_rc(auth_hash_password(auth, S("correct horse"), pool, &ours, &err), CQ_OK);
    const char *argon2 = cq_pool_printf(pool, "{ARGON2ID}%.*s", CQ_SLICE_ARG(ours));
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        struct dir_credential *rows;
        size_t n;
        put_hash(foreign[i] ? foreign[i] : argon2);
        assert_rc(log_in(DIR_IMAP, "alice@a.test", "wrong horse"), CQ_E_AUTH);
        assert_rc(log_in(DIR_IMAP, "alice@a.test", ""), CQ_E_AUTH);
        assert_rc(directory_credential_list(dir, alice, pool, &rows, &n, &err), CQ_OK);
        assert_slice(rows[0].hash, foreign[i] ? foreign[i] : argon2);
        assert_rc(log_in(DIR_IMAP, "alice@a.test", "correct horse"), CQ_OK);
        uint64_t id = rows[0].id, version = rows[0].version;
        assert_rc(directory_credential_list(dir, alice, pool, &rows, &n, &err), CQ_OK);
        assert_true(cq_slice_starts(rows[0].hash, CQ_SLICE("$argon2id$v=19$m=8,t=1,p=1$")));
        assert_true(rows[0].id == id && rows[0].version == version); /* sessions go on */
        assert_rc(log_in(DIR_SMTP, "alice@a.test", "correct horse"), CQ_OK);
        assert_rc(log_in(DIR_SMTP, "alice@a.test", "wrong horse"), CQ_E_AUTH);
    }
}

static void hashes_that_would_cost_too_much_or_are_broken_are_not_tried(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{SHA512-CRYPT}$6$rounds=999999999$saltsalt$x",
        "{SHA512-CRYPT}$6$rounds=99999999999999999999$saltsalt$x",
        "{BLF-CRYPT}$2y$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "{BLF-CRYPT}$2y$05$short",
        "{ARGON2ID}$argon2id$v=19$m=4194304,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "{ARGON2ID}$argon2id$v=19$m=8,t=4000000000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "{PLAIN}correct horse",
        "{MD5-CRYPT}$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
        "{SHA512-CRYPT}correct horse",
        "{BLF-CRYPT}$6$saltsaltsalt$x",
        "{SHA512-CRYPT",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_hash(texts[i]);
        assert_rc(log_in(DIR_IMAP, "alice@a.test", "correct horse"), CQ_E_CORRUPT);
    }
}

/* ---- On fibers ---- */

struct herd {
    struct io_loop *loop;
    struct auth *auth;
    int left, ok, overloaded, other;
};

static void herd_member(void *arg)
{
    struct herd *herd = arg;
    struct cq_pool *own = cq_pool_new(1024);
    struct auth_identity who;
    const struct auth_login login = {DIR_IMAP, S("alice@a.test"), S("correct horse")};
    enum cq_rc rc = auth_verify(herd->auth, &login, own, &who, NULL);
    herd->ok += rc == CQ_OK;
    herd->overloaded += rc == CQ_E_OVERLOADED;
    herd->other += rc != CQ_OK && rc != CQ_E_OVERLOADED;
    cq_pool_free(&own);
    if (--herd->left == 0)
        io_loop_stop(herd->loop);
}

static void more_log_ins_than_the_queue_takes_are_told_to_come_later(void **state)
{
    (void)state;
    const struct auth_config tight = {.argon2_memory = 8192, .argon2_passes = 1, .threads = 1, .queue_max = 2};
    struct herd herd = {.loop = io_loop_new(NULL), .left = 20};
    assert_rc(auth_new(&tight, dir, &herd.auth, &err), CQ_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(io_fiber_spawn(herd.loop, herd_member, &herd, NULL), CQ_OK);
    io_loop_run(herd.loop);
    assert_int_equal(herd.other, 0);
    assert_int_equal(herd.ok + herd.overloaded, 20);
    assert_true(herd.ok >= 1);
    auth_free(&herd.auth);
    io_loop_free(&herd.loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_right_password_logs_in),
        TEST(unknown_users_and_wrong_passwords_cost_and_say_the_same),
        TEST(hostile_names_and_passwords_are_refused),
        TEST(passwords_have_bounds),
        TEST(passwords_are_compared_as_people_type_them),
        TEST(a_verified_password_is_remembered_for_its_user_and_service_alone),
        TEST(a_changed_password_is_not_remembered_any_more),
        cmocka_unit_test(the_memory_is_bounded_in_time_and_number),
        cmocka_unit_test(every_input_of_a_verdict_is_in_its_key),
        TEST(an_app_password_works_however_it_is_typed),
        TEST(one_of_many_app_passwords_costs_one_hash),
        TEST(scope_and_expiry_are_kept),
        TEST(a_revoked_app_password_is_refused_at_once),
        TEST(a_password_that_looks_like_an_app_password_works),
        TEST(its_use_is_noted),
        TEST(a_right_password_of_an_account_that_may_not_is_denied),
        TEST(an_account_that_is_being_created_is_told_to_come_later),
        TEST(a_hash_with_old_parameters_is_made_anew),
        TEST(a_stored_text_that_is_no_hash_is_our_trouble_not_the_users),
        TEST(hashes_of_other_servers_are_verified_and_made_ours),
        TEST(hashes_that_would_cost_too_much_or_are_broken_are_not_tried),
        TEST(more_log_ins_than_the_queue_takes_are_told_to_come_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
