#include "events/event_data.h"

#include <stdio.h>

#include "base/cq_hex.h"
#include "base/cq_text.h"
#include "base/cq_time.h"
#include "events/event_json.h"
#include "proto/events.pb-c.h"

#define NAME_MAX_SIZE 64 /* of a field, with what is put after it */

const ProtobufCMessageDescriptor *event_data_message(enum event_stream stream)
{
    static const ProtobufCMessageDescriptor *const messages[EVENT_STREAM_COUNT] = {
        [EVENT_INBOUND] = &chasqui__events__v1__inbound__descriptor,
        [EVENT_DELIVERY] = &chasqui__events__v1__delivery__descriptor,
        [EVENT_MAILBOX] = &chasqui__events__v1__mailbox__descriptor,
        [EVENT_LIMITS] = &chasqui__events__v1__limits__descriptor,
        [EVENT_AUTH] = &chasqui__events__v1__auth__descriptor,
    };
    return messages[stream];
}

void event_data_begin(struct event_data *data, const struct event_source *source, enum event_stream stream,
                      struct cq_buf *json, struct cq_pool *pool)
{
    *data = (struct event_data){.source = source, .json = json, .pool = pool};
    if (!source->protobuf)
        return;
    const ProtobufCMessageDescriptor *d = event_data_message(stream);
    data->message = cq_pool_calloc(pool, 1, d->sizeof_message);
    d->message_init(data->message);
}

/* ---- Into the public message ---- */

/* Where a field of this type stands; NULL when the message has none: a test finds every event's fields there, so that
 * is only so for an event that this build does not know. */
static void *member_of(const struct event_data *data, const char *name, ProtobufCType type)
{
    const ProtobufCFieldDescriptor *field =
        data->message ? protobuf_c_message_descriptor_get_field_by_name(data->message->descriptor, name) : NULL;
    return field && field->type == type ? (uint8_t *)data->message + field->offset : NULL;
}

/* Strings of protobuf are UTF-8, or readers refuse the whole message; bytes that are not become U+FFFD, as in JSON. */
static char *utf8_of(struct cq_slice text, struct cq_pool *pool)
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    if (cq_utf8_valid(text))
        return cq_pool_cstr(pool, text);
    char *out = cq_pool_alloc(pool, sizeof replacement * text.len + 1);
    size_t len = 0, n;
    for (; text.len; text = cq_slice_skip(text, n)) {
        bool bad = cq_utf8_next(text, &n) == CQ_UTF8_BAD;
        size_t add = bad ? sizeof replacement : n;
        memcpy(out + len, bad ? replacement : text.data, add);
        len += add;
    }
    out[len] = 0;
    return out;
}

static void set_text(struct event_data *data, const char *name, const char *text)
{
    char **member = member_of(data, name, PROTOBUF_C_TYPE_STRING);
    if (member)
        *member = utf8_of(cq_slice_cstr(text), data->pool);
}

static bool set_u64(struct event_data *data, const char *name, uint64_t value)
{
    uint64_t *member = member_of(data, name, PROTOBUF_C_TYPE_UINT64);
    if (member)
        *member = value;
    return member != NULL;
}

/* Some numbers of 32 bits share their public field with one of 64. */
static void set_u32(struct event_data *data, const char *name, uint32_t value)
{
    uint32_t *member = member_of(data, name, PROTOBUF_C_TYPE_UINT32);
    if (member)
        *member = value;
    else
        set_u64(data, name, value);
}

/* ---- Into both ---- */

void event_data_text(struct event_data *data, const char *name, const char *text)
{
    event_json_text(data->json, name, text);
    set_text(data, name, text);
}

void event_data_time(struct event_data *data, const char *name, uint64_t us)
{
    char text[CQ_RFC3339_SIZE];
    cq_time_rfc3339(us, text);
    event_data_text(data, name, text);
}

void event_data_hex(struct event_data *data, const char *name, uint64_t value)
{
    char text[CQ_HEX64_SIZE];
    cq_hex_u64(value, text);
    event_data_text(data, name, text);
}

void event_data_u32(struct event_data *data, const char *name, uint32_t value)
{
    event_json_name(data->json, name);
    cq_buf_u64(data->json, value);
    set_u32(data, name, value);
}

void event_data_u64(struct event_data *data, const char *name, uint64_t value)
{
    event_json_name(data->json, name);
    cq_buf_printf(data->json, "\"%llu\"", (unsigned long long)value);
    set_u64(data, name, value);
}

/* ---- Addresses ---- */

/* Is this text an address of a person? */
static bool is_address(const char *name)
{
    static const char *const names[] = {"address", "envelope_from", "recipient", "original_recipient", "login"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static const char *domain_of(const char *address)
{
    const char *at = strrchr(address, '@');
    return at ? at + 1 : "";
}

/* One address, one name, however it is written: Anna@ and anna@ are the same. */
static void put_hmac(struct event_data *data, const char *name, const char *address)
{
    char field[NAME_MAX_SIZE], hash[EVENT_HASH_SIZE];
    event_hash(cq_slice_of(data->source->pii_key, data->source->pii_key_len), cq_slice_cstr(address), hash);
    snprintf(field, sizeof field, "%s_hmac", name);
    event_data_text(data, field, hash);
}

void event_data_address(struct event_data *data, const char *name, const char *address)
{
    char domain_name[NAME_MAX_SIZE];
    if (!address[0])
        return;
    if (data->source->pii == EVENT_PII_FULL)
        event_data_text(data, name, address);
    if (data->source->pii == EVENT_PII_HMAC)
        put_hmac(data, name, address);
    snprintf(domain_name, sizeof domain_name, "%s_domain", name);
    if (domain_of(address)[0])
        event_data_text(data, domain_name, domain_of(address));
}

/* ---- From records ---- */

/* Fields whose names in a record say too little beside those of other messages. */
static const char *told_name(const char *name)
{
    static const struct {
        const char *from, *to;
    } names[] = {{"id", "mailbox_id"},       {"mailbox", "mailbox_id"}, {"name", "mailbox_name"},
                 {"email", "email_id"},      {"size", "size_bytes"},    {"old_name", "mailbox_old_name"},
                 {"bytes", "mailbox_bytes"}, {"kind", "quota_kind"},    {"from_account", "from_account_id"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].from) == 0)
            return names[i].to;
    return name;
}

/* A number of microseconds whose name says so becomes a time. */
static void put_64(struct event_data *data, const char *name, uint64_t value)
{
    char text[NAME_MAX_SIZE];
    size_t len = strlen(name);
    if (len > 8 && len < sizeof text && strcmp(name + len - 8, "_time_us") == 0) {
        snprintf(text, sizeof text, "%.*s", (int)len - 3, name);
        event_data_time(data, text, value);
    } else {
        event_data_u64(data, name, value);
    }
}

static void put_text(struct event_data *data, const char *name, const char *text)
{
    if (!text || !text[0])
        return;
    if (is_address(name))
        event_data_address(data, name, text);
    else
        event_data_text(data, name, text);
}

static void put_field(struct event_data *data, const ProtobufCFieldDescriptor *field, const void *at)
{
    const char *name = told_name(field->name);
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        if (*(const uint32_t *)at)
            event_data_u32(data, name, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64: /* times alone */
        if (*(const uint64_t *)at)
            put_64(data, name, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_FIXED64:
        if (*(const uint64_t *)at)
            event_data_hex(data, name, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_STRING:
        put_text(data, name, *(const char *const *)at);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        event_data_fields(data, *(const ProtobufCMessage *const *)at);
        break;
    default: /* no message of an event has others; a test walks all descriptors */
        break;
    }
}

void event_data_fields(struct event_data *data, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *d = message ? message->descriptor : NULL;
    for (unsigned i = 0; d && i < d->n_fields; i++)
        put_field(data, &d->fields[i], (const uint8_t *)message + d->fields[i].offset);
}

struct cq_slice event_data_pack(const struct event_data *data)
{
    if (!data->message)
        return (struct cq_slice){0};
    uint8_t *packed = cq_pool_alloc(data->pool, protobuf_c_message_get_packed_size(data->message) + 1);
    return cq_slice_of(packed, protobuf_c_message_pack(data->message, packed));
}
