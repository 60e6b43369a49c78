#include "limits/rate_table.h"

#include "base/cq_assert.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"

#include <stdlib.h>
#include <uthash.h>

#define SWEEP 2 /* old entries that are looked at with each new one: the table shrinks when keys have paid off */

struct entry {
    struct limit_key key;
    uint64_t tat_us;
    struct cq_list link; /* in `used`, the least recently used first */
    UT_hash_handle hh;
};

struct rate_table {
    struct entry *entries;
    struct cq_list used;
    size_t count;
    size_t max;
    uint64_t forgotten;
};

struct rate_table *rate_table_new(size_t max)
{
    CQ_ASSERT(max > 0);
    struct rate_table *table = cq_new(struct rate_table);
    table->max = max;
    cq_list_init(&table->used);
    return table;
}

static void drop(struct rate_table *table, struct entry *entry)
{
    HASH_DEL(table->entries, entry);
    cq_list_remove(&entry->link);
    table->count--;
    free(entry);
}

void rate_table_free(struct rate_table **table)
{
    if (!*table)
        return;
    cq_list_each_safe (&(*table)->used, node)
        drop(*table, cq_list_entry(node, struct entry, link));
    free(*table);
    *table = NULL;
}

static struct entry *oldest(struct rate_table *table)
{
    struct cq_list *node = cq_list_first(&table->used);
    return node ? cq_list_entry(node, struct entry, link) : NULL;
}

static void make_room(struct rate_table *table, uint64_t now_us)
{
    struct entry *entry;
    for (int i = 0; i < SWEEP && (entry = oldest(table)) && entry->tat_us <= now_us; i++)
        drop(table, entry);
    if (table->count < table->max)
        return;
    entry = oldest(table);
    table->forgotten += entry->tat_us > now_us;
    drop(table, entry);
}

static struct entry *find(struct rate_table *table, const struct limit_key *key)
{
    struct entry *entry;
    HASH_FIND(hh, table->entries, key, sizeof *key, entry);
    if (entry) {
        cq_list_remove(&entry->link);
        cq_list_push_back(&table->used, &entry->link);
    }
    return entry;
}

static struct entry *find_or_add(struct rate_table *table, const struct limit_key *key, uint64_t now_us)
{
    struct entry *entry = find(table, key);
    if (entry)
        return entry;
    make_room(table, now_us);
    entry = cq_new(struct entry);
    entry->key = *key;
    HASH_ADD(hh, table->entries, key, sizeof entry->key, entry);
    cq_list_push_back(&table->used, &entry->link);
    table->count++;
    return entry;
}

struct gcra_verdict rate_table_peek(struct rate_table *table, const struct limit_key *key,
                                    const struct gcra_limit *limit, uint64_t cost, uint64_t now_us)
{
    const struct entry *entry = find(table, key);
    return gcra_peek(entry ? entry->tat_us : 0, limit, cost, now_us);
}

struct gcra_verdict rate_table_take(struct rate_table *table, const struct limit_key *key,
                                    const struct gcra_limit *limit, uint64_t cost, uint64_t now_us)
{
    struct gcra_verdict verdict = rate_table_peek(table, key, limit, cost, now_us);
    if (verdict.allowed)
        rate_table_charge(table, key, limit, cost, now_us);
    return verdict;
}

void rate_table_charge(struct rate_table *table, const struct limit_key *key, const struct gcra_limit *limit,
                       uint64_t cost, uint64_t now_us)
{
    if (limit->count && cost)
        gcra_charge(&find_or_add(table, key, now_us)->tat_us, limit, cost, now_us);
}

size_t rate_table_count(const struct rate_table *table)
{
    return table->count;
}

uint64_t rate_table_forgotten(const struct rate_table *table)
{
    return table->forgotten;
}
