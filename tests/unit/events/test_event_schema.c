/* The public messages (proto/events.proto), the JSON and the catalogue say the same. */
#include "events/event_data.h"

#include "unit/cq_cmocka.h"

#include "base/cq_text.h"
#include "proto/edge.pb-c.h"
#include "proto/events.pb-c.h"
#include "proto/outbox.pb-c.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* What the records of an event carry, as the comments of the two record schemas say. */
static const struct {
    int type;
    const char *parts; /* fields of the record's event */
} carried[] = {
    {CHASQUI__OUTBOX__TYPE__MESSAGE_ACCEPTED, "delivery"},
    {CHASQUI__OUTBOX__TYPE__MESSAGE_DUPLICATE_SUPPRESSED, "delivery"},
    {CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL, "delivery"},
    {CHASQUI__OUTBOX__TYPE__MAILBOX_CREATED, "mailbox"},
    {CHASQUI__OUTBOX__TYPE__MAILBOX_RENAMED, "mailbox"},
    {CHASQUI__OUTBOX__TYPE__MAILBOX_DELETED, "mailbox"},
    {CHASQUI__OUTBOX__TYPE__MESSAGES_EXPUNGED, "mailbox"},
    {CHASQUI__OUTBOX__TYPE__ACCOUNT_CREATED, ""},
    {CHASQUI__OUTBOX__TYPE__ACCOUNT_DELETED, ""},
    {CHASQUI__OUTBOX__TYPE__QUOTA_WARNING, "quota"},
    {CHASQUI__OUTBOX__TYPE__QUOTA_EXCEEDED, "quota"},
    {CHASQUI__OUTBOX__TYPE__QUOTA_RECOVERED, "quota"},
    {CHASQUI__OUTBOX__TYPE__INBOUND_EVENTS_DROPPED, "gap"},
    {CHASQUI__OUTBOX__TYPE__DELIVERY_EVENTS_DROPPED, "gap"},
    {CHASQUI__OUTBOX__TYPE__MAILBOX_EVENTS_DROPPED, "gap"},
    {CHASQUI__OUTBOX__TYPE__LIMITS_EVENTS_DROPPED, "gap"},
    {CHASQUI__EDGE__TYPE__MESSAGE_REJECTED, "session rejection"},
    {CHASQUI__EDGE__TYPE__AUTH_SUCCEEDED, "session auth"},
    {CHASQUI__EDGE__TYPE__AUTH_FAILED, "session auth"},
    {CHASQUI__EDGE__TYPE__AUTH_BLOCKED, "session auth"},
    {CHASQUI__EDGE__TYPE__SESSION_OPENED, "session"},
    {CHASQUI__EDGE__TYPE__SESSION_CLOSED, "session end"},
    {CHASQUI__EDGE__TYPE__RATE_LIMITED, "session limit"},
};

static const char *parts_of(int type)
{
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++)
        if (carried[i].type == type)
            return carried[i].parts;
    fail_msg("what does the type %d carry?", type);
    return "";
}

/* ---- Records with every field set ---- */

static bool is_place(const char *name) /* of delivery.local alone */
{
    static const char *const names[] = {"mailbox", "mailbox_name", "uidvalidity", "uid", "email"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static ProtobufCMessage *filled(struct cq_pool *pool, const ProtobufCMessageDescriptor *d, int type)
{
    ProtobufCMessage *message = cq_pool_calloc(pool, 1, d->sizeof_message);
    d->message_init(message);
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        void *at = (uint8_t *)message + f->offset;
        if (d == &chasqui__outbox__delivery__descriptor && type != CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL &&
            is_place(f->name))
            continue;
        if (f->type == PROTOBUF_C_TYPE_UINT32)
            *(uint32_t *)at = UINT32_MAX - i;
        else if (f->type == PROTOBUF_C_TYPE_STRING)
            *(char **)at = cq_pool_printf(pool, "%s@example.test", f->name);
        else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            *(ProtobufCMessage **)at = filled(pool, f->descriptor, type);
        else if (strstr(f->name, "_time_us"))
            *(uint64_t *)at = UINT64_C(1700000000123456) + i;
        else
            *(uint64_t *)at = UINT64_MAX - i;
    }
    return message;
}

static struct cq_slice packed(struct cq_pool *pool, const ProtobufCMessage *message)
{
    uint8_t *data = cq_pool_alloc(pool, protobuf_c_message_get_packed_size(message) + 1);
    return cq_slice_of(data, protobuf_c_message_pack(message, data));
}

/* The record of an event of the catalogue, all of it set that it ever carries. */
static struct cq_slice record_of(struct cq_pool *pool, const struct event_row *row)
{
    bool outbox = row->guarantee == EVENT_AT_LEAST_ONCE;
    const ProtobufCMessageDescriptor *d =
        outbox ? &chasqui__outbox__event__descriptor : &chasqui__edge__event__descriptor;
    ProtobufCMessage *event = filled(pool, d, row->type);
    for (unsigned i = 0; i < d->n_fields; i++) {
        uint8_t *at = (uint8_t *)event + d->fields[i].offset;
        if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && !strstr(parts_of(row->type), d->fields[i].name))
            *(ProtobufCMessage **)at = NULL;
        if (d->fields[i].type == PROTOBUF_C_TYPE_ENUM)
            *(int *)at = row->type;
        if (strcmp(d->fields[i].name, "time") == 0)
            *(uint64_t *)at = UINT64_C(1700000000000000);
    }
    return packed(pool, event);
}

static struct event_source source_with(enum event_pii pii)
{
    return (struct event_source){.cluster = "c1",
                                 .node = "n1",
                                 .dc = "a",
                                 .role = "storage",
                                 .version = "9.9",
                                 .type_prefix = "chasqui",
                                 .pii = pii,
                                 .pii_key = "0123456789abcdef",
                                 .pii_key_len = 16,
                                 .protobuf = true};
}

static void encode(struct cq_pool *pool, const struct event_row *row, const struct event_source *source,
                   struct cq_slice record, struct event_record *record_r)
{
    const struct event_place place = {.shard = 7, .index = 42, .sub_index = 3};
    const struct event_stamp stamp = {.number = 12};
    const struct event_row *found = NULL;
    struct cq_err err = {0};
    enum cq_rc rc = row->guarantee == EVENT_AT_LEAST_ONCE
                        ? event_encode(source, &place, record, pool, record_r, &found, &err)
                        : event_encode_edge(source, &stamp, record, pool, record_r, &found, &err);
    if (rc != CQ_OK)
        fail_msg("%s: %s", row->name, err.text);
    assert_ptr_equal(found, row);
}

/* ---- Comparing ---- */

static void compare(const struct event_row *row, const char *name, const json_t *json,
                    const ProtobufCFieldDescriptor *f, const void *at)
{
    char text[32];
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *told = json_string_value(json);
        if (!told || strcmp(told, *(const char *const *)at) != 0)
            fail_msg("%s.%s: \"%s\" in protobuf, not \"%s\"", row->name, name, *(const char *const *)at, told);
        return;
    }
    uint64_t value = f->type == PROTOBUF_C_TYPE_UINT32 ? *(const uint32_t *)at : *(const uint64_t *)at;
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    if (json_is_string(json) ? strcmp(text, json_string_value(json)) != 0
                             : (json_int_t)value != json_integer_value(json))
        fail_msg("%s.%s: %s in protobuf", row->name, name, text);
}

static bool is_set(const ProtobufCFieldDescriptor *f, const void *at)
{
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return (*(const char *const *)at)[0];
    return f->type == PROTOBUF_C_TYPE_UINT32 ? *(const uint32_t *)at : *(const uint64_t *)at;
}

#define NUMBERS 128 /* of fields, this and below */
static bool told[EVENT_STREAM_COUNT][NUMBERS];

static void check_event(const struct event_row *row, const struct event_record *record)
{
    const ProtobufCMessageDescriptor *d = event_data_message(row->stream);
    json_error_t at;
    json_t *data = json_loadb((const char *)record->data.data, record->data.len, JSON_REJECT_DUPLICATES, &at);
    ProtobufCMessage *message = protobuf_c_message_unpack(d, NULL, record->protobuf.len, record->protobuf.data);
    assert_non_null(data);
    assert_non_null(message);
    assert_int_equal(message->n_unknown_fields, 0);
    size_t set = 0;
    for (unsigned i = 0; i < d->n_fields; i++)
        set += is_set(&d->fields[i], (uint8_t *)message + d->fields[i].offset);
    const char *name;
    json_t *value;
    json_object_foreach(data, name, value)
    {
        const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, name);
        if (!f)
            fail_msg("%s: \"%s\" is in the JSON and not in the message %s", row->name, name, d->name);
        compare(row, name, value, f, (uint8_t *)message + f->offset);
        told[row->stream][f->id] = true;
    }
    assert_int_equal(set, json_object_size(data));
    protobuf_c_message_free_unpacked(message, NULL);
    json_decref(data);
}

static void every_event_says_the_same_in_json_and_in_protobuf(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(65536);
    for (size_t i = 0; i < event_row_count; i++)
        for (int pii = EVENT_PII_FULL; pii <= EVENT_PII_HMAC; pii++) {
            struct event_record record;
            struct event_source source = source_with((enum event_pii)pii);
            encode(pool, &event_rows[i], &source, record_of(pool, &event_rows[i]), &record);
            check_event(&event_rows[i], &record);
        }
    cq_pool_free(&pool);
}

/* After the test above. */
static void every_field_of_a_public_message_is_told_by_an_event_of_its_stream(void **state)
{
    (void)state;
    for (int stream = 0; stream < EVENT_STREAM_COUNT; stream++) {
        const ProtobufCMessageDescriptor *d = event_data_message((enum event_stream)stream);
        for (unsigned i = 0; i < d->n_fields; i++) {
            assert_in_range(d->fields[i].id, 1, NUMBERS - 1);
            if (!told[stream][d->fields[i].id])
                fail_msg("%s.%s: no event tells it", d->name, d->fields[i].name);
        }
    }
}

static void a_name_has_one_number_and_one_type_in_all_messages(void **state)
{
    (void)state;
    for (int a = 0; a < EVENT_STREAM_COUNT; a++)
        for (int b = 0; b < a; b++) {
            const ProtobufCMessageDescriptor *one = event_data_message((enum event_stream)a);
            const ProtobufCMessageDescriptor *two = event_data_message((enum event_stream)b);
            for (unsigned i = 0; i < one->n_fields; i++) {
                const ProtobufCFieldDescriptor *f = &one->fields[i];
                const ProtobufCFieldDescriptor *by_name = protobuf_c_message_descriptor_get_field_by_name(two, f->name);
                const ProtobufCFieldDescriptor *by_number = protobuf_c_message_descriptor_get_field(two, f->id);
                if (by_name != by_number || (by_name && by_name->type != f->type))
                    fail_msg("%s.%s is another field in %s", one->name, f->name, two->name);
            }
        }
}

static void the_schema_is_named_with_its_major_version(void **state)
{
    (void)state;
    static const char *const names[EVENT_STREAM_COUNT] = {
        [EVENT_INBOUND] = "chasqui:chasqui.events.v1.Inbound", [EVENT_DELIVERY] = "chasqui:chasqui.events.v1.Delivery",
        [EVENT_MAILBOX] = "chasqui:chasqui.events.v1.Mailbox", [EVENT_LIMITS] = "chasqui:chasqui.events.v1.Limits",
        [EVENT_AUTH] = "chasqui:chasqui.events.v1.Auth",
    };
    struct cq_pool *pool = cq_pool_new(65536);
    for (size_t i = 0; i < event_row_count; i++) {
        struct event_record record;
        struct event_source source = source_with(EVENT_PII_FULL);
        encode(pool, &event_rows[i], &source, record_of(pool, &event_rows[i]), &record);
        assert_slice(record.protobuf_schema, names[event_rows[i].stream]);
    }
    cq_pool_free(&pool);
}

static void protobuf_that_nobody_wants_is_not_made(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(4096);
    struct event_record record;
    struct event_source source = source_with(EVENT_PII_FULL);
    source.protobuf = false;
    encode(pool, &event_rows[0], &source, record_of(pool, &event_rows[0]), &record);
    assert_int_equal(record.protobuf.len, 0);
    assert_int_equal(record.protobuf_schema.len, 0);
    cq_pool_free(&pool);
}

static Chasqui__Events__V1__Inbound *accepted_with(struct cq_pool *pool, const char *rfc5322_message_id)
{
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    Chasqui__Outbox__Delivery delivery = CHASQUI__OUTBOX__DELIVERY__INIT;
    Chasqui__Mail__DeliveryEvent envelope = CHASQUI__MAIL__DELIVERY_EVENT__INIT;
    struct event_record record;
    struct event_source source = source_with(EVENT_PII_FULL);
    event.type = CHASQUI__OUTBOX__TYPE__MESSAGE_ACCEPTED;
    event.delivery = &delivery;
    delivery.envelope = &envelope;
    envelope.rfc5322_message_id = (char *)(uintptr_t)rfc5322_message_id;
    encode(pool, event_row_find((int)event.type), &source, packed(pool, &event.base), &record);
    Chasqui__Events__V1__Inbound *inbound =
        chasqui__events__v1__inbound__unpack(NULL, record.protobuf.len, record.protobuf.data);
    assert_non_null(inbound);
    return inbound;
}

static void texts_are_utf8_whatever_a_message_holds(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"<a@b>", "<a@b>"},
        {"", ""},
        {"\xc3\xbc", "\xc3\xbc"},
        {"<\xff@y>", "<\xef\xbf\xbd@y>"},
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"x\xe2\x82", "x\xef\xbf\xbd\xef\xbf\xbd"}, /* cut short */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    struct cq_pool *pool = cq_pool_new(4096);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Chasqui__Events__V1__Inbound *inbound = accepted_with(pool, cases[i].text);
        assert_string_equal(inbound->rfc5322_message_id, cases[i].want);
        assert_true(cq_utf8_valid(cq_slice_cstr(inbound->rfc5322_message_id)));
        chasqui__events__v1__inbound__free_unpacked(inbound, NULL);
    }
    cq_pool_free(&pool);
}

/* A type of a newer build: its fields go into the mailbox stream's message as far as that has them. */
static void an_unknown_type_is_told_in_protobuf_too(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(4096);
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    struct event_record record;
    struct event_source source = source_with(EVENT_PII_FULL);
    struct cq_slice bytes;
    event.type = (Chasqui__Outbox__Type)999;
    event.account = UINT64_C(0x1234);
    event.delivery = (Chasqui__Outbox__Delivery *)filled(pool, &chasqui__outbox__delivery__descriptor, 999);
    bytes = packed(pool, &event.base);
    const struct event_place place = {.shard = 7, .index = 42, .sub_index = 3};
    assert_int_equal(event_encode(&source, &place, bytes, pool, &record, NULL, NULL), CQ_OK);
    Chasqui__Events__V1__Mailbox *mailbox =
        chasqui__events__v1__mailbox__unpack(NULL, record.protobuf.len, record.protobuf.data);
    assert_non_null(mailbox);
    assert_string_equal(mailbox->account_id, "0000000000001234");
    assert_int_equal(mailbox->shard, 7);
    chasqui__events__v1__mailbox__free_unpacked(mailbox, NULL);
    cq_pool_free(&pool);
}

/* ---- Golden samples: an event as a release has written it, in both forms ---- */

#define SAMPLE_MAX 65536

static void sample_path(const struct event_row *row, const char *form, char *path_r, size_t size)
{
    snprintf(path_r, size, "%s/%s.%s.%s", SAMPLES, event_stream_names[row->stream], row->name, form);
}

static struct cq_slice read_sample(struct cq_pool *pool, const struct event_row *row, const char *form)
{
    char path[512], *bytes = cq_pool_alloc(pool, SAMPLE_MAX);
    sample_path(row, form, path, sizeof path);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: every event has a sample: test_event_schema --write makes those that are missing", path);
    size_t len = fread(bytes, 1, SAMPLE_MAX, file);
    assert_int_equal(fclose(file), 0);
    assert_in_range(len, 1, SAMPLE_MAX - 1);
    return cq_slice_of(bytes, len);
}

static void the_samples_of_every_event_decode_and_say_the_same_in_both_forms(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(65536);
    for (size_t i = 0; i < event_row_count; i++) {
        const struct event_record record = {.data = read_sample(pool, &event_rows[i], "json"),
                                            .protobuf = read_sample(pool, &event_rows[i], "binpb")};
        check_event(&event_rows[i], &record);
    }
    cq_pool_free(&pool);
}

/* Those that are there stay as they are: consumers have such events. */
static int write_sample(const struct event_row *row, const char *form, struct cq_slice bytes)
{
    char path[512];
    sample_path(row, form, path, sizeof path);
    FILE *file = fopen(path, "wbx");
    if (!file)
        return errno == EEXIST ? 0 : -1;
    size_t written = fwrite(bytes.data, 1, bytes.len, file);
    return fclose(file) == 0 && written == bytes.len ? 0 : -1;
}

static int write_samples(void)
{
    struct cq_pool *pool = cq_pool_new(65536);
    int failed = 0;
    for (size_t i = 0; i < event_row_count; i++) {
        struct event_record record;
        struct event_source source = source_with(EVENT_PII_FULL);
        source.role = event_rows[i].guarantee == EVENT_AT_LEAST_ONCE ? "storage" : "frontend";
        encode(pool, &event_rows[i], &source, record_of(pool, &event_rows[i]), &record);
        failed |= write_sample(&event_rows[i], "json", record.data);
        failed |= write_sample(&event_rows[i], "binpb", record.protobuf);
    }
    cq_pool_free(&pool);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_samples();

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_says_the_same_in_json_and_in_protobuf),
        cmocka_unit_test(every_field_of_a_public_message_is_told_by_an_event_of_its_stream),
        cmocka_unit_test(a_name_has_one_number_and_one_type_in_all_messages),
        cmocka_unit_test(the_schema_is_named_with_its_major_version),
        cmocka_unit_test(protobuf_that_nobody_wants_is_not_made),
        cmocka_unit_test(texts_are_utf8_whatever_a_message_holds),
        cmocka_unit_test(an_unknown_type_is_told_in_protobuf_too),
        cmocka_unit_test(the_samples_of_every_event_decode_and_say_the_same_in_both_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
