#include "raft_boot.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "raft_job.h"
#include "state/entry.h"

#include <stdlib.h>

#define RECORD_MAX (RAFT_RECORD_HEAD + ENTRY_MAX)

enum cq_rc raft_boot_write(struct store_batch *batch, uint32_t group, uint64_t replica,
                           const struct raft_member *members, size_t count, struct cq_err *err)
{
    const struct raft_log_owner owner = {.group = group, .replica = replica};
    struct raft_conf conf = {.count = count};
    enum cq_rc rc = raft_conf_check(members, count, err);
    if (rc != CQ_OK)
        return rc;
    memcpy(conf.members, members, count * sizeof *members);
    if (!raft_conf_find(&conf, replica))
        return CQ_FAIL(err, CQ_E_INVALID, "replica %llu is not a member", (unsigned long long)replica);
    struct cq_buf bytes;
    cq_buf_init(&bytes, RAFT_CONF_BYTES_MAX);
    raft_conf_encode(members, count, &bytes);
    struct raft_bytes *shared = raft_bytes_copy(cq_buf_slice(&bytes));
    struct raft_item *item = raft_item_new(RAFT_KIND_CHANGE, shared, raft_bytes_slice(shared), NULL, 0);
    raft_vote_put(batch, &owner, 1, 0);
    raft_entry_put(batch, &owner, 1, 1, item);
    raft_item_unref(&item);
    raft_bytes_unref(&shared);
    cq_buf_fini(&bytes);
    return CQ_OK;
}

void raft_boot_free(struct raft_boot **boot)
{
    if (!*boot)
        return;
    raft_log_fini(&(*boot)->log);
    raft_bytes_unref(&(*boot)->marker_conf);
    free(*boot);
    *boot = NULL;
}

/* One of the group's single records: CQ_E_NOT_FOUND when it is not there. `value` keeps its octets. */
static enum cq_rc read_single(struct store *store, const struct raft_log_owner *owner, enum raft_record_kind kind,
                              struct cq_buf *value, struct raft_record *record_r, struct cq_err *err)
{
    uint8_t key[RAFT_KEY_SIZE];
    raft_key(owner->group, owner->replica, kind, key);
    cq_buf_reset(value, RECORD_MAX);
    enum cq_rc rc = store_get(store, NULL, STORE_LOG, cq_slice_of(key, sizeof key), value, err);
    if (rc != CQ_OK)
        return rc == CQ_E_LIMIT ? CQ_E_CORRUPT : rc;
    return raft_record_parse(cq_slice_of(key, sizeof key), cq_buf_slice(value), record_r, err);
}

static enum cq_rc read_vote(struct store *store, const struct raft_log_owner *owner, struct cq_buf *value,
                            struct raft_boot *boot, struct cq_err *err)
{
    struct raft_record record;
    enum cq_rc rc = read_single(store, owner, RAFT_RECORD_VOTE, value, &record, err);
    if (rc != CQ_OK)
        return rc;
    if (record.payload.len != RAFT_VOTE_PAYLOAD)
        return CQ_FAIL(err, CQ_E_CORRUPT, "vote record of %zu bytes", record.payload.len);
    boot->term = record.term;
    boot->vote = cq_get_be64(record.payload.data);
    return CQ_OK;
}

static enum cq_rc read_marker(struct store *store, const struct raft_log_owner *owner, struct cq_buf *value,
                              struct raft_boot *boot, struct cq_err *err)
{
    struct raft_record record;
    struct raft_conf conf;
    enum cq_rc rc = read_single(store, owner, RAFT_RECORD_MARKER, value, &record, err);
    if (rc == CQ_E_NOT_FOUND) {
        raft_log_init(&boot->log, 1, 0, 0);
        return CQ_OK;
    }
    if (rc != CQ_OK)
        return rc;
    if (record.payload.len < RAFT_MARKER_FIXED)
        return CQ_FAIL(err, CQ_E_CORRUPT, "marker of %zu bytes", record.payload.len);
    struct cq_slice conf_bytes = cq_slice_skip(record.payload, RAFT_MARKER_FIXED);
    rc = raft_conf_parse(conf_bytes, &conf, err);
    if (rc != CQ_OK)
        return rc;
    uint64_t index = cq_get_be64(record.payload.data);
    if (index == 0 || record.term == 0)
        return CQ_FAIL(err, CQ_E_CORRUPT, "marker without index or term");
    raft_log_init(&boot->log, index + 1, index, record.term);
    boot->marker_conf_index = cq_get_be64(record.payload.data + 8);
    boot->marker_conf = raft_bytes_copy(conf_bytes);
    return CQ_OK;
}

static enum cq_rc take_entry(struct raft_boot *boot, uint64_t index, const struct raft_record *record,
                             struct cq_err *err)
{
    struct raft_log *log = &boot->log;
    bool first = log->count == 0;
    if (first && index > 0 && index <= log->marker_index + 1)
        raft_log_init(log, index, log->marker_index, log->marker_term);
    if (index != log->first + log->count)
        return CQ_FAIL(err, CQ_E_CORRUPT, "log has entry %llu where %llu should be", (unsigned long long)index,
                       (unsigned long long)(log->first + log->count));
    if (record->term == 0 || record->term > boot->term || (!first && record->term < raft_log_term(log, index - 1)))
        return CQ_FAIL(err, CQ_E_CORRUPT, "log entry %llu has term %llu", (unsigned long long)index,
                       (unsigned long long)record->term);
    struct raft_log_entry entry = {
        .term = record->term,
        .body_bytes = record->body_bytes,
        .size = (uint32_t)record->payload.len,
        .chunk_count = record->chunk_count,
        .kind = (enum raft_entry_kind)record->kind,
    };
    if (entry.kind == RAFT_KIND_CHANGE) {
        struct raft_bytes *bytes = raft_bytes_copy(record->payload);
        entry.item = raft_item_new(entry.kind, bytes, raft_bytes_slice(bytes), NULL, 0);
        raft_bytes_unref(&bytes);
    }
    raft_log_append(log, &entry);
    return entry.item ? raft_item_check(entry.item, false, err) : CQ_OK;
}

static enum cq_rc read_entries(struct store *store, const struct raft_log_owner *owner, struct raft_boot *boot,
                               struct cq_err *err)
{
    uint8_t from[RAFT_ENTRY_KEY_SIZE], to[RAFT_ENTRY_KEY_SIZE];
    raft_entry_key(owner->group, owner->replica, 0, from);
    raft_entry_key(owner->group, owner->replica, UINT64_MAX, to);
    struct store_iter *iter =
        store_iter_new(store, NULL, STORE_LOG, cq_slice_of(from, sizeof from), cq_slice_of(to, sizeof to));
    enum cq_rc rc;
    while ((rc = store_iter_next(iter)) == CQ_OK) {
        struct raft_record record;
        struct cq_slice key = store_iter_key(iter);
        rc = raft_record_parse(key, store_iter_value(iter), &record, err);
        if (rc == CQ_OK)
            rc = take_entry(boot, raft_entry_key_index(key), &record, err);
        if (rc != CQ_OK)
            break;
    }
    store_iter_free(&iter);
    return rc == CQ_E_EOF ? CQ_OK : rc;
}

/* Without a marker, a log that is not empty begins with the first configuration. */
static enum cq_rc check_start(const struct raft_boot *boot, struct cq_err *err)
{
    const struct raft_log *log = &boot->log;
    if (log->count && !boot->marker_conf && (log->first != 1 || raft_log_at(log, 1)->kind != RAFT_KIND_CHANGE))
        return CQ_FAIL(err, CQ_E_CORRUPT, "log does not begin with a configuration");
    if (raft_log_last(log) < log->marker_index)
        return CQ_FAIL(err, CQ_E_CORRUPT, "log ends before its marker");
    return CQ_OK;
}

static enum cq_rc boot_fill(struct store *store, const struct raft_log_owner *owner, struct raft_boot *boot,
                            struct cq_err *err)
{
    struct cq_buf value;
    cq_buf_init(&value, RECORD_MAX);
    enum cq_rc rc = read_vote(store, owner, &value, boot, err);
    if (rc == CQ_OK)
        rc = read_marker(store, owner, &value, boot, err);
    if (rc == CQ_OK)
        rc = read_entries(store, owner, boot, err);
    if (rc == CQ_OK)
        rc = check_start(boot, err);
    cq_buf_fini(&value);
    return rc;
}

enum cq_rc raft_boot_read(struct store *store, uint32_t group, uint64_t replica, struct raft_boot **boot_r,
                          struct cq_err *err)
{
    const struct raft_log_owner owner = {.group = group, .replica = replica};
    struct raft_boot *boot = cq_new(struct raft_boot);
    raft_log_init(&boot->log, 1, 0, 0);
    enum cq_rc rc = boot_fill(store, &owner, boot, err);
    if (rc != CQ_OK) {
        raft_boot_free(&boot);
        cq_err_context(err, "group %u", group);
    }
    *boot_r = boot;
    return rc;
}
