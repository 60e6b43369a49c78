#include "raft_job.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "state/entry.h"

#include <stdlib.h>

enum job_kind { JOB_VOTE, JOB_APPEND, JOB_REMOVE, JOB_TRIM };

struct job_op {
    enum job_kind kind;
    struct raft_log_owner owner;
    uint64_t index;         /* JOB_TRIM: the marker's */
    uint64_t term;          /* of the entry, vote or marker */
    uint64_t vote;          /* JOB_VOTE: the vote; JOB_TRIM: the configuration's index */
    uint64_t from, to;      /* JOB_TRIM: entries [from, to) go */
    uint32_t chunk_count;   /* JOB_REMOVE */
    struct raft_item *item; /* JOB_APPEND */
    struct raft_bytes *conf;
};

struct raft_job {
    uint64_t number;
    struct job_op *ops;
    size_t count, cap;
    size_t bytes;
};

struct raft_job *raft_job_new(uint64_t number)
{
    struct raft_job *job = cq_new(struct raft_job);
    job->number = number;
    return job;
}

uint64_t raft_job_number(const struct raft_job *job)
{
    return job->number;
}

void raft_job_free(struct raft_job **job)
{
    struct raft_job *j = *job;
    *job = NULL;
    if (!j)
        return;
    for (size_t i = 0; i < j->count; i++) {
        raft_item_unref(&j->ops[i].item);
        raft_bytes_unref(&j->ops[i].conf);
    }
    free(j->ops);
    free(j);
}

size_t raft_job_bytes(const struct raft_job *job)
{
    return job->bytes;
}

static struct job_op *op_add(struct raft_job *job, enum job_kind kind, const struct raft_log_owner *owner)
{
    if (job->count == job->cap) {
        job->cap = job->cap ? job->cap * 2 : 8;
        job->ops = cq_realloc(job->ops, job->cap * sizeof *job->ops);
    }
    struct job_op *op = &job->ops[job->count++];
    *op = (struct job_op){.kind = kind, .owner = *owner};
    job->bytes += RAFT_ENTRY_KEY_SIZE + RAFT_RECORD_HEAD;
    return op;
}

void raft_job_vote(struct raft_job *job, const struct raft_log_owner *owner, uint64_t term, uint64_t vote)
{
    struct job_op *op = op_add(job, JOB_VOTE, owner);
    op->term = term;
    op->vote = vote;
}

void raft_job_append(struct raft_job *job, const struct raft_log_owner *owner, uint64_t index, uint64_t term,
                     struct raft_item *item)
{
    struct job_op *op = op_add(job, JOB_APPEND, owner);
    op->index = index;
    op->term = term;
    op->item = raft_item_ref(item);
    job->bytes += raft_item_size(item);
}

void raft_job_remove(struct raft_job *job, const struct raft_log_owner *owner, uint64_t index, uint64_t term,
                     uint32_t chunk_count)
{
    struct job_op *op = op_add(job, JOB_REMOVE, owner);
    op->index = index;
    op->term = term;
    op->chunk_count = chunk_count;
}

void raft_job_trim(struct raft_job *job, const struct raft_log_owner *owner, const struct raft_marker *marker,
                   uint64_t old_first, uint64_t first)
{
    struct job_op *op = op_add(job, JOB_TRIM, owner);
    op->index = marker->index;
    op->term = marker->term;
    op->vote = marker->conf_index;
    op->conf = raft_bytes_copy(marker->conf);
    op->from = old_first;
    op->to = first;
}

/* ---- Records ---- */

static void record_put(struct store_batch *batch, struct cq_slice key, const struct raft_record *record)
{
    uint8_t head[RAFT_RECORD_HEAD];
    raft_record_head(key, record, head);
    const struct cq_slice parts[] = {cq_slice_of(head, sizeof head), record->payload};
    store_batch_putv(batch, STORE_LOG, key, parts, 2);
}

void raft_vote_put(struct store_batch *batch, const struct raft_log_owner *owner, uint64_t term, uint64_t vote)
{
    uint8_t key[RAFT_KEY_SIZE], payload[RAFT_VOTE_PAYLOAD];
    raft_key(owner->group, owner->replica, RAFT_RECORD_VOTE, key);
    cq_put_be64(payload, vote);
    const struct raft_record record = {.term = term, .payload = cq_slice_of(payload, sizeof payload)};
    record_put(batch, cq_slice_of(key, sizeof key), &record);
}

static void chunk_key_of(const struct raft_log_owner *owner, uint64_t index, uint64_t term, uint32_t ordinal,
                         uint8_t key_r[static CHUNK_KEY_SIZE])
{
    const struct chunk_id id = {owner->incarnation, term, index, ordinal};
    chunk_key(&id, key_r);
}

void raft_entry_put(struct store_batch *batch, const struct raft_log_owner *owner, uint64_t index, uint64_t term,
                    const struct raft_item *item)
{
    uint8_t key[RAFT_ENTRY_KEY_SIZE], chunk[CHUNK_KEY_SIZE];
    raft_entry_key(owner->group, owner->replica, index, key);
    const struct raft_record record = {
        .kind = (uint8_t)item->kind,
        .chunk_count = item->body_count,
        .term = term,
        .body_bytes = item->body_bytes,
        .payload = item->entry,
    };
    record_put(batch, cq_slice_of(key, sizeof key), &record);
    for (uint32_t i = 0; i < item->body_count; i++) {
        chunk_key_of(owner, index, term, i, chunk);
        store_batch_put(batch, STORE_CHUNK, cq_slice_of(chunk, sizeof chunk), item->bodies[i].octets);
    }
}

static void entry_remove(struct store_batch *batch, const struct job_op *op)
{
    uint8_t key[RAFT_ENTRY_KEY_SIZE], chunk[CHUNK_KEY_SIZE];
    raft_entry_key(op->owner.group, op->owner.replica, op->index, key);
    store_batch_delete(batch, STORE_LOG, cq_slice_of(key, sizeof key));
    for (uint32_t i = 0; i < op->chunk_count; i++) {
        chunk_key_of(&op->owner, op->index, op->term, i, chunk);
        store_batch_delete(batch, STORE_CHUNK, cq_slice_of(chunk, sizeof chunk));
    }
}

void raft_marker_put(struct store_batch *batch, const struct raft_log_owner *owner, const struct raft_marker *marker)
{
    uint8_t key[RAFT_KEY_SIZE];
    struct cq_buf payload;
    cq_buf_init(&payload, SIZE_MAX);
    uint8_t *fixed = cq_buf_reserve(&payload, RAFT_MARKER_FIXED);
    cq_put_be64(fixed, marker->index);
    cq_put_be64(fixed + 8, marker->conf_index);
    cq_buf_commit(&payload, RAFT_MARKER_FIXED);
    cq_buf_slice_add(&payload, marker->conf);
    raft_key(owner->group, owner->replica, RAFT_RECORD_MARKER, key);
    const struct raft_record record = {.term = marker->term, .payload = cq_buf_slice(&payload)};
    record_put(batch, cq_slice_of(key, sizeof key), &record);
    cq_buf_fini(&payload);
}

static void log_trim(struct store_batch *batch, const struct job_op *op)
{
    uint8_t from[RAFT_ENTRY_KEY_SIZE], to[RAFT_ENTRY_KEY_SIZE];
    const struct raft_marker marker = {op->index, op->term, op->vote, raft_bytes_slice(op->conf)};
    raft_marker_put(batch, &op->owner, &marker);
    if (op->from >= op->to)
        return;
    raft_entry_key(op->owner.group, op->owner.replica, op->from, from);
    raft_entry_key(op->owner.group, op->owner.replica, op->to, to);
    store_batch_delete_range(batch, STORE_LOG, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
}

void raft_job_encode(const struct raft_job *job, struct store_batch *batch)
{
    for (size_t i = 0; i < job->count; i++) {
        const struct job_op *op = &job->ops[i];
        switch (op->kind) {
        case JOB_VOTE:
            raft_vote_put(batch, &op->owner, op->term, op->vote);
            break;
        case JOB_APPEND:
            raft_entry_put(batch, &op->owner, op->index, op->term, op->item);
            break;
        case JOB_REMOVE:
            entry_remove(batch, op);
            break;
        case JOB_TRIM:
            log_trim(batch, op);
            break;
        }
    }
}
