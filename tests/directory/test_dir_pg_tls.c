/* TLS to the server, both sides with certificates: what is wrong is said in one line, and the known go on. */
#include "pg_server.h"

#include "base/cq_mem.h"
#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *address;

/* The good DSN, with other words in the place of some. */
static void make_dsn(char *out, size_t size, const char *host, const char *user, const char *ca, const char *cert,
                     const char *key)
{
    const char *f = pg_server_folder;
    snprintf(
        out, size,
        "host=%s hostaddr=%s dbname=mail user=%s sslmode=verify-full sslrootcert=%s/tls/%s.pem sslcert=%s/tls/%s.pem "
        "sslkey=%s/tls/%s.key",
        host, address, user, f, ca, f, cert, f, key);
}

static struct directory *open_with(const char *dsn, int64_t cache_max)
{
    const struct directory_config settings = {
        .backend = DIRECTORY_POSTGRESQL,
        .postgresql = {.dsn = dsn, .admin_dsn = "", .password_file = "", .connections = 2, .timeout_us = 10000000},
        .cache_max = cache_max,
        .cache_stale_us = UINT64_C(3600000000),
    };
    struct directory *directory = NULL;
    struct cq_err err = {0};
    if (directory_open(&settings, &directory, &err) != CQ_OK)
        fail_msg("%s", err.text);
    return directory;
}

static enum cq_rc look(struct directory *directory, const char *name, struct cq_err *err)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_domain domain;
    cq_err_clear(err);
    enum cq_rc rc = directory_domain(directory, cq_slice_cstr(name), pool, &domain, err);
    cq_pool_free(&pool);
    return rc;
}

static void expect_later(struct directory *directory, const char *name, const char *words)
{
    struct cq_err err = {0};
    char trouble[DIRECTORY_TROUBLE_SIZE];
    enum cq_rc rc = look(directory, name, &err);
    if (!cq_rc_retryable(rc) || !strstr(err.text, words) || strchr(err.text, '\n'))
        fail_msg("%s: %s, want \"%s\"", cq_rc_name(rc), err.text, words);
    directory_trouble(directory, trouble);
    if (!strstr(trouble, words)) /* /readyz?verbose */
        fail_msg("%s, want \"%s\"", trouble, words);
}

static void a_server_and_a_client_with_good_certificates_talk(void **state)
{
    (void)state;
    char dsn[1024];
    struct cq_err err = {0};
    make_dsn(dsn, sizeof dsn, "localhost", "chasqui", "ca", "client", "client");
    struct directory *directory = open_with(dsn, 0);
    if (look(directory, "a.test", &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(look(directory, "b.test", &err), CQ_E_NOT_FOUND);
    directory_close(&directory);
}

static void what_is_wrong_with_a_certificate_is_one_line_that_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *shown, *host, *user, *ca, *cert, *key, *words;
    } rows[] = {
        {"good", "localhost", "chasqui", "other-ca", "client", "client", "not of the CA that sslrootcert"},
        {"other", "localhost", "chasqui", "ca", "client", "client", "not of the CA that sslrootcert"},
        {"expired", "localhost", "chasqui", "ca", "client", "client", "the server's certificate has expired"},
        {"good", "db.test", "chasqui", "ca", "client", "client", "the server's certificate is for another name"},
        {"good", "localhost", "chasqui", "nothing", "client", "client", "sslrootcert"},
        {"good", "localhost", "chasqui", "ca", "nothing", "nothing", "the server wants a certificate of ours"},
        {"good", "localhost", "chasqui", "ca", "other-client", "other-client",
         "does not know the CA of our certificate"},
        {"good", "localhost", "chasqui", "ca", "expired-client", "expired-client", "our certificate has expired"},
        {"good", "localhost", "chasqui", "ca", "client", "other-client", "sslkey"},
        {"good", "localhost", "anna", "ca", "client", "client", "our certificate is for another user"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char dsn[1024];
        pg_server_show(rows[i].shown);
        make_dsn(dsn, sizeof dsn, rows[i].host, rows[i].user, rows[i].ca, rows[i].cert, rows[i].key);
        struct directory *directory = open_with(dsn, 0);
        expect_later(directory, "a.test", rows[i].words);
        directory_close(&directory);
    }
    pg_server_show("good");
}

static void a_key_that_others_may_read_is_named(void **state)
{
    (void)state;
    char dsn[1024], key[256];
    make_dsn(dsn, sizeof dsn, "localhost", "chasqui", "ca", "client", "client");
    snprintf(key, sizeof key, "%s/tls/client.key", pg_server_folder);
    assert_int_equal(chmod(key, 0666), 0);
    struct directory *directory = open_with(dsn, 0);
    expect_later(directory, "a.test", "readable by us alone");
    assert_int_equal(chmod(key, 0600), 0);
    directory_close(&directory);
}

static void clear_text_where_tls_is_wanted_is_refused_by_either_side(void **state)
{
    (void)state;
    char dsn[512];
    snprintf(dsn, sizeof dsn, "host=localhost hostaddr=%s dbname=mail user=chasqui sslmode=disable", address);
    struct directory *directory = open_with(dsn, 0);
    expect_later(directory, "a.test", "pg_hba.conf");
    directory_close(&directory);
    pg_server_sql("ALTER SYSTEM SET ssl = off");
    pg_server_sql("SELECT pg_reload_conf()");
    make_dsn(dsn, sizeof dsn, "localhost", "chasqui", "ca", "client", "client");
    pg_server_sql("SELECT pg_sleep(0.5)");
    directory = open_with(dsn, 0);
    expect_later(directory, "a.test", "switch on ssl at the server");
    directory_close(&directory);
    pg_server_sql("ALTER SYSTEM RESET ssl");
    pg_server_sql("SELECT pg_reload_conf()");
    pg_server_sql("SELECT pg_sleep(0.5)");
}

/* A certificate that expires while all is running: at the next connect. */
static void the_known_go_on_while_the_certificate_is_wrong_and_all_is_well_when_it_is_right(void **state)
{
    (void)state;
    char dsn[1024];
    struct cq_err err = {0};
    make_dsn(dsn, sizeof dsn, "localhost", "chasqui", "ca", "client", "client");
    struct directory *directory = open_with(dsn, 100);
    assert_int_equal(look(directory, "a.test", &err), CQ_OK);
    pg_server_show("expired");
    expect_later(directory, "b.test", "the server's certificate has expired");
    assert_int_equal(look(directory, "a.test", &err), CQ_OK);
    assert_false(directory_healthy(directory));
    pg_server_show("good");
    for (int i = 0; i < 100 && look(directory, "b.test", &err) != CQ_E_NOT_FOUND; i++)
        pg_server_sql("SELECT pg_sleep(0.05)");
    assert_int_equal(look(directory, "b.test", &err), CQ_E_NOT_FOUND);
    assert_true(directory_healthy(directory));
    directory_close(&directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_and_a_client_with_good_certificates_talk),
        cmocka_unit_test(what_is_wrong_with_a_certificate_is_one_line_that_says_what_to_do),
        cmocka_unit_test(a_key_that_others_may_read_is_named),
        cmocka_unit_test(clear_text_where_tls_is_wanted_is_refused_by_either_side),
        cmocka_unit_test(the_known_go_on_while_the_certificate_is_wrong_and_all_is_well_when_it_is_right),
    };
    pg_server_new();
    pg_server_schema();
    pg_server_sql("INSERT INTO mail.domain (name) VALUES ('a.test')");
    address = pg_server_tls();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_server_remove();
    return failed;
}
