#include "events/event_json.h"

#include <stdio.h>

#include "base/cq_hex.h"
#include "base/cq_text.h"
#include "base/cq_time.h"

/* Fields whose names in the outbox say too little beside those of other messages. */
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

void event_json_name(struct cq_buf *out, const char *name)
{
    if (out->data[out->len - 1] != '{')
        cq_buf_byte(out, ',');
    cq_json_string(out, cq_slice_cstr(name));
    cq_buf_byte(out, ':');
}

void event_json_text(struct cq_buf *out, const char *name, const char *text)
{
    event_json_name(out, name);
    cq_json_string(out, cq_slice_cstr(text));
}

void event_json_time(struct cq_buf *out, const char *name, uint64_t us)
{
    char text[CQ_RFC3339_SIZE];
    cq_time_rfc3339(us, text);
    event_json_text(out, name, text);
}

void event_json_hex(struct cq_buf *out, const char *name, uint64_t value)
{
    char text[CQ_HEX64_SIZE];
    cq_hex_u64(value, text);
    event_json_text(out, name, text);
}

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
static void put_hmac(struct cq_buf *out, const struct event_source *source, const char *name, const char *address)
{
    char field[64], hash[EVENT_HASH_SIZE];
    event_hash(cq_slice_of(source->pii_key, source->pii_key_len), cq_slice_cstr(address), hash);
    snprintf(field, sizeof field, "%s_hmac", name);
    event_json_text(out, field, hash);
}

void event_json_address(struct cq_buf *out, const struct event_source *source, const char *name, const char *address)
{
    char domain_name[64];
    if (!address[0])
        return;
    if (source->pii == EVENT_PII_FULL)
        event_json_text(out, name, address);
    if (source->pii == EVENT_PII_HMAC)
        put_hmac(out, source, name, address);
    snprintf(domain_name, sizeof domain_name, "%s_domain", name);
    if (domain_of(address)[0])
        event_json_text(out, domain_name, domain_of(address));
}

/* A 64-bit number is a text in JSON: many readers know numbers only up to 2^53 (as proto3's own JSON does it). A number
 * of microseconds whose name says so becomes a time. */
static void put_int64(struct cq_buf *out, const char *name, uint64_t value, bool is_signed)
{
    char text[64];
    size_t len = strlen(name);
    if (len > 8 && len < sizeof text && strcmp(name + len - 8, "_time_us") == 0) {
        snprintf(text, sizeof text, "%.*s", (int)len - 3, name);
        event_json_time(out, text, value);
        return;
    }
    event_json_name(out, name);
    if (is_signed)
        cq_buf_printf(out, "\"%lld\"", (long long)value);
    else
        cq_buf_printf(out, "\"%llu\"", (unsigned long long)value);
}

static void put_field(struct cq_buf *out, const struct event_source *source, const ProtobufCFieldDescriptor *field,
                      const void *at)
{
    const char *text, *name = told_name(field->name);
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        if (*(const uint32_t *)at) {
            event_json_name(out, name);
            cq_buf_u64(out, *(const uint32_t *)at);
        }
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        if (*(const uint64_t *)at)
            put_int64(out, name, *(const uint64_t *)at, field->type == PROTOBUF_C_TYPE_INT64);
        break;
    case PROTOBUF_C_TYPE_FIXED64:
        if (*(const uint64_t *)at)
            event_json_hex(out, name, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_STRING:
        text = *(const char *const *)at;
        if (!text || !text[0])
            break;
        if (is_address(name))
            event_json_address(out, source, name, text);
        else
            event_json_text(out, name, text);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        event_json_message(out, source, *(const ProtobufCMessage *const *)at);
        break;
    default: /* no message of an event has others; a test walks all descriptors */
        break;
    }
}

void event_json_message(struct cq_buf *out, const struct event_source *source, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *d = message ? message->descriptor : NULL;
    for (unsigned i = 0; d && i < d->n_fields; i++)
        put_field(out, source, &d->fields[i], (const uint8_t *)message + d->fields[i].offset);
}
