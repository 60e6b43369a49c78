/* The rates of many keys in bounded memory. When it is full, the key that was used least recently makes room; that it
 * had not paid off is counted (a limit that was forgotten early). One thread. Time is an argument. */
#ifndef CHASQUI_RATE_TABLE_H
#define CHASQUI_RATE_TABLE_H

#include "limits/gcra.h"
#include "limits/limit_key.h"

#include <stddef.h>

struct rate_table;

struct rate_table *rate_table_new(size_t max);
void rate_table_free(struct rate_table **table);

struct gcra_verdict rate_table_peek(struct rate_table *table, const struct limit_key *key,
                                    const struct gcra_limit *limit, uint64_t cost, uint64_t now_us);
struct gcra_verdict rate_table_take(struct rate_table *table, const struct limit_key *key,
                                    const struct gcra_limit *limit, uint64_t cost, uint64_t now_us);
void rate_table_charge(struct rate_table *table, const struct limit_key *key, const struct gcra_limit *limit,
                       uint64_t cost, uint64_t now_us);

size_t rate_table_count(const struct rate_table *table);
uint64_t rate_table_forgotten(const struct rate_table *table); /* keys that made room before they had paid off */

#endif
