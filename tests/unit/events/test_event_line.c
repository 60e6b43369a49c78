/* Events read again: JSON of a file, values of records, and which of them a replay wants. */
#include "events/event_replay_private.h"

#include "unit/cq_cmocka.h"

#include "events/event_json_read.h"

#include <stdio.h>
#include <string.h>

static struct cq_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(4096);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

/* ---- JSON ---- */

static void what_is_json_is_taken_to_its_end_and_nothing_else_is(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int taken; /* bytes of the value; -1: it is none */
    } cases[] = {
        {"{}", 2},
        {"[]", 2},
        {"{\"a\":1}", 7},
        {" {\"a\" : [1, -2.5e+3, true,false , null, \"x\\\"\\u00e9\"]} rest", 52},
        {"[[[]],{\"a\":{}}]", 15},
        {"\"\"", 2},
        {"0", 1},
        {"-0.0", 4},
        {"01", 1}, /* and then there is a rest */
        {"", -1},
        {" ", -1},
        {"{", -1},
        {"{\"a\"}", -1},
        {"{\"a\":}", -1},
        {"{\"a\":1,}", -1},
        {"{a:1}", -1},
        {"[1,]", -1},
        {"[1 2]", -1},
        {"[1}", -1},
        {"{\"a\":1]", -1},
        {"\"open", -1},
        {"\"a\nb\"", -1},
        {"\"\\x\"", -1},
        {"\"\\u12g4\"", -1},
        {"\"\\u12", -1},
        {"-", -1},
        {"1.", -1},
        {"1e", -1},
        {"nul", -1},
        {"'a'", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice rest = cq_slice_cstr(cases[i].text), value;
        int taken = event_json_take(&rest, &value) ? (int)value.len : -1;
        if (taken != cases[i].taken)
            fail_msg("%s: %d", cases[i].text, taken);
    }
}

static void json_is_read_as_deep_as_the_limit_and_no_deeper(void **state)
{
    (void)state;
    char text[2 * EVENT_JSON_DEPTH_MAX + 3];
    for (size_t deep = EVENT_JSON_DEPTH_MAX; deep <= EVENT_JSON_DEPTH_MAX + 1; deep++) {
        size_t len = 0;
        for (size_t i = 0; i < deep; i++)
            text[len++] = '[';
        text[len++] = '1';
        for (size_t i = 0; i < deep; i++)
            text[len++] = ']';
        struct cq_slice rest = cq_slice_of(text, len), value;
        assert_int_equal(event_json_take(&rest, &value), deep == EVENT_JSON_DEPTH_MAX);
    }
}

static void strings_mean_what_their_escapes_say(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text; /* NULL: refused */
    } cases[] = {
        {"\"\"", ""},
        {"\"a/b\\/c\\\\d\\\"\"", "a/b/c\\d\""},
        {"\"\\b\\f\\n\\r\\t\"", "\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\ud83d\"", NULL},
        {"\"\\ud83dx\"", NULL},
        {"\"\\ud83d\\u0041\"", NULL},
        {"\"\\ude00\"", NULL},
        {"\"a\\u0000b\"", NULL},
        {"1", NULL},
        {"{}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_slice rest = cq_slice_cstr(cases[i].json), value, text;
        assert_true(event_json_take(&rest, &value));
        bool ok = event_json_string(value, pool, &text);
        if (ok != (cases[i].text != NULL) || (ok && !cq_slice_eq(text, cq_slice_cstr(cases[i].text))))
            fail_msg("%s", cases[i].json);
    }
}

static void members_come_one_by_one(void **state)
{
    (void)state;
    struct cq_slice rest = CQ_SLICE(" { \"a\" : 1 , \"b\":{\"c\":[2]},\"\":\"x\" } "), object, name, value;
    static const char *const names[] = {"a", "b", ""}, *const values[] = {"1", "{\"c\":[2]}", "\"x\""};
    assert_true(event_json_take(&rest, &object));
    assert_int_equal(rest.len, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(event_json_member(&object, &name, &value));
        assert_true(cq_slice_eq(name, cq_slice_cstr(names[i])));
        assert_true(cq_slice_eq(value, cq_slice_cstr(values[i])));
    }
    assert_false(event_json_member(&object, &name, &value));
}

/* ---- Lines ---- */

#define BEGIN "{\"specversion\":\"1.0\",\"id\":\"i1\",\"source\":\"chasqui://c/shard/7\","
#define TYPE "\"type\":\"chasqui.mail.delivery.delivery.local.v1\","
#define TIME "\"time\":\"2026-11-22T08:00:00.000001Z\","
#define SCHEMA "\"dataschema\":\"chasqui:mail.delivery.v1\","
#define KEYS "\"partitionkey\":\"m1\",\"sequence\":\"00000000000000000012.0000000001\","
#define DATA "\"data\":{\"account_id\":\"00000000000000ab\",\"address\":\"Ana@example.test\",\"size_bytes\":5}"
#define GOOD BEGIN TYPE TIME SCHEMA KEYS DATA "}"

static void a_line_of_a_file_becomes_the_record_that_it_was(void **state)
{
    (void)state;
    struct event_read read;
    struct cq_err err = {0};
    if (event_line_read(CQ_SLICE(GOOD), pool, &read, &err) != CQ_OK)
        fail_msg("%s", err.text);
    assert_int_equal(read.stream, EVENT_DELIVERY);
    assert_true(cq_slice_eq(read.record.stream, CQ_SLICE("mail.delivery")));
    assert_true(cq_slice_eq(read.record.id, CQ_SLICE("i1")));
    assert_true(cq_slice_eq(read.record.key, CQ_SLICE("m1")));
    assert_true(cq_slice_eq(read.record.dataschema, CQ_SLICE("chasqui:mail.delivery.v1")));
    assert_true(cq_slice_eq(read.record.value_type, CQ_SLICE(EVENT_TYPE_JSON)));
    assert_true(cq_slice_eq(read.record.value, CQ_SLICE("{\"account_id\":\"00000000000000ab\",\"address\":"
                                                        "\"Ana@example.test\",\"size_bytes\":5}")));
    assert_true(cq_slice_eq(read.account_id, CQ_SLICE("00000000000000ab")));
    assert_true(cq_slice_eq(read.address, CQ_SLICE("Ana@example.test")));
}

static void what_is_no_event_of_ours_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"", "no JSON object"},
        {"[]", "no JSON object"},
        {"{\"specversion\":\"1.0\",\"id\":\"i1\",\"sour", "no JSON object"}, /* cut short by a crash */
        {GOOD " {}", "no JSON object"},
        {BEGIN TYPE TIME SCHEMA KEYS "\"x\":\"\xff\"," DATA "}", "no JSON object"},
        {BEGIN TIME SCHEMA KEYS DATA "}", "type is missing"},
        {BEGIN TYPE TYPE TIME SCHEMA KEYS DATA "}", "type is no text, or there twice"},
        {BEGIN "\"type\":7," TIME SCHEMA KEYS DATA "}", "type is no text"},
        {BEGIN "\"type\":\"a\\u0000\"," TIME SCHEMA KEYS DATA "}", "type is no text"},
        {BEGIN "\"type\":\"\"," TIME SCHEMA KEYS DATA "}", "type is no text"},
        {BEGIN TYPE "\"time\":\"2026-11-22T08:00:00Z\"," SCHEMA KEYS DATA "}", "time is not as we write it"},
        {BEGIN TYPE TIME "\"dataschema\":\"chasqui:mail.delivery.v2\"," KEYS DATA "}", "dataschema"},
        {BEGIN TYPE TIME "\"dataschema\":\"chasqui:../../x.v1\"," KEYS DATA "}", "dataschema"},
        {BEGIN TYPE TIME SCHEMA KEYS "\"data\":1}", "data is no object"},
        {BEGIN TYPE TIME SCHEMA KEYS "\"datas\":{}}", "data is no object"},
        {BEGIN TYPE TIME SCHEMA KEYS DATA "," DATA "}", "data is there twice"},
        {BEGIN TYPE TIME SCHEMA KEYS "\"data\":{\"address\":7}}", "data is no object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event_read read;
        struct cq_err err = {0};
        assert_int_equal(event_line_read(cq_slice_cstr(cases[i].line), pool, &read, &err), CQ_E_PROTO);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].line, err.text, cases[i].text);
    }
}

static void no_beginning_of_a_line_is_taken_for_an_event(void **state)
{
    (void)state;
    struct event_read read;
    for (size_t len = 0; len < sizeof GOOD - 1; len++)
        assert_int_equal(event_line_read(cq_slice_of(GOOD, len), pool, &read, NULL), CQ_E_PROTO);
}

/* ---- Filters ---- */

static void a_replay_wants_what_all_its_filters_let_through(void **state)
{
    (void)state;
    static const struct {
        const char *since, *until, *type, *topic, *account;
        bool wanted;
    } cases[] = {
        {"", "", "", "", "", true},
        {"2026-11-22T08:00:00.000001Z", "", "", "", "", true},
        {"2026-11-22T08:00:00.000002Z", "", "", "", "", false},
        {"", "2026-11-22T08:00:00.000002Z", "", "", "", true},
        {"", "2026-11-22T08:00:00.000001Z", "", "", "", false},
        {"", "", "delivery.local", "", "", true},
        {"", "", "chasqui.mail.delivery.delivery.local.v1", "", "", true},
        {"", "", "local", "", "", true},
        {"", "", "cal", "", "", false},
        {"", "", "delivery.local.v1", "", "", false},
        {"", "", "message.accepted", "", "", false},
        {"", "", "", "mail.delivery", "", true},
        {"", "", "", "p.mail.delivery.v1", "", true},
        {"", "", "", "mail.delivery.v1", "", false},
        {"", "", "", "mail.inbound", "", false},
        {"", "", "", "", "00000000000000AB", true},
        {"", "", "", "", "ana@EXAMPLE.test", true},
        {"", "", "", "", "ana@example.tes", false},
        {"", "", "delivery.local", "mail.inbound", "", false},
    };
    const struct event_kafka_config config = {.topic_prefix = "p."};
    struct event_read read;
    assert_int_equal(event_line_read(CQ_SLICE(GOOD), pool, &read, NULL), CQ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct event_replay replay = {.config = &config,
                                            .filter = {cq_slice_cstr(cases[i].since), cq_slice_cstr(cases[i].until),
                                                       cq_slice_cstr(cases[i].type), cq_slice_cstr(cases[i].topic),
                                                       cq_slice_cstr(cases[i].account)}};
        assert_string_equal(event_replay_filter_wrong(&replay.filter), "");
        if (event_replay_wants(&replay, &read) != cases[i].wanted)
            fail_msg("case %zu", i);
    }
    for (int len = 236; len <= 241; len++) { /* a name is compared whole, below 256 bytes and above */
        char prefix[256], topic[300];
        snprintf(prefix, sizeof prefix, "%0*d", len, 0);
        const struct event_kafka_config long_config = {.topic_prefix = prefix};
        for (int more = -1; more <= 1; more++) {
            snprintf(topic, sizeof topic, "%0*dmail.delivery.v1", len + more, 0);
            const struct event_replay replay = {.config = &long_config, .filter = {.topic = cq_slice_cstr(topic)}};
            assert_int_equal(event_replay_wants(&replay, &read), more == 0);
        }
    }
    const struct event_replay_filter wrong = {.since = CQ_SLICE("yesterday")};
    assert_non_null(strstr(event_replay_filter_wrong(&wrong), "since"));
}

static void a_dry_run_of_lines_counts_and_sends_nothing(void **state)
{
    (void)state;
    struct event_kafka_config config = {.topic_prefix = "p."};
    struct event_replay replay = {.config = &config, .dry_run = true, .pool = pool};
    struct cq_err err = {0};
    const struct cq_slice lines = CQ_SLICE(GOOD "\n{\"specversion\n\n" GOOD "\r\n");
    assert_int_equal(event_replay_lines(&replay, lines, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "events.kafka.servers"));
    static const char *const servers[] = {"127.0.0.1:1"};
    config.servers = (struct cq_strings){servers, 1};
    assert_int_equal(event_replay_lines(&replay, lines, &err), CQ_OK);
    assert_int_equal(replay.row_count, 2);
    assert_true(cq_slice_eq(replay.rows[0].topic, CQ_SLICE("p.mail.delivery.v1")));
    assert_int_equal(replay.rows[0].result, EVENT_REPLAY_FOUND);
    assert_int_equal(replay.rows[0].events, 2);
    assert_int_equal(replay.rows[1].result, EVENT_REPLAY_BROKEN);
    assert_int_equal(replay.rows[1].events, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_is_taken_to_its_end_and_nothing_else_is),
        cmocka_unit_test(json_is_read_as_deep_as_the_limit_and_no_deeper),
        cmocka_unit_test(strings_mean_what_their_escapes_say),
        cmocka_unit_test(members_come_one_by_one),
        cmocka_unit_test(a_line_of_a_file_becomes_the_record_that_it_was),
        cmocka_unit_test(what_is_no_event_of_ours_is_told),
        cmocka_unit_test(no_beginning_of_a_line_is_taken_for_an_event),
        cmocka_unit_test(a_replay_wants_what_all_its_filters_let_through),
        cmocka_unit_test(a_dry_run_of_lines_counts_and_sends_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
