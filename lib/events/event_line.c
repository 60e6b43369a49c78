#include "events/event_line.h"

#include "base/cq_text.h"
#include "events/event_data.h"
#include "events/event_json_read.h"

bool event_stream_find(struct cq_slice name, enum event_stream *stream_r)
{
    for (int i = 0; i < EVENT_STREAM_COUNT; i++)
        if (cq_slice_eq(name, cq_slice_cstr(event_stream_names[i]))) {
            *stream_r = (enum event_stream)i;
            return true;
        }
    return false;
}

bool event_time_ok(struct cq_slice text)
{
    static const char shape[] = "0000-00-00T00:00:00.000000Z";
    if (text.len != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (shape[i] == '0' ? !cq_ascii_digit(text.data[i]) : text.data[i] != (uint8_t)shape[i])
            return false;
    return true;
}

/* ---- What the value tells ---- */

static bool read_json(struct cq_slice value, struct cq_pool *pool, struct event_read *read)
{
    struct cq_slice rest = value, object, name, member;
    if (!event_json_take(&rest, &object) || rest.len || object.data[0] != '{')
        return false;
    while (event_json_member(&object, &name, &member)) {
        struct cq_slice *text = cq_slice_eq(name, CQ_SLICE("account_id")) ? &read->account_id
                                : cq_slice_eq(name, CQ_SLICE("address"))  ? &read->address
                                                                          : NULL;
        if (text && !event_json_string(member, pool, text))
            return false;
    }
    return true;
}

static struct cq_slice text_member(const ProtobufCMessage *message, const char *name, struct cq_pool *pool)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    if (!field || field->type != PROTOBUF_C_TYPE_STRING)
        return CQ_SLICE_NONE;
    return cq_pool_slice(pool, cq_slice_cstr(*(char *const *)((const uint8_t *)message + field->offset)));
}

static bool read_protobuf(struct cq_slice value, struct cq_pool *pool, struct event_read *read)
{
    ProtobufCMessage *message =
        protobuf_c_message_unpack(event_data_message(read->stream), NULL, value.len, value.data);
    if (!message)
        return false;
    read->account_id = text_member(message, "account_id", pool);
    read->address = text_member(message, "address", pool);
    protobuf_c_message_free_unpacked(message, NULL);
    return true;
}

bool event_value_read(struct cq_pool *pool, struct event_read *read)
{
    const struct event_record *record = &read->record;
    if (cq_slice_eq(record->value_type, CQ_SLICE(EVENT_TYPE_JSON)))
        return cq_utf8_valid(record->value) && read_json(record->value, pool, read);
    return cq_slice_eq(record->value_type, CQ_SLICE(EVENT_TYPE_PROTOBUF)) && read_protobuf(record->value, pool, read);
}

/* ---- A line ---- */

enum attribute { A_SPECVERSION, A_ID, A_SOURCE, A_TYPE, A_TIME, A_DATASCHEMA, A_PARTITIONKEY, A_SEQUENCE, A_COUNT };

static const char *const attribute_names[A_COUNT] = {
    [A_SPECVERSION] = "specversion",
    [A_ID] = "id",
    [A_SOURCE] = "source",
    [A_TYPE] = "type",
    [A_TIME] = "time",
    [A_DATASCHEMA] = "dataschema",
    [A_PARTITIONKEY] = "partitionkey",
    [A_SEQUENCE] = "sequence",
};

struct parts {
    struct cq_slice attributes[A_COUNT];
    struct cq_slice data;
};

static enum cq_rc take_attribute(struct cq_slice name, struct cq_slice value, struct cq_pool *pool, struct parts *parts,
                                 struct cq_err *err)
{
    for (size_t i = 0; i < A_COUNT; i++) {
        if (!cq_slice_eq(name, cq_slice_cstr(attribute_names[i])))
            continue;
        struct cq_slice *text = &parts->attributes[i];
        if (text->len || !event_json_string(value, pool, text) || !text->len || text->len > EVENT_ATTRIBUTE_MAX)
            return CQ_FAIL(err, CQ_E_PROTO, "%s is no text, or there twice, or too long", attribute_names[i]);
    }
    if (cq_slice_eq(name, CQ_SLICE("data"))) {
        if (parts->data.len)
            return CQ_FAIL(err, CQ_E_PROTO, "data is there twice");
        parts->data = value;
    }
    return CQ_OK;
}

static enum cq_rc take_parts(struct cq_slice line, struct cq_pool *pool, struct parts *parts, struct cq_err *err)
{
    struct cq_slice rest = line, object, name, value;
    if (line.len > EVENT_LINE_MAX || !cq_utf8_valid(line) || !event_json_take(&rest, &object) || rest.len ||
        object.data[0] != '{')
        return CQ_FAIL(err, CQ_E_PROTO, "it is no JSON object");
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && event_json_member(&object, &name, &value))
        rc = take_attribute(name, value, pool, parts, err);
    for (size_t i = 0; i < A_COUNT && rc == CQ_OK; i++)
        if (!parts->attributes[i].len)
            rc = CQ_FAIL(err, CQ_E_PROTO, "%s is missing", attribute_names[i]);
    return rc;
}

/* "chasqui:mail.delivery.v1" */
static bool stream_of(struct cq_slice dataschema, enum event_stream *stream_r)
{
    const struct cq_slice before = CQ_SLICE("chasqui:"), after = CQ_SLICE(".v1");
    if (!cq_slice_starts(dataschema, before) || dataschema.len < before.len + after.len)
        return false;
    struct cq_slice name = cq_slice_sub(dataschema, before.len, dataschema.len - before.len - after.len);
    return cq_slice_eq(cq_slice_skip(dataschema, before.len + name.len), after) && event_stream_find(name, stream_r);
}

enum cq_rc event_line_read(struct cq_slice line, struct cq_pool *pool, struct event_read *read_r, struct cq_err *err)
{
    struct parts parts = {0};
    *read_r = (struct event_read){0};
    enum cq_rc rc = take_parts(line, pool, &parts, err);
    if (rc != CQ_OK)
        return rc;
    const struct cq_slice *attributes = parts.attributes;
    if (!cq_slice_eq(attributes[A_SPECVERSION], CQ_SLICE("1.0")))
        return CQ_FAIL(err, CQ_E_PROTO, "it is of another version of CloudEvents");
    if (!stream_of(attributes[A_DATASCHEMA], &read_r->stream))
        return CQ_FAIL(err, CQ_E_PROTO, "its dataschema is none of ours");
    if (!event_time_ok(attributes[A_TIME]))
        return CQ_FAIL(err, CQ_E_PROTO, "its time is not as we write it");
    read_r->record = (struct event_record){
        .stream = cq_slice_cstr(event_stream_names[read_r->stream]),
        .type = attributes[A_TYPE],
        .key = attributes[A_PARTITIONKEY],
        .id = attributes[A_ID],
        .source = attributes[A_SOURCE],
        .time = attributes[A_TIME],
        .dataschema = attributes[A_DATASCHEMA],
        .sequence = attributes[A_SEQUENCE],
        .json = line,
        .data = parts.data,
        .value = parts.data,
        .value_type = CQ_SLICE(EVENT_TYPE_JSON),
    };
    return event_value_read(pool, read_r) ? CQ_OK : CQ_FAIL(err, CQ_E_PROTO, "its data is no object");
}
