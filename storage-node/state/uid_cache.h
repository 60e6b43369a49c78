/* The UID sets of mailboxes in use: all UIDs, and those without \Seen. Derived from the records, bounded, and never a
 * reason for apply to do something else: a set that is not here is read from the records when a read wants it. */
#ifndef UID_CACHE_H
#define UID_CACHE_H

#include "mailstore/uidset.h"

struct uid_cache;

#define UID_CACHE_BYTES (32u << 20) /* of one group's sets, about; the least recently used go first */

struct uid_cache *uid_cache_new(size_t bytes_max);
void uid_cache_free(struct uid_cache **cache);

struct uid_entry;
/* NULL when it is not here. Valid until the next make or drop. */
struct uid_entry *uid_cache_find(struct uid_cache *cache, uint64_t account, uint64_t mailbox);
/* An empty entry; the caller adds what there is, then says uid_cache_settle(). */
struct uid_entry *uid_cache_make(struct uid_cache *cache, uint64_t account, uint64_t mailbox);
void uid_cache_settle(struct uid_cache *cache, struct uid_entry *entry);
void uid_cache_drop(struct uid_cache *cache, uint64_t account, uint64_t mailbox);
void uid_cache_clear(struct uid_cache *cache);

void uid_entry_add(struct uid_entry *entry, uint32_t uid, bool unseen);
void uid_entry_remove(struct uid_entry *entry, uint32_t uid);
void uid_entry_set_unseen(struct uid_entry *entry, uint32_t uid, bool unseen);

uint64_t uid_entry_count(const struct uid_entry *entry);
/* 0: none. */
uint32_t uid_entry_first_unseen(const struct uid_entry *entry);
/* In the pool. */
struct uidset uid_entry_all(const struct uid_entry *entry, struct cq_pool *pool);
/* What is not there in [1, end). */
struct uidset uid_entry_gaps(const struct uid_entry *entry, uint32_t end, struct cq_pool *pool);

#endif
