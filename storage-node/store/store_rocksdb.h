/* The store on RocksDB: one database, one column family per store_family (docs/formats/store.md).
 *
 * What is always true: every write is in the WAL before it is visible; a batch is atomic over all families; recovery
 * forgives a torn tail of the WAL and nothing else (unless somebody says `salvage`); every block that is read has its
 * checksum verified. All functions of store.h may be called from any thread; a batch, an iterator or a snapshot belongs
 * to one thread at a time. RocksDB orders concurrent writes, but the node has exactly one writer (node/writer.h).
 *
 * Compactions never copy a body; store_rocksdb_reclaim() gives the space of deleted ones back. */
#ifndef STORE_ROCKSDB_H
#define STORE_ROCKSDB_H

#include "base/cq_config.h"
#include "base/cq_err.h"
#include "store/store.h"

struct store_rocksdb_config {
    uint64_t block_cache;     /* bytes, all families together */
    uint64_t write_buffer;    /* bytes of one memtable */
    int64_t write_buffers;    /* memtables of one family before writes wait */
    uint64_t wal_max;         /* bytes of all WAL files; older families are flushed to stay below */
    uint64_t bytes_per_sync;  /* written to a table or blob file between hints to the kernel to write it out */
    uint64_t background_rate; /* bytes per second that flushes and compactions write, 0: unlimited */
    int64_t background_jobs;  /* flushes and compactions at once */
    int64_t open_files;       /* table files held open */
    int body_compression;     /* enum store_compression */
    /* Not settings. */
    bool salvage; /* a WAL that is damaged in its middle is taken up to there: what is behind is lost */
    bool quiet;   /* no compaction, so no collection of garbage in blobs: nothing reads what nobody asks for */
};

enum store_compression { STORE_COMPRESSION_NONE, STORE_COMPRESSION_LZ4, STORE_COMPRESSION_ZSTD };

/* Settings "store.*". */
struct cq_config_part store_rocksdb_config_part(struct store_rocksdb_config *values);

/* Opens the database in folder `path`. With create, an absent or empty folder becomes a new one; without, it must
 * exist: a node never starts empty by itself. Only one process can have it open.
 * CQ_E_NOT_FOUND (no database there), CQ_E_EXISTS (create, and there is one), CQ_E_UNAVAILABLE (another process holds
 * it), CQ_E_VERSION (written by a newer release), CQ_E_CORRUPT, CQ_E_IO. */
enum cq_rc store_rocksdb_open(const char *path, bool create, const struct store_rocksdb_config *config,
                              struct store **store_r, struct cq_err *err);

/* How much has ever been written: each put and delete counts one. What is durable has all up to here when a synced
 * write returns, and no other thread writes. */
uint64_t store_rocksdb_sequence(struct store *store);

/* The end of `quiet`. */
enum cq_rc store_rocksdb_unquiet(struct store *store, struct cq_err *err);

/* Flushes all memtables to table files, so that the next start replays little of the WAL. */
enum cq_rc store_rocksdb_flush(struct store *store, struct cq_err *err);

/* Rewrites what is left of keys in [from, to), so that the space of deleted ones comes back now. May take long. */
/* Bytes that the keys in [from, to) take on the disk, about; blobs by the share of their keys. Any thread. */
uint64_t store_rocksdb_bytes(struct store *store, enum store_family family, struct cq_slice from, struct cq_slice to);

void store_rocksdb_compact(struct store *store, enum store_family family, struct cq_slice from, struct cq_slice to);

/* Gives the space of deleted bodies back now: rewrites what is left of the oldest files that hold them, as many as may
 * be copied into free_bytes before the old ones go. May take long; on any thread that may wait. */
void store_rocksdb_reclaim(struct store *store, uint64_t free_bytes);

/* Ends one that runs, soon, and lets none begin any more. Any thread. */
void store_rocksdb_reclaim_stop(struct store *store);

/* For metrics; cheap. */
struct store_rocksdb_stats {
    uint64_t table_bytes;     /* live table files */
    uint64_t blob_bytes;      /* blob files, garbage included */
    uint64_t blob_live_bytes; /* estimate */
    uint64_t memtable_bytes;  /* not yet flushed */
    uint64_t cache_bytes;     /* block cache in use */
    uint64_t pending_bytes;   /* compaction debt, estimate */
    uint64_t delayed_rate;    /* bytes per second that writes are slowed to, 0: not slowed */
    uint64_t stopped;         /* 1: writes are stopped */
    uint64_t keys_estimate;   /* STORE_STATE */
};
void store_rocksdb_stats(struct store *store, struct store_rocksdb_stats *stats_r);

/* How many chunks there are, deleted ones that still take space included: an estimate; cheap. */
uint64_t store_rocksdb_chunks(struct store *store);

/* Bytes in memory that are yet to be written to files beside the write-ahead log; cheap. */
uint64_t store_rocksdb_unflushed(struct store *store);

/* Writes are slowed down or held up because flushes and compactions are behind, or will be soon: the tables of level 0,
 * the full tables in memory or the debt of compaction have come near what RocksDB slows down at. */
bool store_rocksdb_pressed(struct store *store);

#endif
