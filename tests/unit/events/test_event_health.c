#include "events/event_health.h"

#include "unit/cq_cmocka.h"
#include "unit/cq_log_expect.h"

#include "base/cq_log.h"

#include <string.h>

static unsigned lines, again;

static bool tap(enum cq_log_level level, const char *event, struct cq_slice line, void *ctx)
{
    (void)level;
    (void)line;
    (void)ctx;
    lines += strcmp(event, "events.not_published") == 0;
    again += strcmp(event, "events.published_again") == 0;
    return false;
}

static void a_failure_is_one_line_and_one_a_minute_and_its_end_is_one(void **state)
{
    (void)state;
    struct event_health health;
    struct cq_err err = {0};
    char text[256];
    const uint64_t s = 1000000, t0 = 1000 * s;
    CQ_FAIL(&err, CQ_E_IO, "kafka: no broker answers");
    event_health_init(&health);
    lines = again = 0;
    cq_log_set_tap(tap, NULL);
    event_health_tell(&health, t0, text, sizeof text);
    assert_string_equal(text, "nothing to publish so far");
    event_health_note(&health, CQ_OK, NULL, t0);
    event_health_tell(&health, t0, text, sizeof text);
    assert_string_equal(text, "published");
    for (uint64_t i = 0; i < 60; i++)
        event_health_note(&health, CQ_E_IO, &err, t0 + i * s);
    assert_int_equal(lines, 1);
    event_health_note(&health, CQ_E_IO, &err, t0 + 60 * s);
    assert_int_equal(lines, 2);
    event_health_tell(&health, t0 + 61 * s, text, sizeof text);
    assert_string_equal(text, "not published for 61 s: kafka: no broker answers");
    CQ_FAIL(&err, CQ_E_IO, "kafka: the brokers refuse the login");
    event_health_note(&health, CQ_E_IO, &err, t0 + 62 * s);
    event_health_tell(&health, t0 + 62 * s, text, sizeof text);
    assert_non_null(strstr(text, "refuse the login"));
    assert_int_equal(lines, 2);
    event_health_note(&health, CQ_OK, NULL, t0 + 63 * s);
    event_health_note(&health, CQ_OK, NULL, t0 + 64 * s);
    assert_int_equal(again, 1);
    event_health_tell(&health, t0 + 64 * s, text, sizeof text);
    assert_string_equal(text, "published");
    cq_log_set_tap(NULL, NULL);
    event_health_fini(&health);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failure_is_one_line_and_one_a_minute_and_its_end_is_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
