#include "state/state_key.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"

void state_keyspace_init(struct state_keyspace *space, uint32_t group, uint32_t generation)
{
    cq_put_be32(space->prefix, group);
    cq_put_be32(space->prefix + 4, generation);
}

void key_begin(struct state_key *key, const struct state_keyspace *space, uint64_t account, enum key_kind kind)
{
    memcpy(key->at, space->prefix, STATE_KEY_PREFIX);
    cq_put_be64(key->at + STATE_KEY_PREFIX, account);
    key->at[STATE_KEY_HEAD - 1] = (uint8_t)kind;
    key->len = STATE_KEY_HEAD;
}

void key_bytes(struct state_key *key, const void *bytes, size_t len)
{
    CQ_ASSERT(len <= sizeof key->at - key->len);
    if (len)
        memcpy(key->at + key->len, bytes, len);
    key->len += len;
}

void key_u8(struct state_key *key, uint8_t value)
{
    key_bytes(key, &value, 1);
}

void key_u32(struct state_key *key, uint32_t value)
{
    uint8_t bytes[4];
    cq_put_be32(bytes, value);
    key_bytes(key, bytes, sizeof bytes);
}

void key_u64(struct state_key *key, uint64_t value)
{
    uint8_t bytes[8];
    cq_put_be64(bytes, value);
    key_bytes(key, bytes, sizeof bytes);
}

void key_after_prefix(const struct state_key *prefix, struct state_key *after_r)
{
    memcpy(after_r->at, prefix->at, prefix->len);
    after_r->len = prefix->len;
    while (after_r->len && after_r->at[after_r->len - 1] == 0xff)
        after_r->len--;
    if (after_r->len)
        after_r->at[after_r->len - 1]++;
}
