#include "base/cq_hash.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <xxhash.h>

/* xxhash wants a pointer even for no bytes. */
static const void *bytes_of(struct cq_slice s)
{
    return s.data ? s.data : (const uint8_t *)"";
}

uint64_t cq_xxh3_64(struct cq_slice s)
{
    return XXH3_64bits(bytes_of(s), s.len);
}

uint64_t cq_xxh3_64_seed(struct cq_slice s, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes_of(s), s.len, seed);
}

static struct cq_hash128 of_xxh(XXH128_hash_t hash)
{
    return (struct cq_hash128){hash.low64, hash.high64};
}

struct cq_hash128 cq_xxh3_128(struct cq_slice s)
{
    return of_xxh(XXH3_128bits(bytes_of(s), s.len));
}

/* The state of XXH3 serves 64 and 128 bits alike: both are the same accumulation with another end. */
struct cq_xxh3 {
    XXH3_state_t *state;
};

struct cq_xxh3 *cq_xxh3_new(void)
{
    struct cq_xxh3 *hash = cq_new(struct cq_xxh3);
    hash->state = XXH3_createState();
    CQ_ASSERT(hash->state);
    cq_xxh3_reset(hash);
    return hash;
}

void cq_xxh3_free(struct cq_xxh3 **hash)
{
    if (!*hash)
        return;
    XXH3_freeState((*hash)->state);
    free(*hash);
    *hash = NULL;
}

void cq_xxh3_reset(struct cq_xxh3 *hash)
{
    XXH3_128bits_reset(hash->state);
}

void cq_xxh3_update(struct cq_xxh3 *hash, struct cq_slice s)
{
    XXH3_128bits_update(hash->state, bytes_of(s), s.len);
}

struct cq_hash128 cq_xxh3_digest128(const struct cq_xxh3 *hash)
{
    return of_xxh(XXH3_128bits_digest(hash->state));
}

uint64_t cq_xxh3_digest64(const struct cq_xxh3 *hash)
{
    return XXH3_64bits_digest(hash->state);
}

static uint8_t sip_key[crypto_shorthash_KEYBYTES];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void make_sip_key(void)
{
    cq_rand_bytes(sip_key, sizeof sip_key);
}

uint64_t cq_siphash(struct cq_slice s)
{
    uint64_t value;
    pthread_once(&sip_once, make_sip_key);
    crypto_shorthash((unsigned char *)&value, bytes_of(s), s.len, sip_key);
    return value;
}

void cq_hmac_sha256(struct cq_slice key, struct cq_slice message, uint8_t out[static CQ_HMAC_SIZE])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, bytes_of(key), key.len);
    crypto_auth_hmacsha256_update(&state, bytes_of(message), message.len);
    crypto_auth_hmacsha256_final(&state, out);
    cq_wipe(&state, sizeof state);
}
