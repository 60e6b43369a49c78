/* Connection strings that libpq does not understand: without a server. */
#include "directory/dir_pg.h"

#include "unit/cq_cmocka.h"

#include <string.h>

static struct cq_err refused(const char *dsn)
{
    const struct dir_pg_config config = {.dsn = dsn, .admin_dsn = "", .password_file = "", .connections = 1};
    struct dir_backend *backend = NULL;
    struct cq_err err = {0};
    assert_int_equal(dir_pg_open(&config, &backend, &err), CQ_E_CONFIG);
    return err;
}

static void what_is_wrong_with_one_is_said(void **state)
{
    (void)state;
    struct cq_err err = refused("host=db1 dbnam=mail");
    assert_non_null(strstr(err.text, "directory.postgresql.dsn"));
    assert_non_null(strstr(err.text, "dbnam"));
}

static void a_password_in_one_is_never_told(void **state)
{
    (void)state;
    static const char *const dsns[] = {
        "host=db1 password=s3cret dbnam=mail",      "host=db1 password='s3cret",
        "postgresql://mail:s3cret@[::1/mail",       "postgresql://mail:s3cret@db1:5432/mail?nonsense=1",
        "postgres://mail:s3cret@db1/mail?sslmode%", "postgresql://mail:s3%@db1/mail",
    };
    for (size_t i = 0; i < sizeof dsns / sizeof *dsns; i++) {
        struct cq_err err = refused(dsns[i]);
        assert_non_null(strstr(err.text, "directory.postgresql.dsn"));
        if (strstr(err.text, "s3"))
            fail_msg("%s", err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_with_one_is_said),
        cmocka_unit_test(a_password_in_one_is_never_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
