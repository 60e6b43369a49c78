#include "reseed/reseed_record.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"

#define KEY_KIND 'r'
#define KEY_SIZE 5
#define VERSION 1
#define FIXED 62 /* bytes before the cursor */
#define TAIL 8   /* checksum */
#define VALUE_MAX (FIXED + RESEED_KEY_MAX + 1 + TAIL)

static void make_key(uint32_t group, uint8_t key_r[static KEY_SIZE])
{
    key_r[0] = KEY_KIND;
    cq_put_be32(key_r + 1, group);
}

/* The checksum covers the key too: a record under another group's key is not believed. */
static uint64_t checksum(uint32_t group, const uint8_t *value, size_t len)
{
    uint8_t all[KEY_SIZE + VALUE_MAX];
    make_key(group, all);
    memcpy(all + KEY_SIZE, value, len);
    return cq_xxh3_64(cq_slice_of(all, KEY_SIZE + len));
}

void reseed_record_put(struct store_batch *batch, const struct reseed_record *r)
{
    uint8_t key[KEY_SIZE], value[VALUE_MAX] = {0};
    make_key(r->group, key);
    cq_put_be32(value, VERSION);
    value[4] = (uint8_t)r->phase;
    value[5] = (uint8_t)r->suspect;
    cq_put_be32(value + 8, r->old_generation);
    cq_put_be32(value + 12, r->generation);
    cq_put_be64(value + 16, r->replica);
    cq_put_be64(value + 24, r->base_index);
    cq_put_be64(value + 32, r->base_term);
    cq_put_be64(value + 40, r->index);
    cq_put_be64(value + 48, r->term);
    cq_put_be16(value + 56, (uint16_t)r->cursor.len);
    memcpy(value + FIXED, r->cursor.at, r->cursor.len);
    size_t len = FIXED + r->cursor.len;
    cq_put_be64(value + len, checksum(r->group, value, len));
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), cq_slice_of(value, len + TAIL));
}

void reseed_record_delete(struct store_batch *batch, uint32_t group)
{
    uint8_t key[KEY_SIZE];
    make_key(group, key);
    store_batch_delete(batch, STORE_LOCAL, cq_slice_of(key, sizeof key));
}

static enum cq_rc parse(uint32_t group, struct cq_slice value, struct reseed_record *r, struct cq_err *err)
{
    const uint8_t *at = value.data;
    if (value.len >= 4 && cq_get_be32(at) > VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "re-seeding record of format %u", cq_get_be32(at));
    size_t cursor = value.len >= FIXED + TAIL ? cq_get_be16(at + 56) : 0;
    if (value.len < FIXED + TAIL || cursor > RESEED_KEY_MAX + 1 || value.len != FIXED + cursor + TAIL ||
        cq_get_be64(at + FIXED + cursor) != checksum(group, at, FIXED + cursor) || at[4] < RESEED_CHUNKS ||
        at[4] > RESEED_CLEANUP || at[5] > SUSPECT_PARTS)
        return CQ_FAIL(err, CQ_E_CORRUPT, "the re-seeding record of group %u is damaged", group);
    *r = (struct reseed_record){.group = group,
                                .phase = (enum reseed_phase)at[4],
                                .suspect = (enum reseed_suspect)at[5],
                                .old_generation = cq_get_be32(at + 8),
                                .generation = cq_get_be32(at + 12),
                                .replica = cq_get_be64(at + 16),
                                .base_index = cq_get_be64(at + 24),
                                .base_term = cq_get_be64(at + 32),
                                .index = cq_get_be64(at + 40),
                                .term = cq_get_be64(at + 48)};
    return reseed_cursor_set(&r->cursor, cq_slice_of(at + FIXED, cursor), err);
}

enum cq_rc reseed_record_read(struct store *store, uint32_t group, struct reseed_record *record_r, struct cq_err *err)
{
    uint8_t key[KEY_SIZE];
    struct cq_buf value;
    make_key(group, key);
    cq_buf_init(&value, VALUE_MAX);
    enum cq_rc rc = store_get(store, NULL, STORE_LOCAL, cq_slice_of(key, sizeof key), &value, err);
    if (rc == CQ_OK)
        rc = parse(group, cq_buf_slice(&value), record_r, err);
    cq_buf_fini(&value);
    return rc == CQ_E_LIMIT ? CQ_E_CORRUPT : rc;
}
