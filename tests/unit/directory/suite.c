#include "unit/directory/suite.h"

#include "base/cq_rand.h"
#include "unit/cq_cmocka.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const struct dir_suite *suite;
static struct directory *dir;
static struct cq_pool *pool;
static struct cq_err err;

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(4096);
    cq_err_clear(&err);
    dir = suite->create(suite->ctx);
    return dir ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    directory_close(&dir);
    suite->destroy(suite->ctx);
    cq_pool_free(&pool);
    return 0;
}

#define S(text) cq_slice_cstr(text)

#define assert_rc(call, want)                                                                                          \
    do {                                                                                                               \
        cq_err_clear(&err);                                                                                            \
        enum cq_rc got_rc_ = (call);                                                                                   \
        if (got_rc_ != (want))                                                                                         \
            fail_msg("%s: %s (%s), want %s", #call, cq_rc_name(got_rc_), err.text, cq_rc_name(want));                  \
    } while (0)

#define assert_ok(call) assert_rc(call, CQ_OK)

static uint64_t create(const char *address, uint16_t slot, bool admin)
{
    struct dir_account account;
    const struct dir_account_new new = {
        .address = S(address), .slot = slot, .home_dc = S("a"), .services = DIR_ALL_SERVICES, .admin = admin};
    assert_ok(directory_account_create(dir, &new, pool, &account, &err));
    return account.id;
}

static uint64_t add(const char *address)
{
    uint64_t id = create(address, 7, false);
    assert_ok(directory_account_activate(dir, id, &err));
    return id;
}

static uint64_t add_admin(const char *address)
{
    uint64_t id = create(address, 7, true);
    assert_ok(directory_account_activate(dir, id, &err));
    return id;
}

static struct dir_account get(uint64_t id)
{
    struct dir_account account;
    assert_ok(directory_account(dir, id, pool, &account, &err));
    return account;
}

static struct dir_resolution resolve(const char *address)
{
    struct dir_resolution r;
    assert_ok(directory_resolve(dir, S(address), pool, &r, &err));
    return r;
}

static void expect_one(const char *address, enum dir_via via, uint64_t id)
{
    struct dir_resolution r = resolve(address);
    if (r.answer != DIR_FOUND || r.account_count != 1 || r.accounts[0].id != id || r.via != via)
        fail_msg("%s: answer %d, %zu accounts, via %d", address, r.answer, r.account_count, r.via);
}

static void expect_answer(const char *address, enum dir_answer answer)
{
    struct dir_resolution r = resolve(address);
    if (r.answer != answer || (answer != DIR_FOUND && r.account_count))
        fail_msg("%s: answer %d, want %d", address, r.answer, answer);
}

/* ---- Domains ---- */

static void domains_are_kept_under_their_canonical_name(void **state)
{
    (void)state;
    struct dir_domain d, *list;
    size_t n;
    assert_ok(directory_domain_add(dir, S("Example.TEST"), &err));
    assert_rc(directory_domain_add(dir, S("example.test"), &err), CQ_E_EXISTS);
    assert_rc(directory_domain_add(dir, S("no host name"), &err), CQ_E_INVALID);
    assert_ok(directory_domain_add(dir,
                                   S("b\xc3\xbc"
                                     "cher.example"),
                                   &err));
    assert_ok(directory_domain(dir, S("EXAMPLE.test"), pool, &d, &err));
    assert_slice(d.name, "example.test");
    assert_true(d.id && d.version && !d.alias_of && !d.postmaster);
    assert_rc(directory_domain(dir, S("other.test"), pool, &d, &err), CQ_E_NOT_FOUND);
    assert_ok(directory_domain_list(dir, S(""), 10, pool, &list, &n, &err));
    assert_int_equal(n, 2);
    assert_slice(list[0].name, "example.test");
    assert_slice(list[1].name, "xn--bcher-kva.example");
    assert_ok(directory_domain_list(dir, S("example.test"), 10, pool, &list, &n, &err));
    assert_int_equal(n, 1);
    assert_ok(directory_domain_list(dir, S(""), 1, pool, &list, &n, &err));
    assert_int_equal(n, 1);
    assert_ok(directory_domain_remove(dir, S("example.test"), &err));
    assert_rc(directory_domain_remove(dir, S("example.test"), &err), CQ_E_NOT_FOUND);
}

static void a_domain_in_use_is_not_removed(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &err));
    assert_rc(directory_domain_remove(dir, S("a.test"), &err), CQ_E_CONFLICT);
    assert_ok(directory_domain_remove(dir, S("b.test"), &err));
    uint64_t id = add("x@a.test");
    assert_rc(directory_domain_remove(dir, S("a.test"), &err), CQ_E_CONFLICT);
    assert_ok(directory_account_delete(dir, id, &err));
    assert_ok(directory_account_remove(dir, id, &err));
    assert_ok(directory_domain_remove(dir, S("a.test"), &err));
}

static void alias_domains_are_one_step_deep(void **state)
{
    (void)state;
    struct dir_domain d;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_rc(directory_domain_alias_add(dir, S("b.test"), S("nowhere.test"), &err), CQ_E_NOT_FOUND);
    assert_ok(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &err));
    assert_rc(directory_domain_alias_add(dir, S("c.test"), S("b.test"), &err), CQ_E_INVALID);
    assert_rc(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &err), CQ_E_EXISTS);
    assert_ok(directory_domain(dir, S("b.test"), pool, &d, &err));
    assert_slice(d.alias_of_name, "a.test");
    const struct dir_account_new new = {.address = S("x@b.test"), .services = DIR_IMAP};
    struct dir_account account;
    assert_rc(directory_account_create(dir, &new, pool, &account, &err), CQ_E_INVALID);
    uint64_t id = add("x@a.test");
    assert_rc(directory_alias_add(dir, S("y@b.test"), id, &err), CQ_E_INVALID);
}

/* ---- Accounts ---- */

static void an_account_is_born_creating_with_its_slot(void **state)
{
    (void)state;
    struct dir_account a, holder;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    const struct dir_account_new new = {
        .address = S("Alice@A.test"),
        .slot = 0xfedc,
        .home_dc = S("dc-b"),
        .plan = S("business"),
        .services = DIR_IMAP | DIR_SMTP,
        .admin = true,
        .quota_bytes = 1u << 30,
        .quota_messages = 1000,
    };
    assert_ok(directory_account_create(dir, &new, pool, &a, &err));
    assert_int_equal(dir_slot_of(a.id), 0xfedc);
    a = get(a.id);
    assert_slice(a.address, "alice@a.test");
    assert_int_equal(a.state, DIR_CREATING);
    assert_int_equal(a.services, DIR_IMAP | DIR_SMTP);
    assert_int_equal(a.plan->messages_per_day, 2000);
    assert_slice(a.home_dc, "dc-b");
    assert_true(a.admin && a.version && a.created_us);
    assert_int_equal(a.quota_bytes, 1u << 30);
    assert_int_equal(a.quota_messages, 1000);
    /* again: told who has it, so that a create that was cut short goes on */
    assert_rc(directory_account_create(dir, &new, pool, &holder, &err), CQ_E_EXISTS);
    assert_true(holder.id == a.id);
    assert_int_equal(holder.state, DIR_CREATING);
}

static void what_cannot_be_created_is_refused(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t id = add("taken@a.test");
    assert_ok(directory_alias_add(dir, S("info@a.test"), id, &err));
    static const struct {
        const char *address, *plan;
        unsigned services;
        uint64_t quota;
        enum cq_rc rc;
    } cases[] = {
        {"x@nowhere.test", "", DIR_IMAP, 0, CQ_E_NOT_FOUND},
        {"x+tag@a.test", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"a b@a.test", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"@a.test", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"x", "", DIR_IMAP, 0, CQ_E_INVALID},
        {"x@a.test", "golden", DIR_IMAP, 0, CQ_E_INVALID},
        {"x@a.test", "", 8, 0, CQ_E_INVALID},
        {"x@a.test", "", DIR_IMAP, UINT64_MAX, CQ_E_INVALID},
        {"TAKEN@a.test", "", DIR_IMAP, 0, CQ_E_EXISTS},
        {"info@a.test", "", DIR_IMAP, 0, CQ_E_EXISTS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dir_account a;
        const struct dir_account_new new = {.address = S(cases[i].address),
                                            .plan = S(cases[i].plan),
                                            .services = cases[i].services,
                                            .quota_bytes = cases[i].quota};
        assert_rc(directory_account_create(dir, &new, pool, &a, &err), cases[i].rc);
        assert_true(cases[i].rc == CQ_E_EXISTS || a.id == 0);
    }
}

static void the_life_cycle_allows_what_it_says_and_nothing_else(void **state)
{
    (void)state;
    typedef enum cq_rc change_fn(struct directory *, uint64_t, struct cq_err *);
    change_fn *const fns[] = {directory_account_activate, directory_account_disable, directory_account_enable,
                              directory_account_delete};
    /* rows: from state; columns: activate, disable, enable, delete */
    static const enum cq_rc want[DIR_STATE_COUNT][4] = {
        [DIR_CREATING] = {CQ_OK, CQ_E_CONFLICT, CQ_E_CONFLICT, CQ_OK},
        [DIR_ACTIVE] = {CQ_OK, CQ_OK, CQ_OK, CQ_OK},
        [DIR_DISABLED] = {CQ_E_CONFLICT, CQ_OK, CQ_OK, CQ_OK},
        [DIR_DELETING] = {CQ_E_CONFLICT, CQ_E_CONFLICT, CQ_E_CONFLICT, CQ_OK},
    };
    static const enum dir_state after[4] = {DIR_ACTIVE, DIR_DISABLED, DIR_ACTIVE, DIR_DELETING};
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    for (int from = 0; from < DIR_VANISHED; from++) /* vanished: of other programs' tables only */
        for (int to = 0; to < 4; to++) {
            char address[64];
            snprintf(address, sizeof address, "x%d-%d@a.test", from, to);
            uint64_t id = create(address, 1, false);
            if (from == DIR_ACTIVE || from == DIR_DISABLED)
                assert_ok(directory_account_activate(dir, id, &err));
            if (from == DIR_DISABLED)
                assert_ok(directory_account_disable(dir, id, &err));
            if (from == DIR_DELETING)
                assert_ok(directory_account_delete(dir, id, &err));
            uint64_t version = get(id).version;
            assert_rc(fns[to](dir, id, &err), want[from][to]);
            struct dir_account a = get(id);
            bool changed = want[from][to] == CQ_OK && after[to] != (enum dir_state)from;
            assert_int_equal(a.state, want[from][to] == CQ_OK ? after[to] : (enum dir_state)from);
            assert_int_equal(a.version > version, changed);
        }
    assert_rc(directory_account_activate(dir, 12345, &err), CQ_E_NOT_FOUND);
}

static void removing_takes_what_belongs_to_the_account_and_frees_the_address(void **state)
{
    (void)state;
    struct dir_account a;
    struct dir_credential *rows;
    size_t n;
    uint64_t credential;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test"), y = add("y@a.test");
    assert_ok(directory_alias_add(dir, S("only-x@a.test"), x, &err));
    assert_ok(directory_alias_add(dir, S("both@a.test"), x, &err));
    assert_ok(directory_alias_add(dir, S("both@a.test"), y, &err));
    assert_ok(directory_domain_postmaster(dir, S("a.test"), x, &err));
    const struct dir_credential password = {.account_id = x, .scopes = DIR_IMAP, .hash = S("h")};
    assert_ok(directory_credential_put(dir, &password, &credential, &err));
    assert_rc(directory_account_remove(dir, x, &err), CQ_E_CONFLICT); /* not deleting yet */
    assert_ok(directory_account_delete(dir, x, &err));
    assert_ok(directory_account_remove(dir, x, &err));
    assert_ok(directory_account_remove(dir, x, &err)); /* gone already */
    assert_rc(directory_account(dir, x, pool, &a, &err), CQ_E_NOT_FOUND);
    expect_answer("x@a.test", DIR_NO_USER);
    expect_answer("only-x@a.test", DIR_NO_USER);
    expect_one("both@a.test", DIR_VIA_ALIAS, y);
    expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, y);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &err));
    assert_int_equal(n, 0);
    uint64_t again = add("x@a.test");
    assert_true(again != x);
}

/* ---- Half done ---- */

static void expect_pending(const struct dir_pending_query *query, size_t count, const uint64_t *ids)
{
    struct dir_account *rows;
    size_t n;
    assert_ok(directory_pending_list(dir, query, pool, &rows, &n, &err));
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++) {
        assert_true(rows[i].id == ids[i]);
        assert_true(i == 0 || rows[i].state_us >= rows[i - 1].state_us);
        assert_true(rows[i].state == DIR_CREATING || rows[i].state == DIR_DELETING);
    }
}

static void what_is_half_done_is_listed_from_the_oldest(void **state)
{
    (void)state;
    struct dir_pending pending;
    const struct dir_pending_query all = {.max = 10}, two = {.max = 2}, old = {.age_min_us = 3600000000, .max = 10};
    const struct dir_pending_query oldest_of_all = {.age_min_us = UINT64_MAX, .max = 10}, none = {.max = 0};
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    expect_pending(&all, 0, NULL);
    assert_ok(directory_pending_count(dir, &pending, &err));
    assert_true(!pending.creating && !pending.deleting && !pending.creating_age_max_us && !pending.deleting_age_max_us);

    uint64_t deleted = create("deleted@a.test", 0xffff, false); /* the oldest row, but not the oldest state */
    uint64_t first = create("first@a.test", 0xfffe, false);     /* ids above 2^63 and below */
    uint64_t second = create("second@a.test", 1, false);
    uint64_t active = add("active@a.test"), disabled = add("disabled@a.test");
    assert_ok(directory_account_disable(dir, disabled, &err));
    assert_true(get(active).state_us >= get(active).created_us && get(first).state_us);
    assert_ok(directory_account_delete(dir, deleted, &err));
    expect_pending(&all, 3, (const uint64_t[]){first, second, deleted});
    expect_pending(&two, 2, (const uint64_t[]){first, second});
    expect_pending(&none, 0, NULL);
    expect_pending(&old, 0, NULL);
    expect_pending(&oldest_of_all, 0, NULL);
    struct dir_account at = get(second);
    const struct dir_pending_query next = {.after_us = at.state_us, .after_id = at.id, .max = 10};
    expect_pending(&next, 1, &deleted);
    assert_ok(directory_pending_count(dir, &pending, &err));
    assert_int_equal(pending.creating, 2);
    assert_int_equal(pending.deleting, 1);
    assert_true(pending.creating_age_max_us >= pending.deleting_age_max_us);
    assert_true(pending.creating_age_max_us < 3600000000);

    assert_ok(directory_account_delete(dir, deleted, &err)); /* asked for again: it stays as old as it was */
    assert_ok(directory_account_activate(dir, first, &err));
    expect_pending(&all, 2, (const uint64_t[]){second, deleted});
    assert_ok(directory_account_remove(dir, deleted, &err));
    expect_pending(&all, 1, &second);
}

static void an_account_is_born_with_its_password_or_without(void **state)
{
    (void)state;
    struct dir_account with, without;
    struct dir_credential *rows;
    size_t n;
    uint64_t id;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    struct dir_account_new new = {
        .address = S("with@a.test"), .slot = 3, .services = DIR_IMAP, .password_hash = S("$argon2id$x")};
    assert_ok(directory_account_create(dir, &new, pool, &with, &err));
    assert_ok(directory_credential_list(dir, with.id, pool, &rows, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].kind, DIR_PASSWORD);
    assert_int_equal(rows[0].scopes, DIR_ALL_SERVICES);
    assert_slice(rows[0].hash, "$argon2id$x");
    assert_true(rows[0].id && rows[0].version && rows[0].created_us && !rows[0].expires_us && !rows[0].prefix.len);
    assert_true(with.version >= rows[0].version);
    new.address = S("without@a.test");
    new.password_hash = S("");
    assert_ok(directory_account_create(dir, &new, pool, &without, &err));
    assert_ok(directory_credential_list(dir, without.id, pool, &rows, &n, &err));
    assert_int_equal(n, 0);
    /* refused: nothing of it is there, and the one that holds the address keeps its password */
    new.address = S("with@a.test");
    new.password_hash = S("another");
    assert_rc(directory_account_create(dir, &new, pool, &without, &err), CQ_E_EXISTS);
    assert_ok(directory_credential_list(dir, with.id, pool, &rows, &n, &err));
    assert_int_equal(n, 1);
    assert_slice(rows[0].hash, "$argon2id$x");
    const struct dir_credential replaced = {.account_id = with.id, .scopes = DIR_ALL_SERVICES, .hash = S("new")};
    assert_ok(directory_credential_put(dir, &replaced, &id, &err));
    assert_ok(directory_credential_list(dir, with.id, pool, &rows, &n, &err));
    assert_int_equal(n, 1);
    assert_slice(rows[0].hash, "new");
}

static void updates_change_what_they_name(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t id = add("x@a.test");
    uint64_t version = get(id).version;
    struct dir_account_update update = {.what = DIR_SET_PLAN | DIR_SET_QUOTA,
                                        .expected_version = version,
                                        .plan = S("business"),
                                        .quota_bytes = 5,
                                        .quota_messages = 6,
                                        .services = 0,
                                        .admin = true};
    assert_ok(directory_account_update(dir, id, &update, &err));
    struct dir_account a = get(id);
    assert_int_equal(a.plan->messages_per_day, 2000);
    assert_int_equal(a.quota_bytes, 5);
    assert_int_equal(a.quota_messages, 6);
    assert_int_equal(a.services, DIR_ALL_SERVICES);
    assert_false(a.admin);
    assert_true(a.version > version);
    assert_rc(directory_account_update(dir, id, &update, &err), CQ_E_CONFLICT); /* the old version */
    update = (struct dir_account_update){.what = DIR_SET_SERVICES | DIR_SET_ADMIN | DIR_SET_HOME_DC,
                                         .services = DIR_POP,
                                         .admin = true,
                                         .home_dc = S("c")};
    assert_ok(directory_account_update(dir, id, &update, &err));
    a = get(id);
    assert_int_equal(a.services, DIR_POP);
    assert_true(a.admin);
    assert_slice(a.home_dc, "c");
    assert_int_equal(a.quota_bytes, 5);
    update = (struct dir_account_update){.what = DIR_SET_PLAN, .plan = S("golden")};
    assert_rc(directory_account_update(dir, id, &update, &err), CQ_E_INVALID);
    assert_rc(directory_account_update(dir, 1, &(struct dir_account_update){0}, &err), CQ_E_NOT_FOUND);
}

static void lists_page_through_all_ids_in_order(void **state)
{
    (void)state;
    static const uint16_t slots[] = {0, 1, 0x7fff, 0x8000, 0xffff, 0x8000, 3};
    struct dir_account *rows;
    size_t n, total = 0;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_domain_add(dir, S("b.test"), &err));
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char address[64];
        snprintf(address, sizeof address, "u%zu@%c.test", i, i % 2 ? 'b' : 'a');
        uint64_t id = create(address, slots[i], false);
        if (i == 5)
            assert_ok(directory_account_delete(dir, id, &err));
    }
    struct dir_account_filter filter = {.max = 2};
    do {
        assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &err));
        for (size_t i = 0; i < n; i++) {
            assert_true(rows[i].id > filter.after_id);
            filter.after_id = rows[i].id;
        }
        total += n;
    } while (n);
    assert_int_equal(total, 7);
    filter = (struct dir_account_filter){.domain = S("b.test"), .max = 100};
    assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &err));
    assert_int_equal(n, 3);
    filter = (struct dir_account_filter){.states = 1u << DIR_DELETING, .max = 100};
    assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(dir_slot_of(rows[0].id), 0x8000);
    filter = (struct dir_account_filter){.domain = S("c.test"), .max = 100};
    assert_rc(directory_account_list(dir, &filter, pool, &rows, &n, &err), CQ_E_NOT_FOUND);
}

/* ---- Who gets mail ---- */

static void addresses_are_found_by_the_rules_in_their_order(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_domain_add(dir, S("b.test"), &err));
    assert_ok(directory_domain_alias_add(dir, S("alias.test"), S("a.test"), &err));
    uint64_t alice = add("alice@a.test"), bob = add("bob@a.test"), all = add("all@b.test");
    assert_ok(directory_alias_add(dir, S("Info@a.test"), bob, &err));
    assert_ok(directory_alias_add(dir, S("@b.test"), all, &err));
    static const struct {
        const char *address;
        enum dir_answer answer;
        enum dir_via via;
        char who;
    } cases[] = {
        {"alice@a.test", DIR_FOUND, DIR_VIA_PRIMARY, 'a'},
        {"ALICE@A.TEST", DIR_FOUND, DIR_VIA_PRIMARY, 'a'},
        {"alice+news@a.test", DIR_FOUND, DIR_VIA_PLUS, 'a'},
        {"alice@alias.test", DIR_FOUND, DIR_VIA_PRIMARY, 'a'},
        {"alice+x@alias.test", DIR_FOUND, DIR_VIA_PLUS, 'a'},
        {"info@a.test", DIR_FOUND, DIR_VIA_ALIAS, 'b'},
        {"info+x@alias.test", DIR_FOUND, DIR_VIA_PLUS, 'b'},
        {"anything@b.test", DIR_FOUND, DIR_VIA_CATCH_ALL, 'c'},
        {"any+thing@b.test", DIR_FOUND, DIR_VIA_CATCH_ALL, 'c'},
        {"all@b.test", DIR_FOUND, DIR_VIA_PRIMARY, 'c'},
        {"a.lice@a.test", DIR_NO_USER, 0, 0},
        {"nobody@a.test", DIR_NO_USER, 0, 0},
        {"nobody+alice@a.test", DIR_NO_USER, 0, 0},
        {"@b.test", DIR_NO_USER, 0, 0},
        {"alice@elsewhere.test", DIR_NO_DOMAIN, 0, 0},
        {"alice@[127.0.0.1]", DIR_NO_DOMAIN, 0, 0},
        {"alice", DIR_NO_DOMAIN, 0, 0},
        {"", DIR_NO_DOMAIN, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].who)
            expect_one(cases[i].address, cases[i].via, cases[i].who == 'a' ? alice : cases[i].who == 'b' ? bob : all);
        else
            expect_answer(cases[i].address, cases[i].answer);
    }
    struct dir_resolution r = resolve("Alice+News@A.test");
    assert_slice(r.address.text, "alice+news@a.test");
    assert_slice(r.address.tag, "news");
    assert_slice(r.accounts[0].address, "alice@a.test");
}

static void hostile_names_are_found_or_not_and_never_interpreted(void **state)
{
    (void)state;
    static char longer[10000];
    memset(longer, 'a', sizeof longer);
    memcpy(longer + sizeof longer - 7, "@a.test", 7);
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t id = add("o'brien@a.test");
    add("percent%@a.test");
    expect_one("o'brien@a.test", DIR_VIA_PRIMARY, id);
    static const struct cq_slice cases[] = {
        {(const uint8_t *)"%@a.test", 8},
        {(const uint8_t *)"_'brien@a.test", 14},
        {(const uint8_t *)"*@a.test", 8},
        {(const uint8_t *)"o'brien' OR '1'='1@a.test", 25},
        {(const uint8_t *)"'; DROP TABLE account; --@a.test", 32},
        {(const uint8_t *)"o\\'brien@a.test", 15},
        {(const uint8_t *)"o'brien\0@a.test", 15},
        {(const uint8_t *)"\0@a.test", 8},
        {(const uint8_t *)"\xff\xfe@a.test", 9},
        {(const uint8_t *)longer, sizeof longer},
        {(const uint8_t *)"\"o'brien\"@a.test", 16},
        {(const uint8_t *)"percent%25@a.test", 17},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dir_resolution r;
        struct dir_account a;
        assert_ok(directory_resolve(dir, cases[i], pool, &r, &err));
        assert_int_equal(r.account_count, 0);
        assert_true(r.answer == DIR_NO_USER || r.answer == DIR_NO_DOMAIN);
        assert_rc(directory_account_by_login(dir, cases[i], pool, &a, &err), CQ_E_NOT_FOUND);
        assert_rc(directory_may_send_as(dir, id, cases[i], &err), CQ_E_DENIED);
    }
    struct dir_account_filter filter = {.max = 10};
    struct dir_account *rows;
    size_t n;
    assert_ok(directory_account_list(dir, &filter, pool, &rows, &n, &err));
    assert_int_equal(n, 2);
}

static void an_alias_may_have_many_accounts(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test"), y = add("y@a.test");
    assert_ok(directory_alias_add(dir, S("team@a.test"), x, &err));
    assert_ok(directory_alias_add(dir, S("team@a.test"), y, &err));
    assert_rc(directory_alias_add(dir, S("Team@a.test"), y, &err), CQ_E_EXISTS);
    assert_rc(directory_alias_add(dir, S("x@a.test"), y, &err), CQ_E_EXISTS); /* an account's own address */
    assert_rc(directory_alias_add(dir, S("new@a.test"), 99, &err), CQ_E_NOT_FOUND);
    assert_rc(directory_alias_add(dir, S("a+b@a.test"), x, &err), CQ_E_INVALID);
    assert_rc(directory_alias_add(dir, S("new@other.test"), x, &err), CQ_E_NOT_FOUND);
    struct dir_resolution r = resolve("team@a.test");
    assert_int_equal(r.account_count, 2);
    assert_int_equal(r.via, DIR_VIA_ALIAS);

    struct dir_address_row *rows;
    size_t n;
    assert_ok(directory_address_list(dir, x, S(""), 100, pool, &rows, &n, &err));
    assert_int_equal(n, 2);
    assert_slice(rows[0].address, "x@a.test");
    assert_int_equal(rows[0].kind, DIR_PRIMARY);
    assert_slice(rows[1].address, "team@a.test");
    assert_int_equal(rows[1].target_count, 2);
    assert_ok(directory_address_list(dir, 0, S("a.test"), 100, pool, &rows, &n, &err));
    assert_int_equal(n, 3);
    assert_ok(directory_address_list(dir, 0, S("a.test"), 1, pool, &rows, &n, &err));
    assert_int_equal(n, 1);

    assert_ok(directory_alias_remove(dir, S("team@a.test"), x, &err));
    expect_one("team@a.test", DIR_VIA_ALIAS, y);
    assert_rc(directory_alias_remove(dir, S("team@a.test"), x, &err), CQ_E_NOT_FOUND);
    assert_ok(directory_alias_remove(dir, S("team@a.test"), 0, &err));
    expect_answer("team@a.test", DIR_NO_USER);
    assert_rc(directory_alias_remove(dir, S("team@a.test"), 0, &err), CQ_E_NOT_FOUND);
    assert_rc(directory_alias_remove(dir, S("x@a.test"), 0, &err), CQ_E_NOT_FOUND); /* no alias */
    expect_one("x@a.test", DIR_VIA_PRIMARY, x);
}

static void the_accounts_of_one_alias_are_bounded(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    for (int i = 0; i <= DIR_TARGETS_MAX; i++) {
        char address[64];
        snprintf(address, sizeof address, "u%d@a.test", i);
        assert_rc(directory_alias_add(dir, S("team@a.test"), create(address, 1, false), &err),
                  i < DIR_TARGETS_MAX ? CQ_OK : CQ_E_LIMIT);
    }
}

static void the_state_of_the_accounts_decides_the_answer(void **state)
{
    (void)state;
    struct dir_resolution r;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t creating = create("c@a.test", 1, false), on = add("on@a.test"), off = add("off@a.test");
    assert_ok(directory_account_disable(dir, off, &err));
    assert_rc(directory_resolve(dir, S("c@a.test"), pool, &r, &err), CQ_E_UNAVAILABLE);
    expect_answer("off@a.test", DIR_USER_DISABLED);
    assert_ok(directory_alias_add(dir, S("team@a.test"), off, &err));
    expect_answer("team@a.test", DIR_USER_DISABLED);
    assert_ok(directory_alias_add(dir, S("team@a.test"), on, &err));
    expect_one("team@a.test", DIR_VIA_ALIAS, on);
    assert_ok(directory_alias_add(dir, S("team@a.test"), creating, &err));
    assert_rc(directory_resolve(dir, S("team@a.test"), pool, &r, &err), CQ_E_UNAVAILABLE);
    assert_ok(directory_account_delete(dir, creating, &err));
    assert_rc(directory_resolve(dir, S("c@a.test"), pool, &r, &err), CQ_E_UNAVAILABLE); /* deleting: 451 */
    assert_ok(directory_account_enable(dir, off, &err));
    expect_one("off@a.test", DIR_VIA_PRIMARY, off);
}

static void postmaster_always_finds_somebody(void **state)
{
    (void)state;
    struct dir_resolution r;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_domain_add(dir, S("b.test"), &err));
    assert_ok(directory_domain_alias_add(dir, S("c.test"), S("b.test"), &err));
    assert_rc(directory_resolve(dir, S("postmaster@a.test"), pool, &r, &err), CQ_E_UNAVAILABLE); /* nobody at all yet */
    uint64_t user = add("user@a.test");
    expect_one("postmaster@b.test", DIR_VIA_POSTMASTER, user); /* somebody somewhere */
    uint64_t other = add("other@b.test");
    expect_one("Postmaster@b.test", DIR_VIA_POSTMASTER, other); /* the domain's first account */
    uint64_t admin = add_admin("admin@a.test");
    expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin); /* the domain's first admin */
    expect_one("postmaster@b.test", DIR_VIA_POSTMASTER, other);
    expect_one("POSTMASTER", DIR_VIA_POSTMASTER, admin); /* RFC 5321: without a domain */
    expect_one("postmaster@c.test", DIR_VIA_POSTMASTER, other);
    assert_rc(directory_domain_postmaster(dir, S("c.test"), user, &err), CQ_E_INVALID);
    assert_rc(directory_domain_postmaster(dir, S("b.test"), 77, &err), CQ_E_NOT_FOUND);
    assert_ok(directory_domain_postmaster(dir, S("b.test"), user, &err));
    expect_one("postmaster@c.test", DIR_VIA_POSTMASTER, user); /* chosen */
    assert_ok(directory_account_disable(dir, user, &err));
    expect_one("postmaster@b.test", DIR_VIA_POSTMASTER, other); /* the chosen one is off */
    assert_ok(directory_alias_add(dir, S("@a.test"), other, &err));
    expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin); /* before the catch-all */
    uint64_t own = create("postmaster@a.test", 3, false);
    expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin); /* its own account is not ready */
    assert_ok(directory_account_activate(dir, own, &err));
    expect_one("postmaster@a.test", DIR_VIA_PRIMARY, own);
    assert_ok(directory_account_disable(dir, own, &err));
    expect_one("postmaster@a.test", DIR_VIA_POSTMASTER, admin);
    expect_answer("postmaster@nowhere.test", DIR_NO_DOMAIN);
}

static void an_account_sends_as_its_own_addresses_only(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_domain_add(dir, S("b.test"), &err));
    assert_ok(directory_domain_alias_add(dir, S("alias.test"), S("a.test"), &err));
    uint64_t x = add_admin("x@a.test"), y = add("y@a.test");
    assert_ok(directory_alias_add(dir, S("info@a.test"), x, &err));
    assert_ok(directory_alias_add(dir, S("@b.test"), y, &err));
    static const struct {
        const char *address;
        bool x, y;
    } cases[] = {
        {"x@a.test", true, false},
        {"X+tag@A.test", true, false},
        {"x@alias.test", true, false},
        {"info@a.test", true, false},
        {"info@alias.test", true, false},
        {"y@a.test", false, true},
        {"postmaster@a.test", true, false},
        {"ceo@b.test", false, false}, /* a catch-all gives no right */
        {"x@elsewhere.test", false, false},
        {"nobody@a.test", false, false},
        {"", false, false},
        {"x@a.test\r\nBcc: z@a.test", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_rc(directory_may_send_as(dir, x, S(cases[i].address), &err), cases[i].x ? CQ_OK : CQ_E_DENIED);
        assert_rc(directory_may_send_as(dir, y, S(cases[i].address), &err), cases[i].y ? CQ_OK : CQ_E_DENIED);
    }
}

static void log_in_is_by_the_primary_address(void **state)
{
    (void)state;
    struct dir_account a;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_domain_alias_add(dir, S("b.test"), S("a.test"), &err));
    uint64_t x = add("x@a.test");
    assert_ok(directory_alias_add(dir, S("info@a.test"), x, &err));
    assert_ok(directory_alias_add(dir, S("@a.test"), x, &err));
    static const struct {
        const char *login;
        bool ok;
    } cases[] = {
        {"x@a.test", true},
        {"X@A.TEST", true},
        {"x@b.test", true},
        {"info@a.test", false},
        {"x+tag@a.test", false},
        {"zzz@a.test", false},
        {"@a.test", false},
        {"x", false},
        {"", false},
        {"postmaster", false},
        {"x@c.test", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_rc(directory_account_by_login(dir, S(cases[i].login), pool, &a, &err),
                  cases[i].ok ? CQ_OK : CQ_E_NOT_FOUND);
        assert_true(!cases[i].ok || a.id == x);
    }
    assert_ok(directory_account_disable(dir, x, &err));
    assert_ok(directory_account_by_login(dir, S("x@a.test"), pool, &a, &err)); /* the state is the caller's to judge */
    assert_int_equal(a.state, DIR_DISABLED);
}

/* ---- Credentials ---- */

static uint64_t put_app(uint64_t account, const char *prefix, const char *label)
{
    uint64_t id = 0;
    const struct dir_credential row = {.account_id = account,
                                       .kind = DIR_APP_PASSWORD,
                                       .scopes = DIR_IMAP,
                                       .prefix = S(prefix),
                                       .hash = S("hash of it"),
                                       .label = S(label),
                                       .expires_us = 99};
    assert_ok(directory_credential_put(dir, &row, &id, &err));
    return id;
}

static void a_password_is_replaced_and_app_passwords_are_added(void **state)
{
    (void)state;
    struct dir_credential *rows;
    size_t n;
    uint64_t first, second;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test"), version = get(x).version;
    struct dir_credential password = {.account_id = x, .scopes = DIR_ALL_SERVICES, .hash = S("one")};
    assert_ok(directory_credential_put(dir, &password, &first, &err));
    assert_true(get(x).version > version);
    uint64_t app = put_app(x, "abcd", "phone");
    password.hash = S("two");
    assert_ok(directory_credential_put(dir, &password, &second, &err));
    assert_true(second != first);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &err));
    assert_int_equal(n, 2);
    assert_int_equal(rows[0].id, app);
    assert_int_equal(rows[0].kind, DIR_APP_PASSWORD);
    assert_slice(rows[0].prefix, "abcd");
    assert_slice(rows[0].label, "phone");
    assert_int_equal(rows[0].scopes, DIR_IMAP);
    assert_int_equal(rows[0].expires_us, 99);
    assert_true(rows[0].created_us && !rows[0].last_used_us);
    assert_int_equal(rows[1].id, second);
    assert_slice(rows[1].hash, "two");
    assert_true(rows[1].version > rows[0].version);
    assert_ok(directory_credential_list(dir, 0, pool, &rows, &n, &err));
    assert_int_equal(n, 0);
}

static void wrong_credentials_are_refused(void **state)
{
    (void)state;
    static char longer[DIR_LABEL_MAX + 1];
    memset(longer, 'l', sizeof longer);
    uint64_t id;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test");
    const struct {
        struct dir_credential row;
        enum cq_rc rc;
    } cases[] = {
        {{.account_id = 5, .scopes = DIR_IMAP, .hash = S("h")}, CQ_E_NOT_FOUND},
        {{.account_id = x, .scopes = 0, .hash = S("h")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = 8, .hash = S("h")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .prefix = S("abcd")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .kind = DIR_APP_PASSWORD}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .label = cq_slice_of(longer, sizeof longer)},
         CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .label = S("\xff")}, CQ_E_INVALID},
        {{.account_id = x, .scopes = DIR_IMAP, .hash = S("h"), .label = S("'; DROP TABLE credential; --")}, CQ_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_rc(directory_credential_put(dir, &cases[i].row, &id, &err), cases[i].rc);
    put_app(x, "abcd", "one");
    const struct dir_credential same = {
        .account_id = x, .kind = DIR_APP_PASSWORD, .scopes = DIR_IMAP, .prefix = S("abcd"), .hash = S("h")};
    assert_rc(directory_credential_put(dir, &same, &id, &err), CQ_E_EXISTS);
    put_app(add("y@a.test"), "abcd", "another account may have the same prefix");
}

static void app_passwords_are_bounded(void **state)
{
    (void)state;
    uint64_t id;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test");
    for (int i = 0; i <= DIR_CREDENTIALS_MAX; i++) {
        char prefix[8];
        snprintf(prefix, sizeof prefix, "p%03d", i);
        const struct dir_credential row = {
            .account_id = x, .kind = DIR_APP_PASSWORD, .scopes = DIR_IMAP, .prefix = S(prefix), .hash = S("h")};
        assert_rc(directory_credential_put(dir, &row, &id, &err), i < DIR_CREDENTIALS_MAX ? CQ_OK : CQ_E_LIMIT);
    }
}

static void use_rehash_and_removal_touch_the_right_row(void **state)
{
    (void)state;
    struct dir_credential *rows;
    size_t n;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test"), y = add("y@a.test");
    uint64_t one = put_app(x, "aaaa", "one"), two = put_app(x, "bbbb", "two");
    uint64_t version = get(x).version;
    assert_ok(directory_credential_used(dir, one, 500, &err));
    assert_ok(directory_credential_used(dir, one, 400, &err)); /* an older news changes nothing */
    assert_rc(directory_credential_used(dir, 12345, 1, &err), CQ_E_NOT_FOUND);
    assert_int_equal(get(x).version, version); /* use is no change that others must hear of */
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &err));
    assert_int_equal(rows[0].last_used_us, 500);
    assert_int_equal(rows[1].last_used_us, 0);
    uint64_t row_version = rows[0].version;
    assert_ok(directory_credential_rehash(dir, one, row_version, S("better"), &err));
    assert_rc(directory_credential_rehash(dir, one, row_version + 1, S("worse"), &err), CQ_E_CONFLICT);
    assert_rc(directory_credential_rehash(dir, 12345, 1, S("worse"), &err), CQ_E_NOT_FOUND);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &err));
    assert_slice(rows[0].hash, "better");
    assert_int_equal(rows[0].version, row_version);
    assert_rc(directory_credential_remove(dir, y, one, &err), CQ_E_NOT_FOUND); /* not this account's */
    assert_ok(directory_credential_remove(dir, x, one, &err));
    assert_rc(directory_credential_remove(dir, x, one, &err), CQ_E_NOT_FOUND);
    assert_ok(directory_credential_list(dir, x, pool, &rows, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(rows[0].id, two);
    assert_true(get(x).version > version);
}

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
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test");
    assert_ok(directory_watch_poll(&watch, &err));
    assert_int_equal(heard.count, 0); /* the first look only notes where the feed ends */
    assert_ok(directory_account_disable(dir, x, &err));
    uint64_t app = put_app(x, "aaaa", "one");
    assert_ok(directory_alias_add(dir, S("i@a.test"), x, &err));
    assert_ok(directory_credential_remove(dir, x, app, &err));
    assert_ok(directory_account_delete(dir, x, &err));
    assert_ok(directory_account_remove(dir, x, &err));
    assert_ok(directory_watch_poll(&watch, &err));
    assert_ok(directory_watch_poll(&watch, &err));
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
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    assert_ok(directory_watch_poll(&watch, &err));
    assert_int_equal(heard.lost, 1);
    add("x@a.test");
    assert_ok(directory_watch_poll(&watch, &err));
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
        assert_ok(directory_domain_add(dir, S(name), &err));
    }
    assert_ok(directory_changes(dir, 0, 2, pool, &changes, &n, &head, &err));
    assert_int_equal(n, 2);
    assert_true(head > changes[1].version);
    assert_ok(directory_changes(dir, changes[1].version, 100, pool, &changes, &n, &head, &err));
    assert_int_equal(n, 3);
    assert_int_equal(changes[2].version, head);
    assert_ok(directory_changes(dir, head, 100, pool, &changes, &n, &head, &err));
    assert_int_equal(n, 0);
}

/* ---- Lasting and concurrency ---- */

static void everything_is_there_after_opening_again(void **state)
{
    (void)state;
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
    uint64_t x = add("x@a.test");
    uint64_t version = get(x).version;
    directory_close(&dir);
    dir = suite->again(suite->ctx);
    assert_int_equal(get(x).version, version);
    expect_one("x@a.test", DIR_VIA_PRIMARY, x);
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
    assert_ok(directory_domain_add(dir, S("a.test"), &err));
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int dir_suite_run(const struct dir_suite *which)
{
    const struct CMUnitTest tests[] = {
        TEST(domains_are_kept_under_their_canonical_name),
        TEST(a_domain_in_use_is_not_removed),
        TEST(alias_domains_are_one_step_deep),
        TEST(an_account_is_born_creating_with_its_slot),
        TEST(what_cannot_be_created_is_refused),
        TEST(the_life_cycle_allows_what_it_says_and_nothing_else),
        TEST(removing_takes_what_belongs_to_the_account_and_frees_the_address),
        TEST(what_is_half_done_is_listed_from_the_oldest),
        TEST(an_account_is_born_with_its_password_or_without),
        TEST(updates_change_what_they_name),
        TEST(lists_page_through_all_ids_in_order),
        TEST(addresses_are_found_by_the_rules_in_their_order),
        TEST(hostile_names_are_found_or_not_and_never_interpreted),
        TEST(an_alias_may_have_many_accounts),
        TEST(the_accounts_of_one_alias_are_bounded),
        TEST(the_state_of_the_accounts_decides_the_answer),
        TEST(postmaster_always_finds_somebody),
        TEST(an_account_sends_as_its_own_addresses_only),
        TEST(log_in_is_by_the_primary_address),
        TEST(a_password_is_replaced_and_app_passwords_are_added),
        TEST(wrong_credentials_are_refused),
        TEST(app_passwords_are_bounded),
        TEST(use_rehash_and_removal_touch_the_right_row),
        TEST(a_watcher_hears_every_change_once_even_from_another_process),
        TEST(a_watcher_from_the_future_is_told_that_it_lost_track),
        TEST(the_feed_comes_in_pages),
        TEST(everything_is_there_after_opening_again),
        TEST(two_that_create_the_same_address_make_one_account),
    };
    suite = which;
    return cmocka_run_group_tests_name(which->name, tests, NULL, NULL);
}
