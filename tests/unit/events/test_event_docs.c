/* docs/events.md is for consumers: what it does not tell does not exist for them. */
#include "events/event_data.h"

#include "unit/cq_cmocka.h"

#include "base/cq_buf.h"

#include <stdio.h>

static struct cq_buf page;

static int load(void **state)
{
    char chunk[4096];
    size_t n;
    FILE *file = fopen(EVENTS_MD, "r");
    (void)state;
    if (!file)
        return -1;
    cq_buf_init(&page, 1u << 20);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        cq_buf_add(&page, chunk, n);
    cq_buf_byte(&page, 0);
    return fclose(file);
}

static int unload(void **state)
{
    (void)state;
    cq_buf_fini(&page);
    return 0;
}

/* The line of the page that has both words; NULL when there is none. */
static const char *line_with(const char *one, const char *two, char *line, size_t size)
{
    for (const char *at = (const char *)page.data; at && *at;) {
        const char *end = strchr(at, '\n');
        snprintf(line, size, "%.*s", (int)(end ? end - at : (long)strlen(at)), at);
        if (strstr(line, one) && strstr(line, two))
            return line;
        at = end ? end + 1 : NULL;
    }
    return NULL;
}

static void every_event_of_the_catalogue_is_in_the_table_with_its_stream_and_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < event_row_count; i++) {
        char stream[64], name[64], line[2048];
        snprintf(stream, sizeof stream, "| `%s` |", event_stream_names[event_rows[i].stream]);
        snprintf(name, sizeof name, "`%s`", event_rows[i].name);
        if (!line_with(stream, name, line, sizeof line))
            fail_msg("%s is not in the row of %s", name, stream);
        if (!strstr(line, event_rows[i].guarantee == EVENT_BEST_EFFORT ? "best effort" : "at least once"))
            fail_msg("%s: its kind is wrong: %s", name, line);
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

/* What events.pii makes of an address is told once for all of them. */
static void every_field_of_the_public_messages_is_told(void **state)
{
    (void)state;
    for (int stream = 0; stream < EVENT_STREAM_COUNT; stream++) {
        const ProtobufCMessageDescriptor *d = event_data_message((enum event_stream)stream);
        for (unsigned i = 0; i < d->n_fields; i++) {
            char name[64];
            snprintf(name, sizeof name, "`%s`", d->fields[i].name);
            if (!ends_with(d->fields[i].name, "_domain") && !ends_with(d->fields[i].name, "_hmac") &&
                !strstr((const char *)page.data, name))
                fail_msg("the field %s of %s is not in the page", name, d->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_of_the_catalogue_is_in_the_table_with_its_stream_and_kind),
        cmocka_unit_test(every_field_of_the_public_messages_is_told),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
