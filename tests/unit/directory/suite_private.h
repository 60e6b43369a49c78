/* What the parts of the suite of the directory's backends share. */
#ifndef DIR_SUITE_PRIVATE_H
#define DIR_SUITE_PRIVATE_H

#include "unit/cq_cmocka.h"
#include "unit/directory/suite.h"

extern const struct dir_suite *suite;
extern struct directory *dir; /* over an empty database, anew for each test, as is the pool */
extern struct cq_pool *pool;
extern struct cq_err suite_err;

int suite_setup(void **state);
int suite_teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, suite_setup, suite_teardown)

#define S(text) cq_slice_cstr(text)

#define assert_rc(call, want)                                                                                          \
    do {                                                                                                               \
        cq_err_clear(&suite_err);                                                                                      \
        enum cq_rc got_rc_ = (call);                                                                                   \
        if (got_rc_ != (want))                                                                                         \
            fail_msg("%s: %s (%s), want %s", #call, cq_rc_name(got_rc_), suite_err.text, cq_rc_name(want));            \
    } while (0)

#define assert_ok(call) assert_rc(call, CQ_OK)

/* They fail the test when the directory refuses. add and add_admin make an active account, create one that is being
 * created. */
uint64_t suite_create(const char *address, uint16_t slot, bool admin);
uint64_t suite_add(const char *address);
uint64_t suite_add_admin(const char *address);
uint64_t suite_put_app(uint64_t account, const char *prefix, const char *label);
struct dir_account suite_get(uint64_t id);
struct dir_resolution suite_resolve(const char *address);
void suite_expect_one(const char *address, enum dir_via via, uint64_t id);
void suite_expect_answer(const char *address, enum dir_answer answer);

/* The parts; each returns the number of its tests that failed. */
int suite_account_tests(const char *backend);
int suite_resolve_tests(const char *backend);
int suite_credential_tests(const char *backend);
int suite_lasting_tests(const char *backend);

#endif
