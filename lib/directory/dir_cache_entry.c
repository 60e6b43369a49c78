#include "directory/dir_cache_private.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define ENTRY_POOL 256

struct cache_key cache_key_make(enum dir_row_kind kind, uint64_t number, struct cq_slice text)
{
    struct cache_key key = {.kind = kind};
    if (text.len > CACHE_TEXT_MAX)
        return key;
    key.bytes[0] = (uint8_t)kind;
    cq_put_be64(key.bytes + 1, number);
    if (text.len)
        memcpy(key.bytes + 9, text.data, text.len);
    key.len = 9 + (unsigned)text.len;
    return key;
}

/* ---- Values ---- */

static void *copy_domain(struct cq_pool *pool, const void *from)
{
    struct dir_domain *to = cq_pool_dup(pool, from, sizeof *to);
    to->name = cq_pool_slice(pool, to->name);
    to->alias_of_name = cq_pool_slice(pool, to->alias_of_name);
    return to;
}

static void *copy_address(struct cq_pool *pool, const void *from)
{
    struct dir_address_row *to = cq_pool_dup(pool, from, sizeof *to);
    to->address = cq_pool_slice(pool, to->address);
    to->targets = cq_pool_dup(pool, to->targets, to->target_count * sizeof *to->targets);
    return to;
}

static void *copy_first(struct cq_pool *pool, const void *from)
{
    return cq_pool_dup(pool, from, sizeof(uint64_t));
}

static void *copy_account(struct cq_pool *pool, const void *from)
{
    struct dir_account *to = cq_pool_dup(pool, from, sizeof *to);
    to->address = cq_pool_slice(pool, to->address);
    to->home_dc = cq_pool_slice(pool, to->home_dc);
    return to;
}

static void *copy_credentials(struct cq_pool *pool, const void *from)
{
    struct dir_row_credentials *to = cq_pool_dup(pool, from, sizeof *to);
    to->rows = cq_pool_dup(pool, to->count ? (const void *)to->rows : "", to->count * sizeof *to->rows);
    for (size_t i = 0; i < to->count; i++) {
        to->rows[i].prefix = cq_pool_slice(pool, to->rows[i].prefix);
        to->rows[i].hash = cq_pool_slice(pool, to->rows[i].hash);
        to->rows[i].label = cq_pool_slice(pool, to->rows[i].label);
    }
    return to;
}

static const struct {
    void *(*copy)(struct cq_pool *pool, const void *from);
    size_t size;
} values[DIR_ROW_KINDS] = {
    [DIR_ROW_DOMAIN] = {copy_domain, sizeof(struct dir_domain)},
    [DIR_ROW_ADDRESS] = {copy_address, sizeof(struct dir_address_row)},
    [DIR_ROW_FIRST] = {copy_first, sizeof(uint64_t)},
    [DIR_ROW_ACCOUNT] = {copy_account, sizeof(struct dir_account)},
    [DIR_ROW_CREDENTIALS] = {copy_credentials, sizeof(struct dir_row_credentials)},
};

void cache_copy(const struct cache_entry *entry, struct cq_pool *pool, void *out)
{
    memcpy(out, values[entry->key.kind].copy(pool, entry->value), values[entry->key.kind].size);
}

/* ---- Entries ---- */

/* Whoever walks goes on with the one after it. */
static void leave_list(struct dir_cache *cache, struct cache_entry *entry)
{
    if (cache->walk == &entry->node)
        cache->walk = entry->node.next;
    cq_list_remove(&entry->node);
}

void cache_drop(struct dir_cache *cache, struct cache_entry *entry)
{
    HASH_DEL(cache->table, entry);
    leave_list(cache, entry);
    cache->count[entry->value != NULL]--;
    cq_pool_free(&entry->pool);
    free(entry);
}

void cache_used(struct dir_cache *cache, struct cache_entry *entry)
{
    leave_list(cache, entry);
    cq_list_push_back(&cache->by_use[entry->value != NULL], &entry->node);
}

struct cache_entry *cache_find(struct dir_cache *cache, const struct cache_key *key)
{
    struct cache_entry *entry = NULL;
    if (key->len)
        HASH_FIND(hh, cache->table, key->bytes, key->len, entry);
    return entry;
}

struct cache_entry *cache_insert(struct dir_cache *cache, const struct cache_key *key, const void *value,
                                 uint64_t read_us, size_t max)
{
    bool found = value != NULL;
    CQ_ASSERT(key->len);
    if (cache->count[found] && cache->count[found] >= max)
        cache_drop(cache, cq_list_entry(cq_list_first(&cache->by_use[found]), struct cache_entry, node));
    struct cache_entry *entry = cq_new(struct cache_entry);
    entry->key = *key;
    entry->pool = cq_pool_new(ENTRY_POOL);
    entry->value = found ? values[key->kind].copy(entry->pool, value) : NULL;
    entry->read_us = read_us;
    cq_list_push_back(&cache->by_use[found], &entry->node);
    HASH_ADD_KEYPTR(hh, cache->table, entry->key.bytes, entry->key.len, entry);
    cache->count[found]++;
    return entry;
}
