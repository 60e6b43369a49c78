/* docs/reference/asyncapi.yaml is whole: it parses, what it refers to is there, and nothing of the catalogue is
 * missing. */
#include "events/event_asyncapi.h"

#include "unit/cq_cmocka.h"

#include "base/cq_yaml.h"
#include "events/event_data.h"

#include <stdio.h>
#include <string.h>

static struct cq_pool *pool;
static struct cq_yaml *document;

static int setup(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct cq_buf out;
    cq_buf_init(&out, 1u << 20);
    event_asyncapi(&out);
    pool = cq_pool_new(65536);
    enum cq_rc rc = cq_yaml_parse("asyncapi.yaml", cq_pool_slice(pool, cq_buf_slice(&out)), pool, &document, &err);
    cq_buf_fini(&out);
    if (rc != CQ_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

/* By keys with '/' between them. */
static const struct cq_yaml *find(const char *path)
{
    const struct cq_yaml *node = document;
    while (node && *path) {
        size_t len = strcspn(path, "/");
        const struct cq_yaml *child = node->first;
        while (child && !(child->key.len == len && memcmp(child->key.data, path, len) == 0))
            child = child->next;
        node = child;
        path += len + (path[len] == '/');
    }
    return node;
}

static size_t check_references(const struct cq_yaml *node)
{
    static const char key[] = "$ref";
    size_t count = 0;
    for (const struct cq_yaml *child = node->first; child; child = child->next) {
        count += check_references(child); /* cq_yaml bounds the depth */
        if (child->key.len != sizeof key - 1 || memcmp(child->key.data, key, sizeof key - 1) != 0)
            continue;
        const char *path = cq_pool_cstr(pool, child->text);
        if (strncmp(path, "#/", 2) != 0 || !find(path + 2))
            fail_msg("line %u: %s is not there", child->line, path);
        count++;
    }
    return count;
}

static void what_it_refers_to_is_there(void **state)
{
    (void)state;
    assert_true(check_references(document) > event_row_count);
}

static void every_event_is_in_the_channel_of_its_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < event_row_count; i++) {
        char path[256], name[256];
        const char *stream = event_stream_names[event_rows[i].stream];
        snprintf(path, sizeof path, "channels/%s/messages/%s/$ref", stream, event_rows[i].name);
        snprintf(name, sizeof name, "#/components/messages/%s.%s", stream, event_rows[i].name);
        const struct cq_yaml *node = find(path);
        if (!node)
            fail_msg("%s is missing", path);
        assert_slice(node->text, name);
    }
}

static void every_field_of_the_public_messages_is_in_its_schema(void **state)
{
    (void)state;
    for (int stream = 0; stream < EVENT_STREAM_COUNT; stream++) {
        const ProtobufCMessageDescriptor *d = event_data_message((enum event_stream)stream);
        for (unsigned i = 0; i < d->n_fields; i++) {
            char path[256];
            snprintf(path, sizeof path, "components/schemas/%s/properties/%s/type", d->short_name, d->fields[i].name);
            const struct cq_yaml *type = find(path);
            if (!type)
                fail_msg("%s is missing", path);
            assert_int_equal(type->kind == CQ_YAML_LIST, d->fields[i].type == PROTOBUF_C_TYPE_UINT64);
        }
    }
}

static void the_headers_of_dead_letters_are_told_of_dead_letters_alone(void **state)
{
    (void)state;
    assert_non_null(find("components/schemas/Headers/properties/ce_id"));
    assert_non_null(find("components/schemas/Headers/properties/content-type"));
    assert_null(find("components/schemas/Headers/properties/dlq_reason"));
    assert_non_null(find("components/schemas/DeadLetterHeaders/properties/dlq_reason"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_refers_to_is_there),
        cmocka_unit_test(every_event_is_in_the_channel_of_its_stream),
        cmocka_unit_test(every_field_of_the_public_messages_is_in_its_schema),
        cmocka_unit_test(the_headers_of_dead_letters_are_told_of_dead_letters_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
