/* A node's data directory: who the node is, and its store. Byte by byte in docs/formats/data-dir.md.
 *
 * A directory is made once, when it is empty: it gets a random node id and an empty store, and belongs to the cluster
 * that the settings named then. After that nothing in it is ever made anew: a directory whose store or identity is
 * missing, that belongs to another cluster, or that a newer release wrote, is refused and left alone. */
#ifndef DATA_DIR_H
#define DATA_DIR_H

#include "rpc/rpc_role.h"
#include "store/store_rocksdb.h"

#define DATA_DIR_PATH_MAX 3000 /* bytes of its path */

struct data_dir {
    char path[DATA_DIR_PATH_MAX + 1];
    char cluster[RPC_CLUSTER_ID_MAX + 1];
    uint8_t node[16];
    uint64_t boot; /* starts of this node, this one included: from 1 */
    bool created;  /* by this start */
    bool damaged;  /* the store has refused to write because something in it does not read: it is open, and quiet */
    size_t forgot; /* replicas that were withheld by this start, because the store has less than was once synced */
    struct store *store;
    int lock_fd;
};

/* Makes or opens it, counts the start (durably), and opens the store. The text of an error says what to do.
 * CQ_E_INVALID (the path or the cluster's id), CQ_E_UNAVAILABLE (another process has it), CQ_E_CONFLICT (it belongs to
 * another cluster), CQ_E_VERSION (a newer release wrote it), CQ_E_CORRUPT (something is missing or damaged), CQ_E_IO.
 */
enum cq_rc data_dir_open(struct data_dir *dir, const char *path, const char *cluster,
                         const struct store_rocksdb_config *config, struct cq_err *err);

/* The node has been removed from its cluster and holds nothing any more: the directory is marked, and data_dir_open()
 * refuses it from now on (CQ_E_DENIED). CQ_E_IO. Any thread. */
enum cq_rc data_dir_bury(struct data_dir *dir, struct cq_err *err);

/* The path of one of its files. */
#define DATA_DIR_FILE_SIZE (DATA_DIR_PATH_MAX + 64)
void data_dir_file(const struct data_dir *dir, const char *name, char path_r[static DATA_DIR_FILE_SIZE]);

/* The store takes no writes any more because it has met something that does not read: the next start must not let it
 * meet that again before it has been found (store_mender.h). Any thread, before the process ends. */
enum cq_rc data_dir_note_damage(const struct data_dir *dir, const char *what, struct cq_err *err);
/* It has been found, and is gone. */
enum cq_rc data_dir_damage_gone(struct data_dir *dir, struct cq_err *err);

/* Starts are counted from that one on. */
enum cq_rc data_dir_raise_boot(struct data_dir *dir, uint64_t boot, struct cq_err *err);

/* Closes the store and gives the directory up. Zeroed is fine. */
void data_dir_close(struct data_dir *dir);

#endif
