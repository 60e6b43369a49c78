/* Fails a test that logs an error which it did not announce. As cmocka setup and teardown:
 *
 *     cmocka_unit_test_setup_teardown(name, cq_log_expect_setup, cq_log_expect_teardown)
 *
 * and in the test: cq_log_expect("event.id") before the call that logs it. Lines are kept off stderr. */
#ifndef CQ_LOG_EXPECT_H
#define CQ_LOG_EXPECT_H

#include "base/cq_log.h"

#include "unit/cq_cmocka.h"

#include <stdatomic.h>
#include <string.h>

static struct {
    atomic_int unexpected;
    atomic_int seen;
    const char *expected;
    char last_unexpected[CQ_LOG_LINE_MAX];
} cq_log_expect_state;

static inline bool cq_log_expect_tap(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx)
{
    (void)ctx;
    const char *expected = cq_log_expect_state.expected;
    if (expected && strcmp(expected, event) == 0) {
        atomic_fetch_add(&cq_log_expect_state.seen, 1);
    } else if (level == CQ_ERROR) {
        atomic_fetch_add(&cq_log_expect_state.unexpected, 1);
        size_t n = line.len < CQ_LOG_LINE_MAX - 1 ? line.len : CQ_LOG_LINE_MAX - 1;
        memcpy(cq_log_expect_state.last_unexpected, line.data, n);
        cq_log_expect_state.last_unexpected[n] = '\0';
    }
    return false;
}

static inline int cq_log_expect_setup(void **state)
{
    (void)state;
    cq_log_expect_state.expected = NULL;
    atomic_store(&cq_log_expect_state.seen, 0);
    atomic_store(&cq_log_expect_state.unexpected, 0);
    cq_log_set_tap(cq_log_expect_tap, NULL);
    return 0;
}

/* From now on this event (of any level) is expected; the test fails unless it comes. */
static inline void cq_log_expect(const char *event)
{
    cq_log_expect_state.expected = event;
}

static inline int cq_log_expect_teardown(void **state)
{
    (void)state;
    cq_log_set_tap(NULL, NULL);
    if (atomic_load(&cq_log_expect_state.unexpected))
        print_error("unexpected error in the log: %s", cq_log_expect_state.last_unexpected);
    if (cq_log_expect_state.expected && !atomic_load(&cq_log_expect_state.seen))
        print_error("never logged: %s\n", cq_log_expect_state.expected);
    bool bad = atomic_load(&cq_log_expect_state.unexpected) ||
               (cq_log_expect_state.expected && !atomic_load(&cq_log_expect_state.seen));
    return bad ? -1 : 0;
}

#endif
