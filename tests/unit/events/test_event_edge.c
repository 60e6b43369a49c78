#include "events/event_encode.h"

#include "unit/cq_cmocka.h"

#include "proto/edge.pb-c.h"
#include "proto/outbox.pb-c.h"

#include <jansson.h>
#include <string.h>

static const struct event_source source = {.cluster = "c1",
                                           .node = "fe-1",
                                           .dc = "a",
                                           .role = "frontend",
                                           .version = "9.9",
                                           .type_prefix = "test.example",
                                           .started_us = 77,
                                           .pii_key = "0123456789abcdef",
                                           .pii_key_len = 16};

static struct cq_slice pack(struct cq_pool *pool, const Chasqui__Edge__Event *event)
{
    uint8_t *data = cq_pool_alloc(pool, chasqui__edge__event__get_packed_size(event) + 1);
    return cq_slice_of(data, chasqui__edge__event__pack(event, data));
}

static json_t *encode(struct cq_pool *pool, const struct event_source *from, const Chasqui__Edge__Event *event,
                      struct event_record *record_r)
{
    struct event_stamp stamp = {.number = 12};
    struct cq_err err = {0};
    static const uint8_t random[EVENT_UUID_SIZE] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    event_uuid7(UINT64_C(0x018bcfe56800), random, stamp.id);
    if (event_encode_edge(from, &stamp, pack(pool, event), pool, record_r, NULL, &err) != CQ_OK)
        fail_msg("%s", err.text);
    json_error_t at;
    json_t *json = json_loadb((const char *)record_r->json.data, record_r->json.len, JSON_REJECT_DUPLICATES, &at);
    if (!json)
        fail_msg("%s: %.*s", at.text, CQ_SLICE_ARG(record_r->json));
    return json;
}

static void assert_text(const json_t *object, const char *name, const char *value)
{
    const char *got = json_string_value(json_object_get(object, name));
    if (!value && !json_object_get(object, name))
        return;
    if (!got || !value || strcmp(got, value) != 0)
        fail_msg("%s is \"%s\", not \"%s\"", name, got ? got : "(none)", value ? value : "(none)");
}

static void fill_rejection(Chasqui__Edge__Event *event, Chasqui__Edge__Session *session,
                           Chasqui__Edge__Rejection *rejection)
{
    chasqui__edge__event__init(event);
    chasqui__edge__session__init(session);
    chasqui__edge__rejection__init(rejection);
    event->type = CHASQUI__EDGE__TYPE__MESSAGE_REJECTED;
    event->time = UINT64_C(1700000000123456);
    event->key = (char *)"01SESSION";
    event->session = session;
    event->rejection = rejection;
    session->session_id = (char *)"01SESSION";
    session->client_ip = (char *)"192.0.2.7";
    session->client_port = 4711;
    rejection->stage = (char *)"rcpt";
    rejection->code = 550;
    rejection->enhanced = (char *)"5.1.1";
    rejection->recipient = (char *)"Nobody@Example.test";
}

static void a_rejection_becomes_a_cloudevent(void **state)
{
    (void)state;
    Chasqui__Edge__Event event;
    Chasqui__Edge__Session session;
    Chasqui__Edge__Rejection rejection;
    struct event_record record;
    struct cq_pool *pool = cq_pool_new(4096);
    fill_rejection(&event, &session, &rejection);
    json_t *json = encode(pool, &source, &event, &record);
    const json_t *data = json_object_get(json, "data");
    assert_text(json, "type", "test.example.mail.inbound.message.rejected.v1");
    assert_text(json, "source", "chasqui://c1/frontend/fe-1/77");
    assert_text(json, "id", "018bcfe5-6800-7fff-bfff-ffffffffff00");
    assert_text(json, "time", "2023-11-14T22:13:20.123456Z");
    assert_text(json, "partitionkey", "01SESSION");
    assert_text(json, "sequence", "00000000000000000012");
    assert_text(data, "role", "frontend");
    assert_text(data, "node_id", "fe-1");
    assert_text(data, "account_id", NULL);
    assert_text(data, "session_id", "01SESSION");
    assert_text(data, "enhanced", "5.1.1");
    assert_text(data, "recipient", "Nobody@Example.test");
    assert_text(data, "recipient_domain", "Example.test");
    assert_int_equal(json_integer_value(json_object_get(data, "code")), 550);
    assert_int_equal(json_integer_value(json_object_get(data, "client_port")), 4711);
    assert_slice(record.stream, "mail.inbound");
    assert_slice(record.key, "01SESSION");
    assert_slice(record.type, "test.example.mail.inbound.message.rejected.v1");
    json_decref(json);
    cq_pool_free(&pool);
}

static const char *hmac_of(struct cq_pool *pool, const char *recipient)
{
    Chasqui__Edge__Event event;
    Chasqui__Edge__Session session;
    Chasqui__Edge__Rejection rejection;
    struct event_record record;
    struct event_source shy = source;
    shy.pii = EVENT_PII_HMAC;
    fill_rejection(&event, &session, &rejection);
    rejection.recipient = (char *)(uintptr_t)recipient;
    json_t *json = encode(pool, &shy, &event, &record);
    const json_t *data = json_object_get(json, "data");
    assert_null(json_object_get(data, "recipient"));
    assert_non_null(json_object_get(data, "recipient_domain"));
    const char *hmac = json_string_value(json_object_get(data, "recipient_hmac"));
    assert_non_null(hmac);
    hmac = cq_pool_cstr(pool, cq_slice_cstr(hmac));
    json_decref(json);
    return hmac;
}

static void under_hmac_the_same_address_has_the_same_hash_and_is_not_told(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(4096);
    const char *anna = hmac_of(pool, "anna@example.test");
    assert_int_equal(strlen(anna), EVENT_HASH_SIZE - 1);
    assert_string_equal(anna, hmac_of(pool, "Anna@EXAMPLE.test"));
    assert_string_not_equal(anna, hmac_of(pool, "anne@example.test"));
    /* HMAC-SHA-256 (RFC 2104), first half; consumers keep these. */
    assert_string_equal(anna, "e7576b9bc181d9925e8b74c27c90e6b4");
    cq_pool_free(&pool);
}

static void every_type_has_a_row_and_encodes(void **state)
{
    (void)state;
    const ProtobufCEnumDescriptor *types = &chasqui__edge__type__descriptor;
    struct cq_pool *pool = cq_pool_new(4096);
    for (unsigned i = 0; i < types->n_values; i++) {
        if (types->values[i].value == CHASQUI__EDGE__TYPE__TYPE_UNSPECIFIED)
            continue;
        Chasqui__Edge__Event event = CHASQUI__EDGE__EVENT__INIT;
        struct event_record record;
        event.type = (Chasqui__Edge__Type)types->values[i].value;
        const struct event_row *row = event_row_find(types->values[i].value);
        if (!row || row->guarantee != EVENT_BEST_EFFORT)
            fail_msg("%s has no row in the catalogue", types->values[i].name);
        assert_ptr_equal(event_row_peek(pack(pool, &event)), row);
        json_decref(encode(pool, &source, &event, &record));
        assert_slice(record.key, "0000000000000000");
    }
    cq_pool_free(&pool);
}

static void no_number_is_a_type_of_both_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < event_row_count; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(event_rows[i].type, event_rows[j].type);
}

static void peeking_at_garbage_finds_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *octets;
        size_t len;
    } cases[] = {{"", 0}, {"\x08", 1}, {"\x08\xff\xff\xff\xff\xff", 6}, {"\x08\x7e", 2}, {"\x10\x01", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_null(event_row_peek(cq_slice_of(cases[i].octets, cases[i].len)));
    assert_int_equal(event_row_peek(CQ_SLICE("\x08\x02"))->type, CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL);
}

/* event_json.c knows the types that messages of events use. */
static void check_types(const ProtobufCMessageDescriptor *d)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        bool known = f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_UINT64 ||
                     f->type == PROTOBUF_C_TYPE_FIXED64 || f->type == PROTOBUF_C_TYPE_STRING;
        if (!known || f->label == PROTOBUF_C_LABEL_REPEATED)
            fail_msg("%s.%s: the encoder does not know this type", d->name, f->name);
    }
}

static void the_encoder_knows_the_types_of_all_fields(void **state)
{
    (void)state;
    check_types(&chasqui__edge__session__descriptor);
    check_types(&chasqui__edge__auth__descriptor);
    check_types(&chasqui__edge__rejection__descriptor);
    check_types(&chasqui__edge__end__descriptor);
    check_types(&chasqui__edge__limit__descriptor);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(4096);
    struct event_stamp stamp = {.number = 1};
    struct event_record record;
    assert_int_equal(event_encode_edge(&source, &stamp, CQ_SLICE("\xff\xff\xff"), pool, &record, NULL, NULL),
                     CQ_E_PROTO);
    cq_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rejection_becomes_a_cloudevent),
        cmocka_unit_test(under_hmac_the_same_address_has_the_same_hash_and_is_not_told),
        cmocka_unit_test(every_type_has_a_row_and_encodes),
        cmocka_unit_test(no_number_is_a_type_of_both_kinds),
        cmocka_unit_test(peeking_at_garbage_finds_nothing),
        cmocka_unit_test(the_encoder_knows_the_types_of_all_fields),
        cmocka_unit_test(garbage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
