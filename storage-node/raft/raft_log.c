#include "raft_log.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>

void raft_log_init(struct raft_log *log, uint64_t first, uint64_t marker_index, uint64_t marker_term)
{
    *log = (struct raft_log){
        .first = first, .marker_index = marker_index, .marker_term = marker_term, .cached_from = first};
}

static struct raft_log_entry *at(const struct raft_log *log, size_t i)
{
    return &log->ring[(log->front + i) & (log->cap - 1)];
}

static void drop_item(struct raft_log *log, struct raft_log_entry *entry)
{
    if (entry->item)
        log->cached_bytes -= raft_item_size(entry->item);
    raft_item_unref(&entry->item);
}

void raft_log_fini(struct raft_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        drop_item(log, at(log, i));
    free(log->ring);
    *log = (struct raft_log){0};
}

struct raft_log_entry *raft_log_at(const struct raft_log *log, uint64_t index)
{
    return index >= log->first && index - log->first < log->count ? at(log, (size_t)(index - log->first)) : NULL;
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index)
{
    const struct raft_log_entry *entry = raft_log_at(log, index);
    if (entry)
        return entry->term;
    return index == log->marker_index ? log->marker_term : 0;
}

uint64_t raft_log_bytes_after(const struct raft_log *log, uint64_t index)
{
    const struct raft_log_entry *entry = raft_log_at(log, index);
    if (!log->count || index > raft_log_last(log))
        return 0;
    return at(log, log->count - 1)->total - (entry ? entry->total : log->trimmed_total);
}

static void grow(struct raft_log *log)
{
    size_t cap = log->cap ? log->cap * 2 : 64;
    struct raft_log_entry *ring = cq_malloc(cap * sizeof *ring);
    for (size_t i = 0; i < log->count; i++)
        ring[i] = *at(log, i);
    free(log->ring);
    log->ring = ring;
    log->cap = cap;
    log->front = 0;
}

void raft_log_append(struct raft_log *log, const struct raft_log_entry *entry)
{
    if (log->count == log->cap)
        grow(log);
    uint64_t before = log->count ? at(log, log->count - 1)->total : log->trimmed_total;
    *at(log, log->count++) = *entry;
    at(log, log->count - 1)->total = before + entry->size + entry->body_bytes;
    if (entry->item)
        log->cached_bytes += raft_item_size(entry->item);
    else
        log->cached_from = raft_log_last(log) + 1;
}

void raft_log_truncate(struct raft_log *log, uint64_t index)
{
    while (log->count && raft_log_last(log) >= index) {
        drop_item(log, at(log, log->count - 1));
        log->count--;
    }
    if (log->cached_from > raft_log_last(log) + 1)
        log->cached_from = raft_log_last(log) + 1;
}

void raft_log_trim(struct raft_log *log, uint64_t first)
{
    CQ_ASSERT(first <= raft_log_last(log) + 1);
    while (log->first < first) {
        drop_item(log, at(log, 0));
        log->trimmed_total = at(log, 0)->total;
        log->front = (log->front + 1) & (log->cap - 1);
        log->count--;
        log->first++;
    }
    if (log->cached_from < first)
        log->cached_from = first;
}

bool raft_log_evict(struct raft_log *log, uint64_t limit)
{
    if (log->cached_from >= limit)
        return false;
    struct raft_log_entry *entry = raft_log_at(log, log->cached_from);
    if (!entry)
        return false;
    drop_item(log, entry);
    log->cached_from++;
    return true;
}
