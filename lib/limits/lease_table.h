/* Counts of things that are open now (sessions of an account), kept for several holders (workers of front-ends). A
 * holder's counts live under a lease: when it has not renewed them in time, all of them vanish, so a dead front-end's
 * sessions do not count for ever. Counts are absolute, so a message that comes twice changes nothing. Bounded. One
 * thread. Time is an argument. */
#ifndef CHASQUI_LEASE_TABLE_H
#define CHASQUI_LEASE_TABLE_H

#include "limits/limit_key.h"

#include <stddef.h>

struct lease_table;

struct lease_holder_id {
    uint8_t bytes[16];
};

#define LEASE_HOLDERS_MAX 4096

struct lease_table *lease_table_new(size_t keys_max, uint64_t lease_us);
void lease_table_free(struct lease_table **table);

enum lease_result {
    LEASE_OK,
    LEASE_DENIED, /* over the limit */
    LEASE_FULL    /* the table is: not counted, and allowed (a full table must not lock people out) */
};

/* This holder's count of the key is now `count` (0 removes), if all holders together stay within `limit` (0: no limit)
 * or the count does not rise. Renews the holder's lease. */
enum lease_result lease_table_set(struct lease_table *table, const struct lease_holder_id *holder,
                                  const struct limit_key *key, uint32_t count, uint64_t limit, uint64_t now_us);

/* Would it be within the limit? Changes nothing. */
bool lease_table_fits(const struct lease_table *table, const struct lease_holder_id *holder,
                      const struct limit_key *key, uint32_t count, uint64_t limit);

/* Messages of a holder are numbered from 1. This one is the next: a number that does not follow the last one says that
 * messages were lost, and the holder's counts are not to be trusted until a message that replaces them all. */
void lease_table_message(struct lease_table *table, const struct lease_holder_id *holder, uint64_t number,
                         bool replaces, uint64_t now_us);

/* Renews the lease. True: all messages up to `number` are here. False: the holder sends all of its counts again. */
bool lease_table_renew(struct lease_table *table, const struct lease_holder_id *holder, uint64_t number,
                       uint64_t now_us);

/* Drops the holders whose lease has ended; call about once a second. Returns how many. */
size_t lease_table_expire(struct lease_table *table, uint64_t now_us);

uint64_t lease_table_total(const struct lease_table *table, const struct limit_key *key);
size_t lease_table_holders(const struct lease_table *table);
size_t lease_table_keys(const struct lease_table *table);

#endif
