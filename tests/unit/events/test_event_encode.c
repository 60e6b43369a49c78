#include "events/event_encode.h"

#include "unit/cq_cmocka.h"

#include "proto/outbox.pb-c.h"

#include <jansson.h>
#include <string.h>

static const struct event_source source = {.cluster = "c1",
                                           .node = "00000000-0000-4000-8000-000000000001",
                                           .dc = "a",
                                           .role = "storage",
                                           .version = "9.9",
                                           .type_prefix = "chasqui"};
static const struct event_place place = {.shard = 7, .index = 42, .sub_index = 3};

static struct cq_slice pack(struct cq_pool *pool, const Chasqui__Outbox__Event *event)
{
    size_t len = chasqui__outbox__event__get_packed_size(event);
    uint8_t *data = cq_pool_alloc(pool, len + 1);
    chasqui__outbox__event__pack(event, data);
    return cq_slice_of(data, len);
}

static json_t *encode(struct cq_pool *pool, const struct event_source *from, const Chasqui__Outbox__Event *event,
                      struct event_record *record_r)
{
    struct cq_err err = {0};
    if (event_encode(from, &place, pack(pool, event), pool, record_r, NULL, &err) != CQ_OK)
        fail_msg("%s", err.text);
    json_error_t at;
    json_t *json = json_loadb((const char *)record_r->json.data, record_r->json.len, JSON_REJECT_DUPLICATES, &at);
    if (!json)
        fail_msg("%s: %.*s", at.text, CQ_SLICE_ARG(record_r->json));
    assert_null(memchr(record_r->json.data, '\n', record_r->json.len));
    return json;
}

static void assert_text(const json_t *object, const char *name, const char *value)
{
    const char *got = json_string_value(json_object_get(object, name));
    if (!value) {
        assert_null(json_object_get(object, name));
        return;
    }
    if (!got || strcmp(got, value) != 0)
        fail_msg("%s is \"%s\", not \"%s\"", name, got ? got : "(none)", value);
}

static void fill_delivery(Chasqui__Outbox__Event *event, Chasqui__Outbox__Delivery *delivery,
                          Chasqui__Mail__DeliveryEvent *envelope)
{
    chasqui__outbox__event__init(event);
    chasqui__outbox__delivery__init(delivery);
    chasqui__mail__delivery_event__init(envelope);
    event->type = CHASQUI__OUTBOX__TYPE__DELIVERY_LOCAL;
    event->time = UINT64_C(1700000000123456);
    event->account = UINT64_C(0x1234000000000001);
    event->address = (char *)"anna@example.test";
    event->delivery = delivery;
    delivery->envelope = envelope;
    delivery->size = 1234;
    delivery->uid = 9;
    delivery->email = UINT64_C(18446744073709551615);
    envelope->message_id = (char *)"01ABC";
    envelope->rfc5322_message_id = (char *)"<\"x\"\n\xff@y>";
    envelope->envelope_from = (char *)"bob@elsewhere.test";
    envelope->recipient = (char *)"anna+x@example.test";
    envelope->received_time_us = INT64_C(1700000000000000);
}

static void a_delivery_becomes_a_cloudevent(void **state)
{
    (void)state;
    Chasqui__Outbox__Event event;
    Chasqui__Outbox__Delivery delivery;
    Chasqui__Mail__DeliveryEvent envelope;
    struct event_record record;
    struct cq_pool *pool = cq_pool_new(4096);
    fill_delivery(&event, &delivery, &envelope);
    json_t *json = encode(pool, &source, &event, &record);
    const json_t *data = json_object_get(json, "data");
    assert_text(json, "specversion", "1.0");
    assert_text(json, "type", "chasqui.mail.delivery.delivery.local.v1");
    assert_text(json, "source", "chasqui://c1/shard/7");
    assert_text(json, "time", "2023-11-14T22:13:20.123456Z");
    assert_text(json, "partitionkey", "01ABC");
    assert_text(json, "sequence", "00000000000000000042.0000000003");
    assert_text(data, "event_id", json_string_value(json_object_get(json, "id")));
    assert_text(data, "node_id", source.node);
    assert_text(data, "account_id", "1234000000000001");
    assert_text(data, "address", "anna@example.test");
    assert_text(data, "recipient", "anna+x@example.test");
    assert_text(data, "recipient_domain", "example.test");
    assert_text(data, "email_id", "18446744073709551615");
    assert_text(data, "received_time", "2023-11-14T22:13:20.000000Z");
    assert_text(data, "ehlo", NULL); /* what is not set is not there */
    assert_int_equal(json_integer_value(json_object_get(data, "uid")), 9);
    assert_text(data, "rfc5322_message_id", "<\"x\"\n\xef\xbf\xbd@y>"); /* any octets make valid JSON */
    assert_slice(record.stream, "mail.delivery");
    assert_slice(record.key, "01ABC");
    json_decref(json);
    cq_pool_free(&pool);
}

static void a_gap_tells_how_many_events_its_stream_has_lost(void **state)
{
    (void)state;
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    Chasqui__Outbox__Gap gap = CHASQUI__OUTBOX__GAP__INIT;
    struct event_record record;
    struct cq_pool *pool = cq_pool_new(4096);
    event.type = CHASQUI__OUTBOX__TYPE__DELIVERY_EVENTS_DROPPED;
    event.time = UINT64_C(1700000000123456);
    event.gap = &gap;
    gap.dropped_events = 5;
    gap.dropped_final_events = 2;
    gap.first_time_us = UINT64_C(1700000000000000);
    json_t *json = encode(pool, &source, &event, &record);
    const json_t *data = json_object_get(json, "data");
    assert_text(json, "type", "chasqui.mail.delivery.events.dropped.v1");
    assert_text(data, "dropped_events", "5");
    assert_text(data, "dropped_final_events", "2");
    assert_text(data, "first_time", "2023-11-14T22:13:20.000000Z");
    assert_slice(record.stream, "mail.delivery");
    json_decref(json);
    cq_pool_free(&pool);
}

static void without_personal_data_only_domains_are_told(void **state)
{
    (void)state;
    Chasqui__Outbox__Event event;
    Chasqui__Outbox__Delivery delivery;
    Chasqui__Mail__DeliveryEvent envelope;
    struct event_record record;
    struct cq_pool *pool = cq_pool_new(4096);
    struct event_source shy = source;
    shy.pii = EVENT_PII_DOMAIN;
    fill_delivery(&event, &delivery, &envelope);
    json_t *json = encode(pool, &shy, &event, &record);
    assert_null(memmem(record.json.data, record.json.len, "anna", 4));
    assert_null(memmem(record.json.data, record.json.len, "bob", 3));
    assert_text(json_object_get(json, "data"), "envelope_from_domain", "elsewhere.test");
    json_decref(json);
    cq_pool_free(&pool);
}

static void the_id_follows_from_the_place_alone(void **state)
{
    (void)state;
    static const struct {
        const char *cluster;
        struct event_place place;
    } places[] = {
        {"c1", {7, 42, 3}}, {"c1", {7, 42, 4}}, {"c1", {7, 43, 3}}, {"c1", {8, 42, 3}}, {"c2", {7, 42, 3}},
    };
    char ids[sizeof places / sizeof *places][EVENT_ID_SIZE];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char again[EVENT_ID_SIZE];
        event_id(places[i].cluster, &places[i].place, ids[i]);
        event_id(places[i].cluster, &places[i].place, again);
        assert_string_equal(ids[i], again);
        assert_int_equal(strlen(ids[i]), 36);
        assert_int_equal(ids[i][14], '8');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    /* Consumers keep ids: they are the same in every release. */
    assert_string_equal(ids[0], "ca08c602-6c39-8167-aaa9-174b4967975e");
}

static void every_type_has_a_row_and_encodes(void **state)
{
    (void)state;
    const ProtobufCEnumDescriptor *types = &chasqui__outbox__type__descriptor;
    struct cq_pool *pool = cq_pool_new(4096);
    for (unsigned i = 0; i < types->n_values; i++) {
        if (types->values[i].value == CHASQUI__OUTBOX__TYPE__TYPE_UNSPECIFIED)
            continue;
        Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
        struct event_record record;
        event.type = (Chasqui__Outbox__Type)types->values[i].value;
        if (!event_row_find(types->values[i].value))
            fail_msg("%s has no row in the catalogue", types->values[i].name);
        json_decref(encode(pool, &source, &event, &record));
    }
    cq_pool_free(&pool);
}

static void an_unknown_type_is_told_and_not_dropped(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(4096);
    Chasqui__Outbox__Event event = CHASQUI__OUTBOX__EVENT__INIT;
    struct event_record record;
    event.type = (Chasqui__Outbox__Type)999;
    json_t *json = encode(pool, &source, &event, &record);
    assert_text(json, "type", "chasqui.mail.mailbox.unknown.999.v1");
    json_decref(json);
    cq_pool_free(&pool);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(4096);
    struct event_record record;
    assert_int_equal(event_encode(&source, &place, CQ_SLICE("\xff\xff\xff"), pool, &record, NULL, NULL), CQ_E_PROTO);
    cq_pool_free(&pool);
}

/* put_field() knows the types that outbox messages use. */
static void check_types(const ProtobufCMessageDescriptor *d)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        bool known = f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_UINT64 ||
                     f->type == PROTOBUF_C_TYPE_FIXED64 ||
                     (f->type == PROTOBUF_C_TYPE_INT64 && strstr(f->name, "_time_us")) ||
                     f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
        if (!known || f->label == PROTOBUF_C_LABEL_REPEATED)
            fail_msg("%s.%s: the encoder does not know this type", d->name, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            check_types(f->descriptor);
    }
}

static void the_encoder_knows_the_types_of_all_fields(void **state)
{
    (void)state;
    check_types(&chasqui__outbox__delivery__descriptor);
    check_types(&chasqui__outbox__mailbox__descriptor);
    check_types(&chasqui__outbox__quota__descriptor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delivery_becomes_a_cloudevent),
        cmocka_unit_test(a_gap_tells_how_many_events_its_stream_has_lost),
        cmocka_unit_test(without_personal_data_only_domains_are_told),
        cmocka_unit_test(the_id_follows_from_the_place_alone),
        cmocka_unit_test(every_type_has_a_row_and_encodes),
        cmocka_unit_test(an_unknown_type_is_told_and_not_dropped),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(the_encoder_knows_the_types_of_all_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
