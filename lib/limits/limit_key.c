#include "limits/limit_key.h"

#include "base/cq_endian.h"
#include "base/cq_rand.h"

#include <pthread.h>
#include <sodium.h>

static uint8_t secret[crypto_generichash_KEYBYTES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
    cq_rand_bytes(secret, sizeof secret);
}

struct limit_key limit_key_of(uint32_t kind, struct cq_slice key)
{
    struct limit_key hash;
    uint8_t head[4];
    crypto_generichash_state state;
    pthread_once(&once, make_secret);
    cq_put_be32(head, kind);
    crypto_generichash_init(&state, secret, sizeof secret, sizeof hash.bytes);
    crypto_generichash_update(&state, head, sizeof head);
    crypto_generichash_update(&state, key.data ? key.data : head, key.len);
    crypto_generichash_final(&state, hash.bytes, sizeof hash.bytes);
    return hash;
}
