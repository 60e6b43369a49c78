#include "events/event_config.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char key_path[] = "/tmp/test_event_config.XXXXXX";

static void write_key(size_t len)
{
    FILE *file = fopen(key_path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < len; i++)
        fputc('k', file);
    assert_int_equal(fclose(file), 0);
}

static enum cq_rc source_of(enum event_pii pii, const char *key, struct event_source *source_r, struct cq_err *err)
{
    const struct event_config config = {.type_prefix = "org.example", .pii = (int)pii, .pii_key = key};
    *source_r = (struct event_source){.cluster = "c"};
    return event_config_source(&config, source_r, err);
}

static void the_key_of_hmac_has_16_to_256_bytes(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        bool good;
    } cases[] = {{0, false}, {15, false}, {16, true}, {256, true}, {257, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event_source source;
        struct cq_err err = {0};
        write_key(cases[i].len);
        assert_int_equal(source_of(EVENT_PII_HMAC, key_path, &source, &err), cases[i].good ? CQ_OK : CQ_E_CONFIG);
        if (cases[i].good)
            assert_int_equal(source.pii_key_len, cases[i].len);
        else
            assert_non_null(strstr(err.text, key_path));
    }
}

static void hmac_needs_a_key_and_the_others_do_not(void **state)
{
    (void)state;
    struct event_source source;
    struct cq_err err = {0};
    assert_int_equal(source_of(EVENT_PII_HMAC, "", &source, &err), CQ_E_CONFIG);
    assert_int_equal(source_of(EVENT_PII_HMAC, "/nonexistent/key", &source, &err), CQ_E_CONFIG);
    assert_int_equal(source_of(EVENT_PII_DOMAIN, "", &source, &err), CQ_OK);
    assert_string_equal(source.type_prefix, "org.example");
    assert_string_equal(source.cluster, "c");
    assert_int_equal(source.pii, EVENT_PII_DOMAIN);
}

static void protobuf_is_made_for_kafka_alone_and_when_it_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool protobuf;
    } cases[] = {
        {"{}", false},
        {"events: {kafka: {format: protobuf}}", false}, /* no brokers: nothing goes there */
        {"events: {kafka: {servers: ['127.0.0.1:1']}}", false},
        {"events: {kafka: {servers: ['127.0.0.1:1'], format: json}}", false},
        {"events: {kafka: {servers: ['127.0.0.1:1'], format: protobuf}}", true},
    };
    struct cq_pool *pool = cq_pool_new(4096);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct event_config config = {0};
        struct event_source source = {0};
        struct cq_config_part parts[EVENT_CONFIG_PARTS];
        event_config_parts(&config, parts);
        assert_int_equal(cq_config_parse(parts, EVENT_CONFIG_PARTS, "/test", cq_slice_cstr(cases[i].text), pool, NULL),
                         CQ_OK);
        assert_int_equal(event_config_source(&config, &source, NULL), CQ_OK);
        assert_int_equal(source.protobuf, cases[i].protobuf);
    }
    cq_pool_free(&pool);
}

static void without_a_file_there_is_no_sink(void **state)
{
    (void)state;
    const struct event_config config = {.file = {.path = ""}};
    struct event_sink *sink = (struct event_sink *)&config;
    assert_int_equal(event_config_sink(&config, &sink, NULL), CQ_OK);
    assert_null(sink);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(key_path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(key_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_of_hmac_has_16_to_256_bytes),
        cmocka_unit_test(hmac_needs_a_key_and_the_others_do_not),
        cmocka_unit_test(protobuf_is_made_for_kafka_alone_and_when_it_is_asked_for),
        cmocka_unit_test(without_a_file_there_is_no_sink),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
