#include "events/event_encode.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>

#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_hex.h"
#include "base/cq_time.h"
#include "events/event_data.h"
#include "events/event_json.h"
#include "proto/edge.pb-c.h"
#include "proto/outbox.pb-c.h"

#define EVENT_MAX (256u << 10) /* bytes of an encoded event; texts of records are bounded by who writes them */

/* ---- Ids and hashes ---- */

static void put_uuid(const uint8_t id[static EVENT_UUID_SIZE], char text_r[static EVENT_ID_SIZE])
{
    size_t at = 0;
    for (size_t i = 0; i < EVENT_UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text_r[at++] = '-';
        snprintf(text_r + at, 3, "%02x", id[i]);
        at += 2;
    }
}

static void set_version(uint8_t id[static EVENT_UUID_SIZE], uint8_t version)
{
    id[6] = (uint8_t)((id[6] & 0x0f) | version << 4);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

void event_id(const char *cluster, const struct event_place *place, char id_r[static EVENT_ID_SIZE])
{
    uint8_t seed[64 + 16 + 4] = {0}, id[EVENT_UUID_SIZE];
    size_t len = strlen(cluster);
    memcpy(seed, cluster, len < 64 ? len : 64);
    cq_put_be32(seed + 64, place->shard);
    cq_put_be64(seed + 68, place->index);
    cq_put_be32(seed + 76, place->sub_index);
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(seed, sizeof seed));
    cq_put_be64(id, hash.high);
    cq_put_be64(id + 8, hash.low);
    set_version(id, 8);
    put_uuid(id, id_r);
}

void event_uuid7(uint64_t ms, const uint8_t random[static EVENT_UUID_SIZE], uint8_t id_r[static EVENT_UUID_SIZE])
{
    memcpy(id_r, random, EVENT_UUID_SIZE);
    for (size_t i = 0; i < 6; i++)
        id_r[i] = (uint8_t)(ms >> (40 - 8 * i));
    set_version(id_r, 7);
}

void event_hash(struct cq_slice key, struct cq_slice text, char hash_r[static EVENT_HASH_SIZE])
{
    crypto_auth_hmacsha256_state state;
    uint8_t hash[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_init(&state, key.data, key.len);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)tolower(text.data[i]);
        crypto_auth_hmacsha256_update(&state, &c, 1);
    }
    crypto_auth_hmacsha256_final(&state, hash);
    for (size_t i = 0; i < (EVENT_HASH_SIZE - 1) / 2; i++)
        snprintf(hash_r + 2 * i, 3, "%02x", hash[i]);
}

/* ---- The envelope ---- */

struct envelope {
    const struct event_source *source;
    const struct event_row *row; /* NULL: unknown */
    int type;
    uint64_t time_us;
    const char *id, *key, *origin, *sequence; /* in the pool */
};

static enum event_stream stream_of(const struct envelope *e)
{
    return e->row ? e->row->stream : EVENT_MAILBOX;
}

static const char *type_of(const struct envelope *e, struct cq_pool *pool)
{
    const char *stream = event_stream_names[stream_of(e)];
    if (e->row)
        return cq_pool_printf(pool, "%s.%s.%s.v1", e->source->type_prefix, stream, e->row->name);
    return cq_pool_printf(pool, "%s.%s.unknown.%d.v1", e->source->type_prefix, stream, e->type);
}

static struct cq_slice time_text(uint64_t us, struct cq_pool *pool)
{
    char text[CQ_RFC3339_SIZE];
    cq_time_rfc3339(us, text);
    return cq_pool_slice(pool, cq_slice_cstr(text));
}

static void put_attributes(struct cq_buf *out, const struct envelope *e, const struct event_record *record)
{
    event_json_text(out, "specversion", "1.0");
    event_json_text(out, "id", e->id);
    event_json_text(out, "source", e->origin);
    event_json_text(out, "type", (const char *)record->type.data);
    event_json_time(out, "time", e->time_us);
    event_json_text(out, "subject", e->key);
    event_json_text(out, "datacontenttype", "application/json");
    event_json_text(out, "dataschema", (const char *)record->dataschema.data);
    event_json_text(out, "partitionkey", e->key);
    event_json_text(out, "sequence", e->sequence);
}

static void put_common(struct event_data *data, const struct envelope *e)
{
    event_data_text(data, "event_id", e->id);
    event_data_time(data, "event_time", e->time_us);
    event_data_text(data, "cluster", e->source->cluster);
    event_data_text(data, "dc", e->source->dc);
    event_data_text(data, "node_id", e->source->node);
    event_data_text(data, "role", e->source->role);
    event_data_text(data, "software_version", e->source->version);
}

/* Everything before the data's own fields. `out` is new. */
static void begin(struct event_data *data, struct cq_buf *out, const struct envelope *e, struct cq_pool *pool,
                  struct event_record *record_r)
{
    const char *stream = event_stream_names[stream_of(e)];
    *record_r = (struct event_record){
        .stream = cq_slice_cstr(stream),
        .type = cq_slice_cstr(type_of(e, pool)),
        .key = cq_slice_cstr(e->key),
        .id = cq_slice_cstr(e->id),
        .source = cq_slice_cstr(e->origin),
        .time = time_text(e->time_us, pool),
        .dataschema = cq_slice_cstr(cq_pool_printf(pool, "chasqui:%s.v1", stream)),
        .sequence = cq_slice_cstr(e->sequence),
    };
    cq_buf_init(out, EVENT_MAX);
    cq_buf_byte(out, '{');
    put_attributes(out, e, record_r);
    event_json_name(out, "data");
    record_r->data.len = out->len; /* where it begins; end() makes it a slice */
    cq_buf_byte(out, '{');
    event_data_begin(data, e->source, stream_of(e), out, pool);
    put_common(data, e);
}

static enum cq_rc end(struct event_data *data, struct event_record *record, struct cq_err *err)
{
    struct cq_buf *out = data->json;
    cq_buf_cstr(out, "}}");
    record->json = cq_pool_slice(data->pool, cq_buf_slice(out));
    record->data = cq_slice_sub(record->json, record->data.len, record->json.len - record->data.len - 1);
    record->protobuf = event_data_pack(data);
    if (data->message)
        record->protobuf_schema =
            cq_slice_cstr(cq_pool_printf(data->pool, "chasqui:%s", data->message->descriptor->name));
    bool ok = cq_buf_ok(out);
    cq_buf_fini(out);
    return ok ? CQ_OK
              : CQ_FAIL(err, CQ_E_TOO_BIG, "%.*s: an event over %u bytes", CQ_SLICE_ARG(record->source), EVENT_MAX);
}

/* ---- Of the outbox ---- */

static const char *hex_key(uint64_t account, struct cq_pool *pool)
{
    char *hex = cq_pool_alloc(pool, CQ_HEX64_SIZE);
    cq_hex_u64(account, hex);
    return hex;
}

static const char *key_of(const Chasqui__Outbox__Event *event, const struct event_row *row, struct cq_pool *pool)
{
    const Chasqui__Mail__DeliveryEvent *envelope = event->delivery ? event->delivery->envelope : NULL;
    if (row && row->key == EVENT_KEY_MESSAGE && envelope && envelope->message_id[0])
        return cq_pool_cstr(pool, cq_slice_cstr(envelope->message_id));
    return hex_key(event->account, pool);
}

static void put_outbox_data(struct event_data *data, const struct event_place *place,
                            const Chasqui__Outbox__Event *event)
{
    event_data_u32(data, "shard", place->shard);
    event_data_hex(data, "account_id", event->account);
    event_data_address(data, "address", event->address);
    event_data_fields(data, (const ProtobufCMessage *)event->delivery);
    event_data_fields(data, (const ProtobufCMessage *)event->mailbox);
    event_data_fields(data, (const ProtobufCMessage *)event->quota);
    event_data_fields(data, (const ProtobufCMessage *)event->gap);
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
    char *id = cq_pool_alloc(pool, EVENT_ID_SIZE);
    event_id(source->cluster, place, id);
    const struct envelope e = {
        .source = source,
        .row = row,
        .type = (int)event->type,
        .time_us = event->time,
        .id = id,
        .key = key_of(event, row, pool),
        .origin = cq_pool_printf(pool, "chasqui://%s/shard/%u", source->cluster, place->shard),
        .sequence = cq_pool_printf(pool, "%020llu.%010u", (unsigned long long)place->index, place->sub_index),
    };
    struct cq_buf out;
    struct event_data data;
    begin(&data, &out, &e, pool, record_r);
    put_outbox_data(&data, place, event);
    chasqui__outbox__event__free_unpacked(event, NULL);
    if (row_r)
        *row_r = row;
    return end(&data, record_r, err);
}

/* ---- Of a front-end ---- */

static void put_edge_data(struct event_data *data, const Chasqui__Edge__Event *event)
{
    if (event->account)
        event_data_hex(data, "account_id", event->account);
    event_data_address(data, "address", event->address);
    event_data_fields(data, (const ProtobufCMessage *)event->session);
    event_data_fields(data, (const ProtobufCMessage *)event->auth);
    event_data_fields(data, (const ProtobufCMessage *)event->rejection);
    event_data_fields(data, (const ProtobufCMessage *)event->end);
    event_data_fields(data, (const ProtobufCMessage *)event->limit);
}

enum cq_rc event_encode_edge(const struct event_source *source, const struct event_stamp *stamp, struct cq_slice packed,
                             struct cq_pool *pool, struct event_record *record_r, const struct event_row **row_r,
                             struct cq_err *err)
{
    Chasqui__Edge__Event *event = chasqui__edge__event__unpack(NULL, packed.len, packed.data);
    if (!event)
        return CQ_FAIL(err, CQ_E_PROTO, "the event %llu does not decode", (unsigned long long)stamp->number);
    const struct event_row *row = event_row_find((int)event->type);
    char *id = cq_pool_alloc(pool, EVENT_ID_SIZE);
    put_uuid(stamp->id, id);
    const struct envelope e = {
        .source = source,
        .row = row,
        .type = (int)event->type,
        .time_us = event->time,
        .id = id,
        .key = event->key[0] ? cq_pool_cstr(pool, cq_slice_cstr(event->key)) : hex_key(event->account, pool),
        .origin = cq_pool_printf(pool, "chasqui://%s/%s/%s/%llu", source->cluster, source->role, source->node,
                                 (unsigned long long)source->started_us),
        .sequence = cq_pool_printf(pool, "%020llu", (unsigned long long)stamp->number),
    };
    struct cq_buf out;
    struct event_data data;
    begin(&data, &out, &e, pool, record_r);
    put_edge_data(&data, event);
    chasqui__edge__event__free_unpacked(event, NULL);
    if (row_r)
        *row_r = row;
    return end(&data, record_r, err);
}
