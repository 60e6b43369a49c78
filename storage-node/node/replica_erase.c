#include "node/replica_record.h"
#include "state/state_key.h"

static void put_range(struct store_batch *batch, enum store_family family, const void *prefix, size_t len)
{
    struct state_key from = {.len = 0}, to;
    key_bytes(&from, prefix, len);
    key_after_prefix(&from, &to);
    store_batch_delete_range(batch, family, key_slice(&from), key_slice(&to));
}

static void put_kind(struct store_batch *batch, char kind, uint32_t group)
{
    struct state_key from = {.len = 0}, to;
    key_u8(&from, (uint8_t)kind);
    key_u32(&from, group);
    key_after_prefix(&from, &to);
    store_batch_delete_range(batch, STORE_LOCAL, key_slice(&from), key_slice(&to));
}

void replica_erase(struct store_batch *batch, const struct replica_record *record)
{
    struct state_key group = {.len = 0}, chunks = {.len = 0};
    key_u32(&group, record->group);
    key_u64(&chunks, record->incarnation);
    put_kind(batch, 'g', record->group);
    put_kind(batch, 'r', record->group);
    put_kind(batch, 'w', record->group);
    put_kind(batch, 'a', record->group);
    put_kind(batch, 'd', record->group);
    put_range(batch, STORE_LOG, group.at, group.len);
    put_range(batch, STORE_STATE, group.at, group.len);
    put_range(batch, STORE_CHUNK, chunks.at, chunks.len);
}
