#include "node/replica_record.h"

#include "base/cq_endian.h"
#include "base/cq_hash.h"

#define KEY_KIND 'g'
#define KEY_SIZE 5
#define RECORD_VERSION 1
#define RECORD_SIZE 32 /* version u32, generation u32, replica u64, incarnation u64, checksum u64 */

/* The checksum covers the key too: a record under another group's key is not believed. */
static uint64_t checksum(struct cq_slice key, const uint8_t value[static RECORD_SIZE])
{
    uint8_t all[KEY_SIZE + RECORD_SIZE - 8];
    memcpy(all, key.data, KEY_SIZE);
    memcpy(all + KEY_SIZE, value, RECORD_SIZE - 8);
    return cq_xxh3_64(cq_slice_of(all, sizeof all));
}

void replica_record_put(struct store_batch *batch, const struct replica_record *record)
{
    uint8_t key[KEY_SIZE] = {KEY_KIND};
    uint8_t value[RECORD_SIZE];
    cq_put_be32(key + 1, record->group);
    cq_put_be32(value, RECORD_VERSION);
    cq_put_be32(value + 4, record->generation);
    cq_put_be64(value + 8, record->replica);
    cq_put_be64(value + 16, record->incarnation);
    cq_put_be64(value + 24, checksum(cq_slice_of(key, sizeof key), value));
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), cq_slice_of(value, sizeof value));
}

static enum cq_rc parse(struct cq_slice key, struct cq_slice value, struct replica_record *record_r, struct cq_err *err)
{
    if (key.len != KEY_SIZE)
        return CQ_FAIL(err, CQ_E_CORRUPT, "a group record's key of %zu bytes", key.len);
    uint32_t group = cq_get_be32(key.data + 1);
    if (value.len < 4)
        return CQ_FAIL(err, CQ_E_CORRUPT, "the record of group %u is damaged", group);
    uint32_t version = cq_get_be32(value.data);
    if (version > RECORD_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "the record of group %u has format %u; this release knows %d", group, version,
                       RECORD_VERSION);
    if (value.len != RECORD_SIZE || cq_get_be64(value.data + 24) != checksum(key, value.data))
        return CQ_FAIL(err, CQ_E_CORRUPT, "the record of group %u is damaged", group);
    *record_r = (struct replica_record){.group = group,
                                        .generation = cq_get_be32(value.data + 4),
                                        .replica = cq_get_be64(value.data + 8),
                                        .incarnation = cq_get_be64(value.data + 16)};
    return CQ_OK;
}

enum cq_rc replica_records_read(struct store *store, struct replica_record *records_r, size_t max, size_t *count_r,
                                struct cq_err *err)
{
    static const uint8_t from = KEY_KIND, to = KEY_KIND + 1;
    struct store_iter *iter = store_iter_new(store, NULL, STORE_LOCAL, cq_slice_of(&from, 1), cq_slice_of(&to, 1));
    enum cq_rc rc;
    *count_r = 0;
    while ((rc = store_iter_next(iter)) == CQ_OK) {
        if (*count_r == max)
            rc = CQ_FAIL(err, CQ_E_LIMIT, "more than %zu group records", max);
        else
            rc = parse(store_iter_key(iter), store_iter_value(iter), &records_r[*count_r], err);
        if (rc != CQ_OK)
            break;
        (*count_r)++;
    }
    store_iter_free(&iter);
    if (rc == CQ_E_EOF)
        return CQ_OK;
    if (rc == CQ_E_IO)
        CQ_FAIL(err, rc, "the group records cannot be read");
    return rc;
}

/* ---- The floor of ids ---- */

#define FLOOR_SIZE 20 /* version u32, id u64, checksum u64 */
static const uint8_t floor_key = 'i', lost_key = 'l';

static void put_floor(struct store_batch *batch, const uint8_t *key, uint64_t id)
{
    uint8_t value[FLOOR_SIZE];
    cq_put_be32(value, RECORD_VERSION);
    cq_put_be64(value + 4, id);
    cq_put_be64(value + 12, cq_xxh3_64(cq_slice_of(value, 12)));
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, 1), cq_slice_of(value, sizeof value));
}

void replica_floor_put(struct store_batch *batch, uint64_t id)
{
    put_floor(batch, &floor_key, id);
}

void replica_lost_put(struct store_batch *batch, uint64_t id)
{
    put_floor(batch, &lost_key, id);
}

static enum cq_rc parse_floor(struct cq_slice value, uint64_t *id_r, struct cq_err *err)
{
    if (value.len >= 4 && cq_get_be32(value.data) > RECORD_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "the record of made replicas has format %u", cq_get_be32(value.data));
    if (value.len != FLOOR_SIZE || cq_get_be64(value.data + 12) != cq_xxh3_64(cq_slice_of(value.data, 12)))
        return CQ_FAIL(err, CQ_E_CORRUPT, "the record of made replicas is damaged");
    *id_r = cq_get_be64(value.data + 4);
    return CQ_OK;
}

/* Data directories from before there was a record. */
static enum cq_rc largest_here(struct store *store, uint64_t *id_r, struct cq_err *err)
{
    static const uint8_t from = KEY_KIND, to = KEY_KIND + 1;
    struct store_iter *iter = store_iter_new(store, NULL, STORE_LOCAL, cq_slice_of(&from, 1), cq_slice_of(&to, 1));
    enum cq_rc rc;
    *id_r = 0;
    while ((rc = store_iter_next(iter)) == CQ_OK) {
        struct replica_record record;
        rc = parse(store_iter_key(iter), store_iter_value(iter), &record, err);
        if (rc != CQ_OK)
            break;
        if (record.replica > *id_r)
            *id_r = record.replica;
    }
    store_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* CQ_E_NOT_FOUND: there is no such record. */
static enum cq_rc read_floor(struct store *store, const uint8_t *key, uint64_t *id_r, struct cq_err *err)
{
    struct cq_buf value;
    cq_buf_init(&value, FLOOR_SIZE + 1);
    enum cq_rc rc = store_get(store, NULL, STORE_LOCAL, cq_slice_of(key, 1), &value, err);
    if (rc == CQ_OK)
        rc = parse_floor(cq_buf_slice(&value), id_r, err);
    cq_buf_fini(&value);
    return rc == CQ_E_LIMIT ? CQ_E_CORRUPT : rc;
}

enum cq_rc replica_floor_read(struct store *store, uint64_t *id_r, struct cq_err *err)
{
    enum cq_rc rc = read_floor(store, &floor_key, id_r, err);
    return rc == CQ_E_NOT_FOUND ? largest_here(store, id_r, err) : rc;
}

enum cq_rc replica_lost_read(struct store *store, uint64_t *id_r, struct cq_err *err)
{
    enum cq_rc rc = read_floor(store, &lost_key, id_r, err);
    if (rc != CQ_E_NOT_FOUND)
        return rc;
    *id_r = 0;
    return CQ_OK;
}

/* ---- Withheld replicas ---- */

#define WITHHELD_KIND 'w'
#define WITHHELD_SIZE 16 /* version u32, why u8, 3 of 0, checksum u64 */

static void withheld_key(uint32_t group, uint8_t key_r[static KEY_SIZE])
{
    key_r[0] = WITHHELD_KIND;
    cq_put_be32(key_r + 1, group);
}

static uint64_t withheld_checksum(const uint8_t key[static KEY_SIZE], const uint8_t value[static 8])
{
    uint8_t all[KEY_SIZE + 8];
    memcpy(all, key, KEY_SIZE);
    memcpy(all + KEY_SIZE, value, 8);
    return cq_xxh3_64(cq_slice_of(all, sizeof all));
}

void replica_withhold_put(struct store_batch *batch, uint32_t group, enum replica_withheld why)
{
    uint8_t key[KEY_SIZE], value[WITHHELD_SIZE] = {0};
    withheld_key(group, key);
    cq_put_be32(value, RECORD_VERSION);
    value[4] = (uint8_t)why;
    cq_put_be64(value + 8, withheld_checksum(key, value));
    store_batch_put(batch, STORE_LOCAL, cq_slice_of(key, sizeof key), cq_slice_of(value, sizeof value));
}

void replica_withhold_delete(struct store_batch *batch, uint32_t group)
{
    uint8_t key[KEY_SIZE];
    withheld_key(group, key);
    store_batch_delete(batch, STORE_LOCAL, cq_slice_of(key, sizeof key));
}

static enum cq_rc parse_withheld(uint32_t group, struct cq_slice value, enum replica_withheld *why_r,
                                 struct cq_err *err)
{
    uint8_t key[KEY_SIZE];
    withheld_key(group, key);
    if (value.len >= 4 && cq_get_be32(value.data) > RECORD_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "group %u: why its replica is withheld has format %u", group,
                       cq_get_be32(value.data));
    if (value.len != WITHHELD_SIZE || cq_get_be64(value.data + 8) != withheld_checksum(key, value.data) ||
        value.data[4] < REPLICA_FORGETS || value.data[4] > REPLICA_REFUTED)
        return CQ_FAIL(err, CQ_E_CORRUPT, "group %u: why its replica is withheld is damaged", group);
    *why_r = (enum replica_withheld)value.data[4];
    return CQ_OK;
}

enum cq_rc replica_withheld_read(struct store *store, uint32_t group, enum replica_withheld *why_r, struct cq_err *err)
{
    uint8_t key[KEY_SIZE];
    struct cq_buf value;
    withheld_key(group, key);
    cq_buf_init(&value, WITHHELD_SIZE + 1);
    *why_r = REPLICA_KEPT;
    enum cq_rc rc = store_get(store, NULL, STORE_LOCAL, cq_slice_of(key, sizeof key), &value, err);
    if (rc == CQ_OK)
        rc = parse_withheld(group, cq_buf_slice(&value), why_r, err);
    cq_buf_fini(&value);
    return rc == CQ_E_NOT_FOUND ? CQ_OK : rc == CQ_E_LIMIT ? CQ_E_CORRUPT : rc;
}

enum cq_rc replica_withhold_all(struct store *store, struct store_batch *batch, size_t *count_r, struct cq_err *err)
{
    static const uint8_t from = KEY_KIND, to = KEY_KIND + 1;
    struct store_iter *iter = store_iter_new(store, NULL, STORE_LOCAL, cq_slice_of(&from, 1), cq_slice_of(&to, 1));
    enum cq_rc rc;
    *count_r = 0;
    while ((rc = store_iter_next(iter)) == CQ_OK) {
        struct replica_record record;
        rc = parse(store_iter_key(iter), store_iter_value(iter), &record, err);
        if (rc != CQ_OK)
            break;
        replica_withhold_put(batch, record.group, REPLICA_FORGETS);
        (*count_r)++;
    }
    store_iter_free(&iter);
    replica_floor_put(batch, REPLICA_FLOOR_UNKNOWN);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}
