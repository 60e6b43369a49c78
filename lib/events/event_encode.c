#include "events/event_encode.h"

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_hex.h"
#include "base/cq_text.h"
#include "base/cq_time.h"
#include "proto/outbox.pb-c.h"

#define EVENT_MAX (256u << 10) /* bytes of an encoded event; texts of records are bounded by apply */

void event_id(const char *cluster, const struct event_place *place, char id_r[static EVENT_ID_SIZE])
{
    uint8_t seed[64 + 16 + 4] = {0}, id[16];
    size_t len = strlen(cluster);
    memcpy(seed, cluster, len < 64 ? len : 64);
    cq_put_be32(seed + 64, place->shard);
    cq_put_be64(seed + 68, place->index);
    cq_put_be32(seed + 76, place->sub_index);
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(seed, sizeof seed));
    cq_put_be64(id, hash.high);
    cq_put_be64(id + 8, hash.low);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x80);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (size_t i = 0; i < sizeof id; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            id_r[at++] = '-';
        snprintf(id_r + at, 3, "%02x", id[i]);
        at += 2;
    }
}

/* ---- JSON ---- */

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

static void put_name(struct cq_buf *out, const char *name)
{
    if (out->data[out->len - 1] != '{')
        cq_buf_byte(out, ',');
    cq_json_string(out, cq_slice_cstr(name));
    cq_buf_byte(out, ':');
}

static void put_text(struct cq_buf *out, const char *name, const char *text)
{
    put_name(out, name);
    cq_json_string(out, cq_slice_cstr(text));
}

static void put_time(struct cq_buf *out, const char *name, uint64_t us)
{
    char text[CQ_RFC3339_SIZE];
    cq_time_rfc3339(us, text);
    put_text(out, name, text);
}

static void put_hex(struct cq_buf *out, const char *name, uint64_t value)
{
    char text[CQ_HEX64_SIZE];
    cq_hex_u64(value, text);
    put_text(out, name, text);
}

/* Is this text an address of a person? */
static bool is_address(const char *name)
{
    static const char *const names[] = {"address", "envelope_from", "recipient", "original_recipient"};
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

static void put_address(struct cq_buf *out, const char *name, const char *address, enum event_pii pii)
{
    char domain_name[64];
    if (pii == EVENT_PII_FULL)
        put_text(out, name, address);
    snprintf(domain_name, sizeof domain_name, "%s_domain", name);
    if (domain_of(address)[0])
        put_text(out, domain_name, domain_of(address));
}

/* A 64-bit number is a text in JSON: many readers know numbers only up to 2^53 (as proto3's own JSON does it). A number
 * of microseconds whose name says so becomes a time. */
static void put_int64(struct cq_buf *out, const char *name, uint64_t value, bool is_signed)
{
    char text[64];
    size_t len = strlen(name);
    if (len > 8 && len < sizeof text && strcmp(name + len - 8, "_time_us") == 0) {
        snprintf(text, sizeof text, "%.*s", (int)len - 3, name);
        put_time(out, text, value);
        return;
    }
    put_name(out, name);
    if (is_signed)
        cq_buf_printf(out, "\"%lld\"", (long long)value);
    else
        cq_buf_printf(out, "\"%llu\"", (unsigned long long)value);
}

static void put_message(struct cq_buf *out, const ProtobufCMessage *message, enum event_pii pii);

static void put_field(struct cq_buf *out, const ProtobufCFieldDescriptor *field, const void *at, enum event_pii pii)
{
    const char *text, *name = told_name(field->name);
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        if (*(const uint32_t *)at) {
            put_name(out, name);
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
            put_hex(out, name, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_STRING:
        text = *(const char *const *)at;
        if (!text || !text[0])
            break;
        if (is_address(name))
            put_address(out, name, text, pii);
        else
            put_text(out, name, text);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (*(const ProtobufCMessage *const *)at)
            put_message(out, *(const ProtobufCMessage *const *)at, pii);
        break;
    default: /* no outbox message has others; a test walks all descriptors */
        break;
    }
}

/* The fields that are set, those of inner messages beside the outer ones. */
static void put_message(struct cq_buf *out, const ProtobufCMessage *message, enum event_pii pii)
{
    const ProtobufCMessageDescriptor *d = message->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++)
        put_field(out, &d->fields[i], (const uint8_t *)message + d->fields[i].offset, pii);
}

/* ---- The event ---- */

static const char *key_of(const Chasqui__Outbox__Event *event, const struct event_row *row, struct cq_pool *pool)
{
    const Chasqui__Mail__DeliveryEvent *envelope = event->delivery ? event->delivery->envelope : NULL;
    if (row && row->key == EVENT_KEY_MESSAGE && envelope && envelope->message_id[0])
        return envelope->message_id;
    char *hex = cq_pool_alloc(pool, CQ_HEX64_SIZE);
    cq_hex_u64(event->account, hex);
    return hex;
}

static void put_data(struct cq_buf *out, const struct event_source *source, const struct event_place *place,
                     const Chasqui__Outbox__Event *event, const char *id)
{
    cq_buf_byte(out, '{');
    put_text(out, "event_id", id);
    put_time(out, "event_time", event->time);
    put_text(out, "cluster", source->cluster);
    put_text(out, "dc", source->dc);
    put_text(out, "node_id", source->node);
    put_text(out, "role", "storage");
    put_text(out, "software_version", source->version);
    put_name(out, "shard");
    cq_buf_u64(out, place->shard);
    put_hex(out, "account_id", event->account);
    if (event->address[0])
        put_address(out, "address", event->address, source->pii);
    if (event->delivery)
        put_message(out, &event->delivery->base, source->pii);
    if (event->mailbox)
        put_message(out, &event->mailbox->base, source->pii);
    if (event->quota)
        put_message(out, &event->quota->base, source->pii);
    cq_buf_byte(out, '}');
}

static void put_event(struct cq_buf *out, const struct event_source *source, const struct event_place *place,
                      const Chasqui__Outbox__Event *event, const struct event_row *row, const char *id, const char *key)
{
    const char *stream = row ? event_stream_names[row->stream] : event_stream_names[EVENT_MAILBOX];
    cq_buf_byte(out, '{');
    put_text(out, "specversion", "1.0");
    put_text(out, "id", id);
    put_name(out, "source");
    cq_buf_printf(out, "\"chasqui://%s/shard/%u\"", source->cluster, place->shard);
    put_name(out, "type");
    if (row)
        cq_buf_printf(out, "\"%s.%s.%s.v1\"", source->type_prefix, stream, row->name);
    else
        cq_buf_printf(out, "\"%s.%s.unknown.%d.v1\"", source->type_prefix, stream, (int)event->type);
    put_time(out, "time", event->time);
    put_text(out, "subject", key);
    put_text(out, "datacontenttype", "application/json");
    put_name(out, "dataschema");
    cq_buf_printf(out, "\"chasqui:%s.v1\"", stream);
    put_text(out, "partitionkey", key);
    put_name(out, "sequence");
    cq_buf_printf(out, "\"%020llu.%010u\"", (unsigned long long)place->index, place->sub_index);
    put_name(out, "data");
    put_data(out, source, place, event, id);
    cq_buf_byte(out, '}');
}

enum cq_rc event_encode(const struct event_source *source, const struct event_place *place, struct cq_slice outbox,
                        struct cq_pool *pool, struct event_record *record_r, const struct event_row **row_r,
                        struct cq_err *err)
{
    Chasqui__Outbox__Event *event = chasqui__outbox__event__unpack(NULL, outbox.len, outbox.data);
    if (!event)
        return CQ_FAIL(err, CQ_E_PROTO, "shard %u: the event at %llu.%u does not decode", place->shard,
                       (unsigned long long)place->index, place->sub_index);
    const struct event_row *row = event_row_find((int)event->type);
    struct cq_buf out;
    char *id = cq_pool_alloc(pool, EVENT_ID_SIZE);
    cq_buf_init(&out, EVENT_MAX);
    event_id(source->cluster, place, id);
    const char *key = key_of(event, row, pool);
    put_event(&out, source, place, event, row, id, key);
    *record_r = (struct event_record){
        .stream = cq_slice_cstr(event_stream_names[row ? row->stream : EVENT_MAILBOX]),
        .key = cq_pool_slice(pool, cq_slice_cstr(key)),
        .id = cq_slice_cstr(id),
        .json = cq_pool_slice(pool, cq_buf_slice(&out)),
    };
    if (row_r)
        *row_r = row;
    bool ok = cq_buf_ok(&out);
    cq_buf_fini(&out);
    chasqui__outbox__event__free_unpacked(event, NULL);
    return ok ? CQ_OK : CQ_FAIL(err, CQ_E_TOO_BIG, "shard %u: an event over %u bytes", place->shard, EVENT_MAX);
}
