#include "events/event_asyncapi.h"

#include "base/cq_text.h"
#include "events/event_data.h"
#include "events/event_kafka_private.h"

/* ---- Lines of YAML: two spaces a level ---- */

static void begin(struct cq_buf *out, unsigned level, const char *name)
{
    for (unsigned i = 0; i < level; i++)
        cq_buf_cstr(out, "  ");
    cq_buf_printf(out, "%s:", name);
}

static void put_joined_map(struct cq_buf *out, unsigned level, const char *name, const char *rest)
{
    for (unsigned i = 0; i < level; i++)
        cq_buf_cstr(out, "  ");
    cq_buf_printf(out, "%s.%s:\n", name, rest);
}

static void put_map(struct cq_buf *out, unsigned level, const char *name)
{
    begin(out, level, name);
    cq_buf_byte(out, '\n');
}

/* A text of JSON is one of YAML. */
static void put_text(struct cq_buf *out, unsigned level, const char *name, const char *text)
{
    begin(out, level, name);
    cq_buf_byte(out, ' ');
    cq_json_string(out, cq_slice_cstr(text));
    cq_buf_byte(out, '\n');
}

static void put_plain(struct cq_buf *out, unsigned level, const char *name, const char *value)
{
    begin(out, level, name);
    cq_buf_printf(out, " %s\n", value);
}

/* The last part of a message's full name. */
static const char *schema_name(enum event_stream stream)
{
    return event_data_message(stream)->short_name;
}

/* ---- Channels and what is done with them ---- */

static void put_channel(struct cq_buf *out, enum event_stream stream)
{
    const char *name = event_stream_names[stream];
    put_map(out, 1, name);
    begin(out, 2, "address");
    cq_buf_printf(out, " %s.v1\n", name);
    put_map(out, 2, "messages");
    for (size_t i = 0; i < event_row_count; i++)
        if (event_rows[i].stream == stream) {
            put_map(out, 3, event_rows[i].name);
            begin(out, 4, "$ref");
            cq_buf_printf(out, " \"#/components/messages/%s.%s\"\n", name, event_rows[i].name);
        }
}

static void put_dead_letters(struct cq_buf *out)
{
    put_map(out, 1, EVENT_DLQ_STREAM);
    put_plain(out, 2, "address", EVENT_DLQ_STREAM ".v1");
    put_text(out, 2, "description", "Records that no broker takes, so that they do not stop those behind them.");
    put_map(out, 2, "messages");
    put_map(out, 3, "dead_letter");
    put_text(out, 4, "$ref", "#/components/messages/dead_letter");
}

static void put_operation(struct cq_buf *out, const char *stream)
{
    put_joined_map(out, 1, "publish", stream);
    put_plain(out, 2, "action", "send");
    put_map(out, 2, "channel");
    begin(out, 3, "$ref");
    cq_buf_printf(out, " \"#/channels/%s\"\n", stream);
}

/* ---- Messages ---- */

static const char *guarantee_of(const struct event_row *row)
{
    return row->guarantee == EVENT_AT_LEAST_ONCE ? "At least once: deduplicate by ce_id." : "Best effort.";
}

static const char *key_of(const struct event_row *row)
{
    static const char *const keys[] = {[EVENT_KEY_MESSAGE] = "The message id.",
                                       [EVENT_KEY_ACCOUNT] = "The account id, or what stands for it.",
                                       [EVENT_KEY_SESSION] = "The session id, or the client's address."};
    return keys[row->key];
}

static void put_message(struct cq_buf *out, const struct event_row *row)
{
    const char *stream = event_stream_names[row->stream];
    put_joined_map(out, 2, stream, row->name);
    begin(out, 3, "name");
    cq_buf_printf(out, " chasqui.%s.%s.v1\n", stream, row->name);
    put_text(out, 3, "title", row->name);
    put_text(out, 3, "summary", row->help);
    put_text(out, 3, "description", guarantee_of(row));
    put_map(out, 3, "headers");
    put_text(out, 4, "$ref", "#/components/schemas/Headers");
    put_map(out, 3, "payload");
    begin(out, 4, "$ref");
    cq_buf_printf(out, " \"#/components/schemas/%s\"\n", schema_name(row->stream));
    put_map(out, 3, "bindings");
    put_map(out, 4, "kafka");
    put_map(out, 5, "key");
    put_plain(out, 6, "type", "string");
    put_text(out, 6, "description", key_of(row));
}

static void put_dead_letter(struct cq_buf *out)
{
    put_map(out, 2, "dead_letter");
    put_text(out, 3, "summary", "A record as it would have been; of one that is too large only the headers");
    put_map(out, 3, "headers");
    put_text(out, 4, "$ref", "#/components/schemas/DeadLetterHeaders");
}

/* ---- Schemas ---- */

static void put_headers(struct cq_buf *out, const char *name, int count)
{
    put_map(out, 2, name);
    put_plain(out, 3, "type", "object");
    put_map(out, 3, "properties");
    for (int i = 0; i < count; i++) {
        put_map(out, 4, event_kafka_header_names[i]);
        put_plain(out, 5, "type", "string");
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static void put_field(struct cq_buf *out, const ProtobufCFieldDescriptor *field)
{
    put_map(out, 4, field->name);
    if (field->type == PROTOBUF_C_TYPE_UINT64) { /* a text in JSON, except where it fits into 32 bits */
        put_plain(out, 5, "type", "[string, integer]");
        put_text(out, 5, "pattern", "^[0-9]+$");
    } else if (field->type == PROTOBUF_C_TYPE_UINT32) {
        put_plain(out, 5, "type", "integer");
        put_plain(out, 5, "minimum", "0");
        put_plain(out, 5, "maximum", "4294967295");
    } else {
        put_plain(out, 5, "type", "string");
        if (ends_with(field->name, "_time"))
            put_plain(out, 5, "format", "date-time");
    }
}

static void put_schema(struct cq_buf *out, enum event_stream stream)
{
    const ProtobufCMessageDescriptor *d = event_data_message(stream);
    put_map(out, 2, schema_name(stream));
    put_plain(out, 3, "type", "object");
    begin(out, 3, "description");
    cq_buf_printf(out, " \"In protobuf: %s (proto/events.proto)\"\n", d->name);
    put_plain(out, 3, "required", "[event_id, event_time, cluster, dc, node_id, role, software_version]");
    put_map(out, 3, "properties");
    for (unsigned i = 0; i < d->n_fields; i++)
        put_field(out, &d->fields[i]);
}

/* ---- All of it ---- */

static void put_info(struct cq_buf *out)
{
    put_plain(out, 0, "asyncapi", "3.0.0");
    put_map(out, 0, "info");
    put_text(out, 1, "title", "Chasqui events");
    put_text(out, 1, "version", "1");
    put_text(out, 1, "description",
             "CloudEvents 1.0 in Kafka's binary mode: docs/events.md. The addresses stand after "
             "events.kafka.topic_prefix, the types after events.type_prefix. With events.kafka.format: protobuf the "
             "values are the messages of proto/events.proto and content-type is application/protobuf.");
    put_plain(out, 0, "defaultContentType", "application/json");
}

static void put_components(struct cq_buf *out)
{
    put_map(out, 0, "components");
    put_map(out, 1, "messages");
    for (size_t i = 0; i < event_row_count; i++)
        put_message(out, &event_rows[i]);
    put_dead_letter(out);
    put_map(out, 1, "schemas");
    put_headers(out, "Headers", EVENT_KAFKA_DLQ_REASON);
    put_headers(out, "DeadLetterHeaders", EVENT_KAFKA_HEADERS);
    for (int stream = 0; stream < EVENT_STREAM_COUNT; stream++)
        put_schema(out, (enum event_stream)stream);
}

void event_asyncapi(struct cq_buf *out)
{
    put_info(out);
    put_map(out, 0, "channels");
    for (int stream = 0; stream < EVENT_STREAM_COUNT; stream++)
        put_channel(out, (enum event_stream)stream);
    put_dead_letters(out);
    put_map(out, 0, "operations");
    for (int stream = 0; stream < EVENT_STREAM_COUNT; stream++)
        put_operation(out, event_stream_names[stream]);
    put_operation(out, EVENT_DLQ_STREAM);
    put_components(out);
}
