#include "limits/lease_table.h"

#include "base/cq_assert.h"
#include "base/cq_list.h"
#include "base/cq_mem.h"

#include <stdlib.h>
#include <uthash.h>

/* A key and its total over all holders. */
struct counted {
    struct limit_key key;
    uint64_t total;
    size_t shares;
    UT_hash_handle hh;
};

/* A holder's part of it. */
struct share {
    struct limit_key key;
    struct counted *counted;
    uint32_t count;
    UT_hash_handle hh; /* in the holder's table */
};

struct holder {
    struct lease_holder_id id;
    uint64_t until_us;
    uint64_t number; /* of its last message */
    bool lost;       /* some message did not come */
    struct share *shares;
    struct cq_list link; /* in `leases`, the one that ends first first */
    UT_hash_handle hh;
};

struct lease_table {
    struct counted *keys;
    struct holder *holders;
    struct cq_list leases;
    size_t key_count, keys_max;
    size_t holder_count;
    uint64_t lease_us;
};

struct lease_table *lease_table_new(size_t keys_max, uint64_t lease_us)
{
    struct lease_table *table = cq_new(struct lease_table);
    table->keys_max = keys_max;
    table->lease_us = lease_us;
    cq_list_init(&table->leases);
    return table;
}

static void drop_share(struct lease_table *table, struct holder *holder, struct share *share)
{
    struct counted *counted = share->counted;
    counted->total -= share->count;
    if (--counted->shares == 0) {
        HASH_DEL(table->keys, counted);
        free(counted);
        table->key_count--;
    }
    HASH_DEL(holder->shares, share);
    free(share);
}

static void drop_shares(struct lease_table *table, struct holder *holder)
{
    struct share *share, *next;
    HASH_ITER (hh, holder->shares, share, next)
        drop_share(table, holder, share);
}

static void drop_holder(struct lease_table *table, struct holder *holder)
{
    drop_shares(table, holder);
    HASH_DEL(table->holders, holder);
    cq_list_remove(&holder->link);
    free(holder);
    table->holder_count--;
}

void lease_table_free(struct lease_table **table)
{
    if (!*table)
        return;
    cq_list_each_safe (&(*table)->leases, node)
        drop_holder(*table, cq_list_entry(node, struct holder, link));
    free(*table);
    *table = NULL;
}

static struct holder *find_holder(const struct lease_table *table, const struct lease_holder_id *id)
{
    struct holder *holder;
    HASH_FIND(hh, table->holders, id, sizeof *id, holder);
    return holder;
}

static struct share *find_share(const struct holder *holder, const struct limit_key *key)
{
    struct share *share = NULL;
    if (holder)
        HASH_FIND(hh, holder->shares, key, sizeof *key, share);
    return share;
}

static struct counted *find_counted(const struct lease_table *table, const struct limit_key *key)
{
    struct counted *counted;
    HASH_FIND(hh, table->keys, key, sizeof *key, counted);
    return counted;
}

/* The holder with a fresh lease; NULL when there are too many. */
static struct holder *touch_holder(struct lease_table *table, const struct lease_holder_id *id, uint64_t now_us)
{
    struct holder *holder = find_holder(table, id);
    if (!holder) {
        if (table->holder_count >= LEASE_HOLDERS_MAX)
            return NULL;
        holder = cq_new(struct holder);
        holder->id = *id;
        cq_list_init(&holder->link);
        HASH_ADD(hh, table->holders, id, sizeof holder->id, holder);
        table->holder_count++;
    }
    holder->until_us = now_us + table->lease_us;
    cq_list_remove(&holder->link);
    cq_list_push_back(&table->leases, &holder->link); /* all leases are equally long: this one ends last */
    return holder;
}

static struct share *add_share(struct lease_table *table, struct holder *holder, const struct limit_key *key)
{
    struct counted *counted = find_counted(table, key);
    if (!counted) {
        if (table->key_count >= table->keys_max)
            return NULL;
        counted = cq_new(struct counted);
        counted->key = *key;
        HASH_ADD(hh, table->keys, key, sizeof counted->key, counted);
        table->key_count++;
    }
    struct share *share = cq_new(struct share);
    share->key = *key;
    share->counted = counted;
    counted->shares++;
    HASH_ADD(hh, holder->shares, key, sizeof share->key, share);
    return share;
}

bool lease_table_fits(const struct lease_table *table, const struct lease_holder_id *id, const struct limit_key *key,
                      uint32_t count, uint64_t limit)
{
    const struct share *share = find_share(find_holder(table, id), key);
    uint32_t before = share ? share->count : 0;
    return limit == 0 || count <= before || lease_table_total(table, key) - before + count <= limit;
}

enum lease_result lease_table_set(struct lease_table *table, const struct lease_holder_id *id,
                                  const struct limit_key *key, uint32_t count, uint64_t limit, uint64_t now_us)
{
    struct holder *holder = touch_holder(table, id, now_us);
    if (!lease_table_fits(table, id, key, count, limit))
        return LEASE_DENIED;
    if (!holder)
        return LEASE_FULL;
    struct share *share = find_share(holder, key);
    if (!share && count == 0)
        return LEASE_OK;
    if (!share)
        share = add_share(table, holder, key);
    if (!share)
        return LEASE_FULL;
    share->counted->total += count;
    share->counted->total -= share->count;
    share->count = count;
    if (count == 0)
        drop_share(table, holder, share);
    return LEASE_OK;
}

void lease_table_message(struct lease_table *table, const struct lease_holder_id *id, uint64_t number, bool replaces,
                         uint64_t now_us)
{
    struct holder *holder = touch_holder(table, id, now_us);
    if (!holder)
        return;
    if (replaces)
        drop_shares(table, holder);
    holder->lost = !replaces && (holder->lost || number != holder->number + 1);
    holder->number = number;
}

bool lease_table_renew(struct lease_table *table, const struct lease_holder_id *id, uint64_t number, uint64_t now_us)
{
    struct holder *holder = touch_holder(table, id, now_us);
    return holder && !holder->lost && holder->number == number;
}

size_t lease_table_expire(struct lease_table *table, uint64_t now_us)
{
    size_t dropped = 0;
    struct cq_list *node;
    while ((node = cq_list_first(&table->leases))) {
        struct holder *holder = cq_list_entry(node, struct holder, link);
        if (now_us < holder->until_us)
            break;
        drop_holder(table, holder);
        dropped++;
    }
    return dropped;
}

uint64_t lease_table_total(const struct lease_table *table, const struct limit_key *key)
{
    const struct counted *counted = find_counted(table, key);
    return counted ? counted->total : 0;
}

size_t lease_table_holders(const struct lease_table *table)
{
    return table->holder_count;
}

size_t lease_table_keys(const struct lease_table *table)
{
    return table->key_count;
}
