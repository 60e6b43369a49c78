#include "directory/auth_private.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_rand.h"

#include <stdlib.h>
#include <uthash.h>

#define SECRET_MAX (3 * AUTH_PASSWORD_MAX) /* NFC makes UTF-8 at most three times as long (UAX #15, section 12) */

struct auth_cache_entry {
    struct auth_cache_tag tag;
    uint64_t until_us;
    struct auth_cache_entry *newer, *older;
    UT_hash_handle hh;
};

void auth_cache_init(struct auth_cache *cache, size_t max, uint64_t ttl_us)
{
    *cache = (struct auth_cache){.max = max, .ttl_us = ttl_us};
    pthread_mutex_init(&cache->lock, NULL);
    cq_rand_bytes(cache->key, sizeof cache->key);
}

static void unlink_entry(struct auth_cache *cache, struct auth_cache_entry *entry)
{
    if (entry->newer)
        entry->newer->older = entry->older;
    else
        cache->newest = entry->older;
    if (entry->older)
        entry->older->newer = entry->newer;
    else
        cache->oldest = entry->newer;
    HASH_DEL(cache->table, entry);
    cache->count--;
    free(entry);
}

void auth_cache_fini(struct auth_cache *cache)
{
    while (cache->oldest)
        unlink_entry(cache, cache->oldest);
    cq_wipe(cache->key, sizeof cache->key);
    pthread_mutex_destroy(&cache->lock);
}

struct auth_cache_tag auth_cache_tag(const struct auth_cache *cache, const struct dir_credential *credential,
                                     enum dir_service service, struct cq_slice password)
{
    struct auth_cache_tag tag;
    uint8_t message[40 + SECRET_MAX];
    CQ_ASSERT(password.len <= SECRET_MAX);
    cq_put_be64(message, credential->account_id);
    cq_put_be64(message + 8, credential->id);
    cq_put_be64(message + 16, credential->version);
    cq_put_be64(message + 24, (uint64_t)service);
    cq_put_be64(message + 32, password.len);
    if (password.len)
        memcpy(message + 40, password.data, password.len);
    cq_hmac_sha256(cq_slice_of(cache->key, sizeof cache->key), cq_slice_of(message, 40 + password.len), tag.bytes);
    cq_wipe(message, sizeof message);
    return tag;
}

bool auth_cache_has(struct auth_cache *cache, const struct auth_cache_tag *tag, uint64_t now_us)
{
    struct auth_cache_entry *entry;
    pthread_mutex_lock(&cache->lock);
    HASH_FIND(hh, cache->table, tag, sizeof *tag, entry);
    bool found = entry && now_us < entry->until_us;
    if (entry && !found)
        unlink_entry(cache, entry);
    pthread_mutex_unlock(&cache->lock);
    return found;
}

/* The oldest verdict makes room; a verdict is not renewed by its use, so none is older than the time to live. */
void auth_cache_add(struct auth_cache *cache, const struct auth_cache_tag *tag, uint64_t now_us)
{
    struct auth_cache_entry *entry;
    if (cache->max == 0 || cache->ttl_us == 0)
        return;
    pthread_mutex_lock(&cache->lock);
    HASH_FIND(hh, cache->table, tag, sizeof *tag, entry);
    if (entry)
        unlink_entry(cache, entry);
    if (cache->count >= cache->max)
        unlink_entry(cache, cache->oldest);
    entry = cq_new(struct auth_cache_entry);
    entry->tag = *tag;
    entry->until_us = now_us + cache->ttl_us;
    entry->older = cache->newest;
    if (cache->newest)
        cache->newest->newer = entry;
    else
        cache->oldest = entry;
    cache->newest = entry;
    HASH_ADD(hh, cache->table, tag, sizeof entry->tag, entry);
    cache->count++;
    pthread_mutex_unlock(&cache->lock);
}
