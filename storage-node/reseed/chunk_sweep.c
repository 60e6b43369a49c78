#include "reseed/chunk_sweep.h"

#include "base/cq_mem.h"

/* Keys as numbers: big-endian, all of one length. */

bool chunk_key_next(uint8_t key[static CHUNK_KEY_SIZE])
{
    for (size_t i = CHUNK_KEY_SIZE; i-- > 0;)
        if (++key[i])
            return true;
    return false;
}

static void key_middle(const uint8_t a[static CHUNK_KEY_SIZE], const uint8_t b[static CHUNK_KEY_SIZE],
                       uint8_t middle_r[static CHUNK_KEY_SIZE])
{
    unsigned sum[CHUNK_KEY_SIZE + 1] = {0}, carry = 0;
    for (size_t i = CHUNK_KEY_SIZE; i-- > 0;) {
        unsigned digit = (unsigned)a[i] + b[i] + carry;
        sum[i + 1] = digit & 0xff;
        carry = digit >> 8;
    }
    sum[0] = carry;
    for (size_t i = 0; i < CHUNK_KEY_SIZE; i++)
        middle_r[i] = (uint8_t)((sum[i] & 1) << 7 | sum[i + 1] >> 1);
}

void chunk_sweep_begin(struct chunk_sweep *sweep, struct store *store)
{
    *sweep = (struct chunk_sweep){.store = store};
}

/* Does the first chunk from this key on read? There may be none. */
static enum cq_rc try_at(struct store *store, struct store_snapshot *snapshot, const uint8_t key[static CHUNK_KEY_SIZE])
{
    struct store_iter *iter =
        store_iter_new(store, snapshot, STORE_CHUNK, cq_slice_of(key, CHUNK_KEY_SIZE), CQ_SLICE_NONE);
    enum cq_rc rc = store_iter_next(iter);
    store_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* An iterator does not say the key whose value it cannot read. It is the largest one from which on nothing reads while
 * from the next one on something does, or nothing is. */
enum cq_rc chunk_find_damaged(struct store *store, struct store_snapshot *snapshot,
                              const uint8_t from[static CHUNK_KEY_SIZE], uint8_t key_r[static CHUNK_KEY_SIZE])
{
    uint8_t low[CHUNK_KEY_SIZE], high[CHUNK_KEY_SIZE], middle[CHUNK_KEY_SIZE];
    memcpy(low, from, sizeof low); /* does not read */
    memset(high, 0xff, sizeof high);
    enum cq_rc rc = try_at(store, snapshot, high);
    if (rc != CQ_OK)
        return CQ_E_IO;
    for (;;) {
        key_middle(low, high, middle);
        if (memcmp(middle, low, sizeof low) == 0)
            break;
        rc = try_at(store, snapshot, middle);
        if (rc != CQ_OK && rc != CQ_E_CORRUPT)
            return rc;
        memcpy(rc == CQ_OK ? high : low, middle, sizeof middle);
    }
    memcpy(key_r, low, sizeof low);
    return CQ_OK;
}

enum cq_rc chunk_sweep_step(struct chunk_sweep *s, size_t bytes_max, struct chunk_id *damaged_r, struct cq_err *err)
{
    struct store_iter *iter =
        store_iter_new(s->store, NULL, STORE_CHUNK, cq_slice_of(s->at, sizeof s->at), CQ_SLICE_NONE);
    size_t bytes = 0;
    enum cq_rc rc;
    while ((rc = store_iter_next(iter)) == CQ_OK && bytes < bytes_max) {
        struct cq_slice key = store_iter_key(iter);
        bytes += key.len + store_iter_value(iter).len;
        s->chunks++;
        if (key.len == CHUNK_KEY_SIZE)
            memcpy(s->at, key.data, key.len);
        s->done = !chunk_key_next(s->at);
    }
    store_iter_free(&iter);
    s->bytes += bytes;
    s->done |= rc == CQ_E_EOF;
    if (rc != CQ_E_CORRUPT)
        return rc == CQ_E_EOF ? CQ_OK : rc == CQ_OK ? rc : CQ_FAIL(err, rc, "chunks cannot be read");
    uint8_t key[CHUNK_KEY_SIZE];
    rc = chunk_find_damaged(s->store, NULL, s->at, key);
    if (rc != CQ_OK || memcmp(key, s->last, sizeof key) == 0)
        return CQ_FAIL(err, CQ_E_IO, "the table of chunks does not read");
    memcpy(s->last, key, sizeof key);
    chunk_key_parse(cq_slice_of(key, sizeof key), damaged_r);
    return CQ_E_CORRUPT;
}
