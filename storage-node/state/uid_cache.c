#include "state/uid_cache.h"

#include "base/cq_list.h"

#include <roaring/roaring.h>
#include <stdlib.h>

#define BUCKETS 1024

struct uid_entry {
    struct cq_list bucket, age;
    uint64_t account, mailbox;
    size_t bytes; /* counted in the cache's total */
    roaring_bitmap_t *all, *unseen;
};

struct uid_cache {
    struct cq_list buckets[BUCKETS];
    struct cq_list age; /* most recently used first */
    size_t bytes, bytes_max;
};

struct uid_cache *uid_cache_new(size_t bytes_max)
{
    struct uid_cache *cache = cq_new(struct uid_cache);
    for (size_t i = 0; i < BUCKETS; i++)
        cq_list_init(&cache->buckets[i]);
    cq_list_init(&cache->age);
    cache->bytes_max = bytes_max;
    return cache;
}

static void entry_free(struct uid_cache *cache, struct uid_entry *entry)
{
    cache->bytes -= entry->bytes;
    cq_list_remove(&entry->bucket);
    cq_list_remove(&entry->age);
    roaring_bitmap_free(entry->all);
    roaring_bitmap_free(entry->unseen);
    free(entry);
}

void uid_cache_clear(struct uid_cache *cache)
{
    cq_list_each_safe (&cache->age, node)
        entry_free(cache, cq_list_entry(node, struct uid_entry, age));
}

void uid_cache_free(struct uid_cache **cache)
{
    if (*cache) {
        uid_cache_clear(*cache);
        free(*cache);
    }
    *cache = NULL;
}

static struct cq_list *bucket_of(struct uid_cache *cache, uint64_t account, uint64_t mailbox)
{
    uint64_t mixed = (account ^ mailbox * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    return &cache->buckets[mixed >> 54];
}

static struct uid_entry *lookup(struct uid_cache *cache, uint64_t account, uint64_t mailbox)
{
    cq_list_each (bucket_of(cache, account, mailbox), node) {
        struct uid_entry *entry = cq_list_entry(node, struct uid_entry, bucket);
        if (entry->account == account && entry->mailbox == mailbox)
            return entry;
    }
    return NULL;
}

struct uid_entry *uid_cache_find(struct uid_cache *cache, uint64_t account, uint64_t mailbox)
{
    struct uid_entry *entry = lookup(cache, account, mailbox);
    if (entry) {
        cq_list_remove(&entry->age);
        cq_list_push_front(&cache->age, &entry->age);
    }
    return entry;
}

struct uid_entry *uid_cache_make(struct uid_cache *cache, uint64_t account, uint64_t mailbox)
{
    uid_cache_drop(cache, account, mailbox);
    struct uid_entry *entry = cq_new(struct uid_entry);
    entry->account = account;
    entry->mailbox = mailbox;
    entry->all = roaring_bitmap_create();
    entry->unseen = roaring_bitmap_create();
    cq_list_push_front(bucket_of(cache, account, mailbox), &entry->bucket);
    cq_list_push_front(&cache->age, &entry->age);
    return entry;
}

void uid_cache_settle(struct uid_cache *cache, struct uid_entry *entry)
{
    roaring_bitmap_run_optimize(entry->all);
    roaring_bitmap_run_optimize(entry->unseen);
    cache->bytes -= entry->bytes;
    entry->bytes = sizeof *entry + 256 + roaring_bitmap_portable_size_in_bytes(entry->all) +
                   roaring_bitmap_portable_size_in_bytes(entry->unseen);
    cache->bytes += entry->bytes;
    while (cache->bytes > cache->bytes_max && cq_list_last(&cache->age) != &entry->age)
        entry_free(cache, cq_list_entry(cq_list_last(&cache->age), struct uid_entry, age));
}

void uid_cache_drop(struct uid_cache *cache, uint64_t account, uint64_t mailbox)
{
    struct uid_entry *entry = lookup(cache, account, mailbox);
    if (entry)
        entry_free(cache, entry);
}

void uid_entry_add(struct uid_entry *entry, uint32_t uid, bool unseen)
{
    roaring_bitmap_add(entry->all, uid);
    if (unseen)
        roaring_bitmap_add(entry->unseen, uid);
}

void uid_entry_remove(struct uid_entry *entry, uint32_t uid)
{
    roaring_bitmap_remove(entry->all, uid);
    roaring_bitmap_remove(entry->unseen, uid);
}

void uid_entry_set_unseen(struct uid_entry *entry, uint32_t uid, bool unseen)
{
    if (unseen)
        roaring_bitmap_add(entry->unseen, uid);
    else
        roaring_bitmap_remove(entry->unseen, uid);
}

uint64_t uid_entry_count(const struct uid_entry *entry)
{
    return roaring_bitmap_get_cardinality(entry->all);
}

uint32_t uid_entry_first_unseen(const struct uid_entry *entry)
{
    return roaring_bitmap_is_empty(entry->unseen) ? 0 : roaring_bitmap_minimum(entry->unseen);
}

#define STEP 1024

struct uidset uid_entry_all(const struct uid_entry *entry, struct cq_pool *pool)
{
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    roaring_uint32_iterator_t at;
    roaring_init_iterator(entry->all, &at);
    uint32_t uids[STEP], n;
    while ((n = roaring_read_uint32_iterator(&at, uids, STEP)) > 0) {
        if (uids[n - 1] - uids[0] == n - 1) { /* most mailboxes are a few ranges */
            uidset_builder_add(&builder, uids[0], uids[n - 1]);
            continue;
        }
        for (uint32_t i = 0; i < n; i++)
            uidset_builder_add(&builder, uids[i], uids[i]);
    }
    return uidset_builder_finish(&builder);
}

struct uidset uid_entry_gaps(const struct uid_entry *entry, uint32_t end, struct cq_pool *pool)
{
    struct uidset all = uid_entry_all(entry, pool);
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    uint64_t next = 1;
    for (size_t i = 0; i < all.count && next < end; i++) {
        if (all.ranges[i].first > next)
            uidset_builder_add(&builder, (uint32_t)next, all.ranges[i].first - 1);
        next = (uint64_t)all.ranges[i].last + 1;
    }
    if (next < end)
        uidset_builder_add(&builder, (uint32_t)next, end - 1);
    return uidset_builder_finish(&builder);
}
