/* Hashes. XXH3 for checksums and placement (fixed for ever: values are stored and compared between nodes);
 * SipHash under a key for tables whose keys strangers choose; HMAC-SHA-256 for tags. */
#ifndef CQ_HASH_H
#define CQ_HASH_H

#include "base/cq_slice.h"

struct cq_hash128 {
    uint64_t low;
    uint64_t high;
};

uint64_t cq_xxh3_64(struct cq_slice s);
uint64_t cq_xxh3_64_seed(struct cq_slice s, uint64_t seed);
struct cq_hash128 cq_xxh3_128(struct cq_slice s);

static inline bool cq_hash128_eq(struct cq_hash128 a, struct cq_hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

/* Over pieces that are not adjacent in memory; the same values as the one-shot function. */
struct cq_xxh3;
struct cq_xxh3 *cq_xxh3_new(void);
void cq_xxh3_free(struct cq_xxh3 **hash);
void cq_xxh3_reset(struct cq_xxh3 *hash);
void cq_xxh3_update(struct cq_xxh3 *hash, struct cq_slice s);
struct cq_hash128 cq_xxh3_digest128(const struct cq_xxh3 *hash);
uint64_t cq_xxh3_digest64(const struct cq_xxh3 *hash);

/* SipHash-2-4 under a random key of this process: for in-memory tables only, values differ at each start. */
uint64_t cq_siphash(struct cq_slice s);

#define CQ_HMAC_SIZE 32
void cq_hmac_sha256(struct cq_slice key, struct cq_slice message, uint8_t out[static CQ_HMAC_SIZE]);

#endif
