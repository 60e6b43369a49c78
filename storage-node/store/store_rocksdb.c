#include "store/store_rocksdb.h"

#include <rocksdb/c.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_hash.h"
#include "base/cq_mem.h"

#define FORMAT_KEY "chasqui.store"
#define FORMAT_VERSION 1
#define FORMAT_SIZE 12 /* version u32, XXH3-64 of it u64 */

#define BLOB_MIN 1024                  /* bytes: smaller values stay in the table */
#define BLOB_FILE (256ull << 20)       /* bytes of one blob file */
#define TABLE_BLOCK (16u << 10)        /* bytes */
#define CACHE_SHARD_MIN (16u << 20)    /* bytes of one part of the block cache */
#define CACHE_SHARD_BITS_MAX 6         /* 64 parts */
#define BLOOM_BITS 10.0                /* bits per key: 1 % of misses are looked for in vain */
#define BLOB_GC_AGE 0.0                /* compactions by themselves copy no body: store_rocksdb_reclaim() does */
#define LEVEL0_SLOWDOWN 20             /* tables of level 0 at which writes are slowed down */
#define PENDING_SLOWDOWN (64ull << 30) /* bytes of compaction debt at which they are */
#define INFO_LOG_MAX (10u << 20)       /* bytes of RocksDB's own LOG, INFO_LOG_FILES of them */
#define INFO_LOG_FILES 3
#define UNVERIFIED_MIN (32u << 10) /* bytes of a value from which on its checksum costs more than to do without */
#define PARTS_MAX 64               /* parts of one value */
#define BATCH_KEEP (4u << 20)      /* bytes that a cleared batch may keep for its next use */

/* RocksDB's name of each family, in the order of enum store_family; "default" is first in the database and holds the
 * format record alone. */
static const char *const family_names[STORE_FAMILY_COUNT] = {
    [STORE_LOG] = "log", [STORE_CHUNK] = "chunk", [STORE_STATE] = "state", [STORE_LOCAL] = "local"};

#define CF_COUNT (STORE_FAMILY_COUNT + 1)
#define CF_DEFAULT STORE_FAMILY_COUNT

struct rocks {
    struct store base;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *cf[CF_COUNT];
    rocksdb_options_t *options[CF_COUNT];
    rocksdb_cache_t *cache;
    _Atomic bool quiet;
    rocksdb_ratelimiter_t *limiter;
    rocksdb_env_t *env;
    rocksdb_readoptions_t *read;
    rocksdb_readoptions_t *read_unverified;
    rocksdb_writeoptions_t *write_sync;
    rocksdb_writeoptions_t *write_nosync;
    uint64_t write_buffers; /* tables of one family in memory before writes wait */
};

struct rocks_batch {
    struct store_batch base;
    struct rocks *rocks;
    rocksdb_writebatch_t *batch;
};

struct rocks_iter {
    struct store_iter base;
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read; /* holds pointers to `to` */
    uint8_t *from;
    size_t from_len;
    uint8_t *to;
    bool started;
};

struct store_snapshot {
    const rocksdb_snapshot_t *snapshot;
};

static struct rocks *rocks_of(struct store *store)
{
    return cq_containerof(store, struct rocks, base);
}

static struct rocks_batch *batch_of(struct store_batch *batch)
{
    return cq_containerof(batch, struct rocks_batch, base);
}

static struct rocks_iter *iter_of(const struct store_iter *iter)
{
    return cq_containerof(iter, struct rocks_iter, base);
}

static const char *chars(struct cq_slice s)
{
    return s.data ? (const char *)s.data : "";
}

/* ---- Errors: RocksDB's C interface gives a text that begins with the kind. ---- */

static enum cq_rc rc_of_text(const char *text)
{
    if (strstr(text, "Corruption"))
        return CQ_E_CORRUPT;
    return CQ_E_IO;
}

/* Takes the text over. */
static enum cq_rc fail_text(char *text, const char *what, struct cq_err *err)
{
    enum cq_rc rc = CQ_FAIL(err, rc_of_text(text), "%s: %s", what, text);
    rocksdb_free(text);
    return rc;
}

/* ---- Batches ---- */

static struct store_batch *rocks_batch_new(struct store *store)
{
    struct rocks_batch *b = cq_new(struct rocks_batch);
    b->base.ops = store->ops;
    b->rocks = rocks_of(store);
    b->batch = rocksdb_writebatch_create();
    return &b->base;
}

static void rocks_batch_free(struct store_batch *batch)
{
    struct rocks_batch *b = batch_of(batch);
    rocksdb_writebatch_destroy(b->batch);
    free(b);
}

static void rocks_batch_putv(struct store_batch *batch, enum store_family family, struct cq_slice key,
                             const struct cq_slice *parts, size_t count)
{
    struct rocks_batch *b = batch_of(batch);
    if (count == 1) {
        rocksdb_writebatch_put_cf(b->batch, b->rocks->cf[family], chars(key), key.len, chars(parts[0]), parts[0].len);
        return;
    }
    CQ_ASSERT(count <= PARTS_MAX);
    const char *data[PARTS_MAX];
    size_t len[PARTS_MAX];
    for (size_t i = 0; i < count; i++) {
        data[i] = chars(parts[i]);
        len[i] = parts[i].len;
    }
    const char *key_data = chars(key);
    rocksdb_writebatch_putv_cf(b->batch, b->rocks->cf[family], 1, &key_data, &key.len, (int)count, data, len);
}

static void rocks_batch_delete(struct store_batch *batch, enum store_family family, struct cq_slice key)
{
    struct rocks_batch *b = batch_of(batch);
    rocksdb_writebatch_delete_cf(b->batch, b->rocks->cf[family], chars(key), key.len);
}

static void rocks_batch_delete_range(struct store_batch *batch, enum store_family family, struct cq_slice from,
                                     struct cq_slice to)
{
    struct rocks_batch *b = batch_of(batch);
    if (cq_slice_cmp(from, to) >= 0)
        return; /* RocksDB calls an inverted range an error of the whole batch */
    rocksdb_writebatch_delete_range_cf(b->batch, b->rocks->cf[family], chars(from), from.len, chars(to), to.len);
}

static size_t rocks_batch_bytes(const struct store_batch *batch)
{
    const struct rocks_batch *b = cq_containerof(batch, struct rocks_batch, base);
    size_t size;
    rocksdb_writebatch_data(b->batch, &size);
    return size;
}

static void rocks_batch_clear(struct store_batch *batch)
{
    struct rocks_batch *b = batch_of(batch);
    if (rocks_batch_bytes(batch) <= BATCH_KEEP) {
        rocksdb_writebatch_clear(b->batch);
        return;
    }
    rocksdb_writebatch_destroy(b->batch);
    b->batch = rocksdb_writebatch_create();
}

static enum cq_rc rocks_write(struct store *store, struct store_batch *batch, bool sync, struct cq_err *err)
{
    struct rocks *r = rocks_of(store);
    char *text = NULL;
    rocksdb_write(r->db, sync ? r->write_sync : r->write_nosync, batch_of(batch)->batch, &text);
    if (!text)
        return CQ_OK;
    fail_text(text, "write", err);
    if (err)
        err->rc = CQ_E_IO;
    return CQ_E_IO;
}

/* ---- Reads ---- */

/* The options of one read; free_read_options() afterwards. */
static rocksdb_readoptions_t *read_options(struct rocks *r, struct store_snapshot *snapshot)
{
    if (!snapshot)
        return r->read;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(options, 1);
    rocksdb_readoptions_set_snapshot(options, snapshot->snapshot);
    return options;
}

static void free_read_options(struct rocks *r, rocksdb_readoptions_t *options)
{
    if (options != r->read)
        rocksdb_readoptions_destroy(options);
}

static enum cq_rc get_with(struct rocks *r, const rocksdb_readoptions_t *options, enum store_family family,
                           struct cq_slice key, struct cq_buf *out, struct cq_err *err)
{
    char *text = NULL;
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned_cf(r->db, options, r->cf[family], chars(key), key.len, &text);
    if (text)
        return fail_text(text, "read", err);
    if (!pin)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "no such key in %s", family_names[family]);
    size_t len;
    const char *value = rocksdb_pinnableslice_value(pin, &len);
    bool ok = cq_buf_add(out, value, len);
    rocksdb_pinnableslice_destroy(pin);
    return ok ? CQ_OK : CQ_FAIL(err, CQ_E_LIMIT, "a value of %zu bytes in %s", len, family_names[family]);
}

static enum cq_rc rocks_get(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                            struct cq_slice key, struct cq_buf *out, struct cq_err *err)
{
    struct rocks *r = rocks_of(store);
    rocksdb_readoptions_t *options = read_options(r, snapshot);
    enum cq_rc rc = get_with(r, options, family, key, out, err);
    free_read_options(r, options);
    return rc;
}

/* RocksDB verifies both table block and blob, or neither. A block that nobody has verified would be parsed (a damaged
 * one can end the process) and cached for everybody. So an iterator that may not see the key looks for it first: it
 * reads and verifies the block where the key is, not the blob, and holds the block in the cache while the value is
 * read. */
static enum cq_rc rocks_get_unverified(struct store *store, enum store_family family, struct cq_slice key,
                                       size_t length, struct cq_buf *out, struct cq_err *err)
{
    struct rocks *r = rocks_of(store);
    if (length < UNVERIFIED_MIN)
        return rocks_get(store, NULL, family, key, out, err);
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(options, 1);
    rocksdb_readoptions_set_iterate_upper_bound(options, chars(key), key.len);
    rocksdb_iterator_t *holder = rocksdb_create_iterator_cf(r->db, options, r->cf[family]);
    rocksdb_iter_seek(holder, chars(key), key.len);
    char *text = NULL;
    rocksdb_iter_get_error(holder, &text);
    enum cq_rc rc = text ? fail_text(text, "read", err) : get_with(r, r->read_unverified, family, key, out, err);
    rocksdb_iter_destroy(holder);
    rocksdb_readoptions_destroy(options);
    return rc;
}

static struct store_iter *rocks_iter_new(struct store *store, struct store_snapshot *snapshot, enum store_family family,
                                         struct cq_slice from, struct cq_slice to)
{
    struct rocks *r = rocks_of(store);
    struct rocks_iter *i = cq_new(struct rocks_iter);
    i->base.ops = store->ops;
    i->from = cq_memdup(from.data, from.len);
    i->from_len = from.len;
    i->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(i->read, 1);
    if (snapshot)
        rocksdb_readoptions_set_snapshot(i->read, snapshot->snapshot);
    if (to.len) {
        i->to = cq_memdup(to.data, to.len);
        rocksdb_readoptions_set_iterate_upper_bound(i->read, (const char *)i->to, to.len);
    }
    i->it = rocksdb_create_iterator_cf(r->db, i->read, r->cf[family]);
    return &i->base;
}

static void rocks_iter_free(struct store_iter *iter)
{
    struct rocks_iter *i = iter_of(iter);
    rocksdb_iter_destroy(i->it);
    rocksdb_readoptions_destroy(i->read);
    free(i->from);
    free(i->to);
    free(i);
}

static enum cq_rc iter_state(struct rocks_iter *i)
{
    if (rocksdb_iter_valid(i->it))
        return CQ_OK;
    char *text = NULL;
    rocksdb_iter_get_error(i->it, &text);
    return text ? fail_text(text, "iterate", NULL) : CQ_E_EOF;
}

static enum cq_rc rocks_iter_seek(struct store_iter *iter, struct cq_slice key)
{
    struct rocks_iter *i = iter_of(iter);
    struct cq_slice from = cq_slice_of(i->from, i->from_len);
    if (cq_slice_cmp(key, from) < 0)
        key = from;
    i->started = true;
    rocksdb_iter_seek(i->it, chars(key), key.len);
    return iter_state(i);
}

static enum cq_rc rocks_iter_next(struct store_iter *iter)
{
    struct rocks_iter *i = iter_of(iter);
    if (!i->started)
        return rocks_iter_seek(iter, cq_slice_of(i->from, i->from_len));
    if (rocksdb_iter_valid(i->it))
        rocksdb_iter_next(i->it);
    return iter_state(i);
}

static struct cq_slice rocks_iter_key(const struct store_iter *iter)
{
    size_t len;
    const char *key = rocksdb_iter_key(iter_of(iter)->it, &len);
    return cq_slice_of(key, len);
}

static struct cq_slice rocks_iter_value(const struct store_iter *iter)
{
    size_t len;
    const char *value = rocksdb_iter_value(iter_of(iter)->it, &len);
    return cq_slice_of(value, len);
}

static struct store_snapshot *rocks_snapshot_new(struct store *store)
{
    struct store_snapshot *s = cq_new(struct store_snapshot);
    s->snapshot = rocksdb_create_snapshot(rocks_of(store)->db);
    return s;
}

static void rocks_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    rocksdb_release_snapshot(rocks_of(store)->db, snapshot->snapshot);
    free(snapshot);
}

/* ---- Opening and closing ---- */

static void rocks_free(struct rocks *r)
{
    for (int f = 0; f < CF_COUNT; f++)
        if (r->cf[f])
            rocksdb_column_family_handle_destroy(r->cf[f]);
    if (r->db)
        rocksdb_close(r->db);
    for (int f = 0; f < CF_COUNT; f++)
        if (r->options[f])
            rocksdb_options_destroy(r->options[f]);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_readoptions_destroy(r->read_unverified);
    rocksdb_writeoptions_destroy(r->write_sync);
    rocksdb_writeoptions_destroy(r->write_nosync);
    rocksdb_cache_destroy(r->cache);
    if (r->limiter)
        rocksdb_ratelimiter_destroy(r->limiter);
    rocksdb_env_destroy(r->env);
    free(r);
}

static void rocks_close(struct store *store)
{
    rocks_free(rocks_of(store));
}

static const struct store_ops rocks_ops = {
    .batch_new = rocks_batch_new,
    .batch_free = rocks_batch_free,
    .batch_putv = rocks_batch_putv,
    .batch_delete = rocks_batch_delete,
    .batch_delete_range = rocks_batch_delete_range,
    .batch_bytes = rocks_batch_bytes,
    .batch_clear = rocks_batch_clear,
    .write = rocks_write,
    .get = rocks_get,
    .get_unverified = rocks_get_unverified,
    .iter_new = rocks_iter_new,
    .iter_free = rocks_iter_free,
    .iter_next = rocks_iter_next,
    .iter_seek = rocks_iter_seek,
    .iter_key = rocks_iter_key,
    .iter_value = rocks_iter_value,
    .snapshot_new = rocks_snapshot_new,
    .snapshot_free = rocks_snapshot_free,
    .close = rocks_close,
};

static const int compressions[] = {[STORE_COMPRESSION_NONE] = rocksdb_no_compression,
                                   [STORE_COMPRESSION_LZ4] = rocksdb_lz4_compression,
                                   [STORE_COMPRESSION_ZSTD] = rocksdb_zstd_compression};

/* What holds for the database as a whole; RocksDB takes it from the options that it is opened with. */
static void set_database_options(rocksdb_options_t *o, struct rocks *r, bool create,
                                 const struct store_rocksdb_config *config)
{
    rocksdb_options_set_env(o, r->env);
    rocksdb_options_set_create_if_missing(o, create);
    rocksdb_options_set_create_missing_column_families(o, create);
    rocksdb_options_set_error_if_exists(o, create);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, config->salvage ? rocksdb_point_in_time_recovery
                                                             : rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_recycle_log_file_num(o, 0); /* a recycled file's old end would look like a torn tail */
    rocksdb_options_set_max_total_wal_size(o, config->wal_max);
    rocksdb_options_set_bytes_per_sync(o, config->bytes_per_sync);
    rocksdb_options_set_max_background_jobs(o, (int)config->background_jobs);
    rocksdb_options_set_max_open_files(o, (int)config->open_files);
    rocksdb_options_set_keep_log_file_num(o, INFO_LOG_FILES);
    rocksdb_options_set_max_log_file_size(o, INFO_LOG_MAX);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    rocksdb_options_set_avoid_unnecessary_blocking_io(o, 1);
    if (r->limiter)
        rocksdb_options_set_ratelimiter(o, r->limiter);
}

static void set_table_options(rocksdb_options_t *o, struct rocks *r)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_block_size(t, TABLE_BLOCK);
    rocksdb_block_based_options_set_block_cache(t, r->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    /* In pieces of a block: a large table's whole filter is megabytes, and read anew for one key when it has left. */
    rocksdb_block_based_options_set_index_type(t, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(t, 1);
    rocksdb_block_based_options_set_metadata_block_size(t, TABLE_BLOCK);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

static void set_family_options(rocksdb_options_t *o, int family, const struct store_rocksdb_config *config)
{
    rocksdb_options_set_write_buffer_size(o, config->write_buffer);
    rocksdb_options_set_max_write_buffer_number(o, (int)config->write_buffers);
    rocksdb_options_set_disable_auto_compactions(o, config->quiet);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, LEVEL0_SLOWDOWN);
    rocksdb_options_set_soft_pending_compaction_bytes_limit(o, PENDING_SLOWDOWN);
    rocksdb_options_set_compression(o, family == STORE_STATE ? rocksdb_lz4_compression : rocksdb_no_compression);
    if (family != STORE_CHUNK)
        return;
    rocksdb_options_set_enable_blob_files(o, 1);
    rocksdb_options_set_min_blob_size(o, BLOB_MIN);
    rocksdb_options_set_blob_file_size(o, BLOB_FILE);
    rocksdb_options_set_blob_compression_type(o, compressions[config->body_compression]);
    rocksdb_options_set_enable_blob_gc(o, 1);
    rocksdb_options_set_blob_gc_age_cutoff(o, BLOB_GC_AGE);
    rocksdb_options_set_blob_gc_force_threshold(o, 0.5);
}

/* Divided for the sake of threads, but not so far that a large block finds no room in its part. */
static rocksdb_cache_t *cache_new(uint64_t capacity)
{
    rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
    int bits = 0;
    while (bits < CACHE_SHARD_BITS_MAX && capacity >> (bits + 1) >= CACHE_SHARD_MIN)
        bits++;
    rocksdb_lru_cache_options_set_capacity(o, capacity);
    rocksdb_lru_cache_options_set_num_shard_bits(o, bits);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(o);
    rocksdb_lru_cache_options_destroy(o);
    return cache;
}

static struct rocks *rocks_new(bool create, const struct store_rocksdb_config *config)
{
    struct rocks *r = cq_new(struct rocks);
    r->base.ops = &rocks_ops;
    r->write_buffers = (uint64_t)config->write_buffers;
    r->quiet = config->quiet;
    r->env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(r->env, (int)config->background_jobs);
    rocksdb_env_set_high_priority_background_threads(r->env, 1);
    r->cache = cache_new(config->block_cache);
    if (config->background_rate)
        r->limiter = rocksdb_ratelimiter_create((int64_t)config->background_rate, 100 * 1000, 10);
    r->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read, 1);
    r->read_unverified = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read_unverified, 0);
    rocksdb_readoptions_set_fill_cache(r->read_unverified, 0);
    r->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->write_sync, 1);
    r->write_nosync = rocksdb_writeoptions_create();
    for (int f = 0; f < CF_COUNT; f++) {
        r->options[f] = rocksdb_options_create();
        set_database_options(r->options[f], r, create, config);
        set_table_options(r->options[f], r);
        set_family_options(r->options[f], f, config);
    }
    return r;
}

static const char *cf_name(int f)
{
    return f == CF_DEFAULT ? "default" : family_names[f];
}

static bool known_family(const char *name)
{
    for (int f = 0; f < CF_COUNT; f++)
        if (strcmp(name, cf_name(f)) == 0)
            return true;
    return false;
}

/* RocksDB refuses to open a database without naming all its families: those of a newer release are told apart here. */
static enum cq_rc check_families(struct rocks *r, const char *path, struct cq_err *err)
{
    size_t count = 0;
    char *text = NULL;
    char **names = rocksdb_list_column_families(r->options[CF_DEFAULT], path, &count, &text);
    if (text)
        return fail_text(text, path, err);
    enum cq_rc rc = CQ_OK;
    for (size_t i = 0; i < count && rc == CQ_OK; i++)
        if (!known_family(names[i]))
            rc =
                CQ_FAIL(err, CQ_E_VERSION, "%s: it has a table \"%s\" that this release does not know", path, names[i]);
    rocksdb_list_column_families_destroy(names, count);
    return rc;
}

static enum cq_rc open_database(struct rocks *r, const char *path, struct cq_err *err)
{
    const char *names[CF_COUNT];
    const rocksdb_options_t *options[CF_COUNT];
    char *text = NULL;
    for (int f = 0; f < CF_COUNT; f++) {
        names[f] = cf_name(f);
        options[f] = r->options[f];
    }
    r->db = rocksdb_open_column_families(r->options[CF_DEFAULT], path, CF_COUNT, names, options, r->cf, &text);
    if (!text)
        return CQ_OK;
    if (strstr(text, "lock")) {
        rocksdb_free(text);
        return CQ_FAIL(err, CQ_E_UNAVAILABLE, "%s: another process has it open", path);
    }
    return fail_text(text, path, err);
}

static enum cq_rc write_format(struct rocks *r, const char *path, struct cq_err *err)
{
    uint8_t record[FORMAT_SIZE];
    cq_put_be32(record, FORMAT_VERSION);
    cq_put_be64(record + 4, cq_xxh3_64(cq_slice_of(record, 4)));
    char *text = NULL;
    rocksdb_put_cf(r->db, r->write_sync, r->cf[CF_DEFAULT], FORMAT_KEY, sizeof FORMAT_KEY - 1, (const char *)record,
                   sizeof record, &text);
    return text ? fail_text(text, path, err) : CQ_OK;
}

static enum cq_rc judge_format(struct cq_slice record, const char *path, struct cq_err *err)
{
    if (record.len < FORMAT_SIZE || cq_get_be64(record.data + 4) != cq_xxh3_64(cq_slice_of(record.data, 4)))
        return CQ_FAIL(err, CQ_E_CORRUPT, "%s: the format record is damaged", path);
    uint32_t version = cq_get_be32(record.data);
    if (version == FORMAT_VERSION)
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_VERSION, "%s: store format %u; this release knows %u", path, version, FORMAT_VERSION);
}

static enum cq_rc check_format(struct rocks *r, const char *path, struct cq_err *err)
{
    char *text = NULL;
    size_t len = 0;
    char *value = rocksdb_get_cf(r->db, r->read, r->cf[CF_DEFAULT], FORMAT_KEY, sizeof FORMAT_KEY - 1, &len, &text);
    if (text)
        return fail_text(text, path, err);
    if (!value)
        return CQ_FAIL(err, CQ_E_CORRUPT, "%s: not a store of ours (it has no format record)", path);
    enum cq_rc rc = judge_format(cq_slice_of(value, len), path, err);
    rocksdb_free(value);
    return rc;
}

static bool database_exists(const char *path)
{
    char current[4096];
    struct stat st;
    return snprintf(current, sizeof current, "%s/CURRENT", path) < (int)sizeof current && stat(current, &st) == 0;
}

static enum cq_rc open_existing(struct rocks *r, const char *path, struct cq_err *err)
{
    enum cq_rc rc = check_families(r, path, err);
    if (rc != CQ_OK)
        return rc;
    rc = open_database(r, path, err);
    return rc == CQ_OK ? check_format(r, path, err) : rc;
}

static enum cq_rc open_new(struct rocks *r, const char *path, struct cq_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    enum cq_rc rc = open_database(r, path, err);
    return rc == CQ_OK ? write_format(r, path, err) : rc;
}

enum cq_rc store_rocksdb_open(const char *path, bool create, const struct store_rocksdb_config *config,
                              struct store **store_r, struct cq_err *err)
{
    *store_r = NULL;
    bool exists = database_exists(path);
    if (create && exists)
        return CQ_FAIL(err, CQ_E_EXISTS, "%s: there is a store already", path);
    if (!create && !exists)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "%s: there is no store", path);
    struct rocks *r = rocks_new(create, config);
    enum cq_rc rc = create ? open_new(r, path, err) : open_existing(r, path, err);
    if (rc != CQ_OK) {
        rocks_free(r);
        return rc;
    }
    *store_r = &r->base;
    return CQ_OK;
}

void store_rocksdb_compact(struct store *store, enum store_family family, struct cq_slice from, struct cq_slice to)
{
    struct rocks *r = rocks_of(store);
    if (r->quiet)
        return;
    rocksdb_compact_range_cf(r->db, r->cf[family], chars(from), from.len, chars(to), to.len);
}

static uint64_t approximate(struct rocks *r, enum store_family family, struct cq_slice from, struct cq_slice to)
{
    const char *starts[] = {chars(from)}, *ends[] = {chars(to)};
    const size_t start_lens[] = {from.len}, end_lens[] = {to.len};
    uint64_t size = 0;
    char *text = NULL;
    rocksdb_approximate_sizes_cf(r->db, r->cf[family], 1, starts, start_lens, ends, end_lens, &size, &text);
    free(text);
    return size;
}

uint64_t store_rocksdb_bytes(struct store *store, enum store_family family, struct cq_slice from, struct cq_slice to)
{
    struct rocks *r = rocks_of(store);
    static const uint8_t last[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint64_t size = approximate(r, family, from, to), blobs = 0;
    if (family != STORE_CHUNK || rocksdb_property_int_cf(r->db, r->cf[family], "rocksdb.live-blob-file-size", &blobs))
        return size;
    uint64_t all = approximate(r, family, CQ_SLICE_NONE, cq_slice_of(last, sizeof last));
    return size + (all ? (uint64_t)((double)blobs * (double)size / (double)all) : 0);
}

static uint64_t property(struct rocks *r, int family, const char *name);

/* What is nothing but garbage goes without being rewritten, once compaction has met the tombstones: so the first pass
 * copies nothing. The second copies what is alive in the oldest part of the files. */
static void set_gc_cutoff(struct rocks *r, double cutoff)
{
    static const char *const names[] = {"blob_garbage_collection_age_cutoff"};
    char value[32], *text = NULL;
    snprintf(value, sizeof value, "%.3f", cutoff);
    const char *const values[] = {value};
    rocksdb_set_options_cf(r->db, r->cf[STORE_CHUNK], 1, names, values, &text);
    rocksdb_free(text);
}

#define COMPACT_ALL_LEVELS 2 /* BottommostLevelCompaction::kForce */

static void compact_chunks(struct rocks *r)
{
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_exclusive_manual_compaction(options, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(options, COMPACT_ALL_LEVELS);
    rocksdb_compact_range_cf_opt(r->db, r->cf[STORE_CHUNK], options, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(options);
}

/* What of the free space the copies of one pass may take, before the files that they were made from go. */
#define RECLAIM_FREE_PART 4
#define RECLAIM_PASSES 64
#define GARBAGE_PART 10 /* one byte of so many may stay garbage */

/* The first pass copies nothing: compaction meets the tombstones, garbage is counted, and files that are nothing else
 * go. Each of the following copies what is alive in the oldest part of the files. */
void store_rocksdb_reclaim(struct store *store, uint64_t free_bytes)
{
    struct rocks *r = rocks_of(store);
    if (r->quiet)
        return;
    compact_chunks(r);
    for (int pass = 0; pass < RECLAIM_PASSES; pass++) {
        uint64_t total = property(r, STORE_CHUNK, "rocksdb.live-blob-file-size");
        uint64_t garbage = property(r, STORE_CHUNK, "rocksdb.live-blob-file-garbage-size");
        if (garbage * GARBAGE_PART <= total)
            break;
        double share = (double)free_bytes / RECLAIM_FREE_PART / (double)total;
        set_gc_cutoff(r, share < 1 ? share : 1);
        compact_chunks(r);
    }
    set_gc_cutoff(r, BLOB_GC_AGE);
}

void store_rocksdb_reclaim_stop(struct store *store)
{
    rocksdb_disable_manual_compaction(rocks_of(store)->db);
}

uint64_t store_rocksdb_sequence(struct store *store)
{
    return rocksdb_get_latest_sequence_number(rocks_of(store)->db);
}

enum cq_rc store_rocksdb_unquiet(struct store *store, struct cq_err *err)
{
    static const char *const keys[] = {"disable_auto_compactions"}, *const values[] = {"false"};
    struct rocks *r = rocks_of(store);
    char *text = NULL;
    for (int f = 0; f < CF_COUNT && !text; f++)
        rocksdb_set_options_cf(r->db, r->cf[f], 1, keys, values, &text);
    if (text)
        return fail_text(text, "compaction", err);
    r->quiet = false;
    return CQ_OK;
}

enum cq_rc store_rocksdb_flush(struct store *store, struct cq_err *err)
{
    struct rocks *r = rocks_of(store);
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    char *text = NULL;
    for (int f = 0; f < STORE_FAMILY_COUNT && !text; f++)
        rocksdb_flush_cf(r->db, options, r->cf[f], &text);
    rocksdb_flushoptions_destroy(options);
    return text ? fail_text(text, "flush", err) : CQ_OK;
}

/* ---- Statistics ---- */

static uint64_t property(struct rocks *r, int family, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int_cf(r->db, r->cf[family], name, &value) == 0 ? value : 0;
}

static uint64_t property_sum(struct rocks *r, const char *name)
{
    uint64_t sum = 0;
    for (int f = 0; f < STORE_FAMILY_COUNT; f++)
        sum += property(r, f, name);
    return sum;
}

void store_rocksdb_stats(struct store *store, struct store_rocksdb_stats *stats_r)
{
    struct rocks *r = rocks_of(store);
    *stats_r = (struct store_rocksdb_stats){
        .table_bytes = property_sum(r, "rocksdb.total-sst-files-size"),
        .blob_bytes = property(r, STORE_CHUNK, "rocksdb.total-blob-file-size"),
        .blob_live_bytes = property(r, STORE_CHUNK, "rocksdb.live-blob-file-size"),
        .memtable_bytes = property_sum(r, "rocksdb.cur-size-all-mem-tables"),
        .cache_bytes = rocksdb_cache_get_usage(r->cache),
        .pending_bytes = property_sum(r, "rocksdb.estimate-pending-compaction-bytes"),
        .delayed_rate = property(r, STORE_LOG, "rocksdb.actual-delayed-write-rate"),
        .stopped = property(r, STORE_LOG, "rocksdb.is-write-stopped"),
        .keys_estimate = property(r, STORE_STATE, "rocksdb.estimate-num-keys"),
    };
}

uint64_t store_rocksdb_chunks(struct store *store)
{
    return property(rocks_of(store), STORE_CHUNK, "rocksdb.estimate-num-keys");
}

uint64_t store_rocksdb_unflushed(struct store *store)
{
    return property_sum(rocks_of(store), "rocksdb.cur-size-all-mem-tables");
}

/* What RocksDB slows writes down at, set below like its own defaults; near is four fifths of the way. */
static bool is_near(uint64_t value, uint64_t limit)
{
    return value * 5 >= limit * 4;
}

bool store_rocksdb_pressed(struct store *store)
{
    struct rocks *r = rocks_of(store);
    if (property(r, STORE_LOG, "rocksdb.is-write-stopped") ||
        property(r, STORE_LOG, "rocksdb.actual-delayed-write-rate"))
        return true;
    for (int f = 0; f < STORE_FAMILY_COUNT; f++)
        if (is_near(property(r, f, "rocksdb.num-files-at-level0"), LEVEL0_SLOWDOWN) ||
            is_near(property(r, f, "rocksdb.estimate-pending-compaction-bytes"), PENDING_SLOWDOWN) ||
            property(r, f, "rocksdb.num-immutable-mem-table") + 1 >= r->write_buffers)
            return true;
    return false;
}

/* ---- Settings ---- */

static const char *const compression_names[] = {"none", "lz4", "zstd", NULL};

static const struct cq_setting rocks_rows[] = {
    CQ_SET_SIZE(struct store_rocksdb_config, block_cache, "store.block_cache", "256MiB", "8MiB", "1TiB",
                "Memory for table blocks, their indexes and filters. Bodies are not cached here but by the kernel."),
    CQ_SET_SIZE(struct store_rocksdb_config, write_buffer, "store.write_buffer", "64MiB", "1MiB", "1GiB",
                "Size at which a table in memory is written out; there are four kinds of table."),
    CQ_SET_INT(struct store_rocksdb_config, write_buffers, "store.write_buffers", "4", 2, 16, "tables",
               "Tables of one kind in memory, full ones included, before writes wait for the disk."),
    CQ_SET_SIZE(struct store_rocksdb_config, wal_max, "store.wal_max", "512MiB", "16MiB", "64GiB",
                "Size of all write-ahead log files at which the oldest data in memory is written out; bounds the "
                "replay at a start."),
    CQ_SET_SIZE(struct store_rocksdb_config, bytes_per_sync, "store.bytes_per_sync", "1MiB", "0", "64MiB",
                "Background writers ask the kernel to write out each time they have written this much, so that an "
                "fsync never waits for a mountain. 0: never."),
    CQ_SET_SIZE(struct store_rocksdb_config, background_rate, "store.background_rate", "0", "0", "16GiB",
                "Bytes per second that flushes and compactions may write. 0: no limit."),
    CQ_SET_INT(struct store_rocksdb_config, background_jobs, "store.background_jobs", "2", 2, 32, "threads",
               "Flushes and compactions that run at the same time."),
    CQ_SET_INT(struct store_rocksdb_config, open_files, "store.open_files", "1000", 64, 1000000, "files",
               "Table and blob files held open."),
    CQ_SET_CHOICE(struct store_rocksdb_config, body_compression, "store.body_compression", "none", compression_names,
                  "Compression of bodies when they are moved to their blob files."),
};

struct cq_config_part store_rocksdb_config_part(struct store_rocksdb_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("store", rocks_rows, values);
}
