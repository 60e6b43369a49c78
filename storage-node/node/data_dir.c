#include "node/data_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cq_failpoint.h"
#include "base/cq_hash.h"
#include "base/cq_hex.h"
#include "base/cq_rand.h"
#include "base/cq_log.h"
#include "node/replica_record.h"
#include "node/sync_mark.h"

#define LOCK_TRIES 20
#define LOCK_PAUSE_US 100000
#define FORMAT_VERSION 1
#define FILE_MAX 4096 /* bytes of one of the small files */
#define PATH_SIZE DATA_DIR_FILE_SIZE

static enum cq_rc fail_errno(struct cq_err *err, const char *path)
{
    return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
}

static void path_of(const struct data_dir *dir, const char *name, char path_r[static PATH_SIZE])
{
    snprintf(path_r, PATH_SIZE, "%s/%s", dir->path, name);
}

void data_dir_file(const struct data_dir *dir, const char *name, char path_r[static DATA_DIR_FILE_SIZE])
{
    path_of(dir, name, path_r);
}

/* ---- Small files: lines, the last one "xxh3 <16 digits>" over all before it. ---- */

static enum cq_rc sync_folder(const struct data_dir *dir, struct cq_err *err)
{
    int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, dir->path);
    int failed = fsync(fd);
    enum cq_rc rc = failed ? fail_errno(err, dir->path) : CQ_OK;
    close(fd);
    return rc;
}

static enum cq_rc write_all(int fd, struct cq_slice bytes, const char *path, struct cq_err *err)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, path);
        bytes = cq_slice_skip(bytes, (size_t)n);
    }
    return fsync(fd) == 0 ? CQ_OK : fail_errno(err, path);
}

/* Writes a new file and puts it in the place of the old one: a crash leaves the one or the other, whole. */
static enum cq_rc replace_file(const struct data_dir *dir, const char *name, struct cq_buf *text, struct cq_err *err)
{
    char path[PATH_SIZE], fresh[PATH_SIZE + 8];
    char digits[CQ_HEX64_SIZE];
    path_of(dir, name, path);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    cq_hex_u64(cq_xxh3_64(cq_buf_slice(text)), digits);
    cq_buf_printf(text, "xxh3 %s\n", digits);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(err, fresh);
    enum cq_rc rc = write_all(fd, cq_buf_slice(text), fresh, err);
    close(fd);
    if (rc != CQ_OK)
        return rc;
    cq_failpoint(FAIL_FILE_WRITTEN);
    if (rename(fresh, path) != 0)
        return fail_errno(err, path);
    cq_failpoint(FAIL_FILE_RENAMED);
    rc = sync_folder(dir, err);
    cq_failpoint(FAIL_FILE_SYNCED);
    return rc;
}

/* CQ_E_NOT_FOUND when there is no such file; the checked lines go to text, without the last one. */
static enum cq_rc read_file(const struct data_dir *dir, const char *name, struct cq_buf *text, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(dir, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? CQ_FAIL(err, CQ_E_NOT_FOUND, "%s: it is missing", path) : fail_errno(err, path);
    uint8_t *at = cq_buf_reserve(text, FILE_MAX);
    ssize_t n = read(fd, at, FILE_MAX);
    close(fd);
    if (n < 0)
        return fail_errno(err, path);
    cq_buf_commit(text, (size_t)n);
    size_t tail = sizeof "xxh3 \n" - 1 + 16;
    uint64_t sum = 0;
    struct cq_slice all = cq_buf_slice(text);
    struct cq_slice body = cq_slice_sub(all, 0, all.len > tail ? all.len - tail : 0);
    struct cq_slice last = cq_slice_skip(all, body.len);
    if (!cq_slice_starts(last, CQ_SLICE("xxh3 ")) || !cq_hex_u64_parse(cq_slice_sub(last, 5, 16), &sum) ||
        sum != cq_xxh3_64(body))
        return CQ_FAIL(err, CQ_E_CORRUPT, "%s: it is damaged (its checksum is wrong)", path);
    text->len = body.len;
    return CQ_OK;
}

/* The rest of the next line when it begins with that word and a space. */
static bool take_line(struct cq_slice *text, const char *word, struct cq_slice *rest_r)
{
    struct cq_slice line = cq_slice_cut(text, '\n');
    struct cq_slice first = cq_slice_cut(&line, ' ');
    *rest_r = line;
    return cq_slice_eq(first, cq_slice_cstr(word));
}

/* The line "chasqui-NAME VERSION" that begins each file. */
static enum cq_rc check_version(struct cq_slice *text, const char *word, const char *path, struct cq_err *err)
{
    struct cq_slice rest;
    uint64_t version = 0;
    if (!take_line(text, word, &rest) || !cq_slice_u64(rest, UINT32_MAX, &version))
        return CQ_FAIL(err, CQ_E_CORRUPT, "%s: it is not what it should be (no line \"%s\")", path, word);
    if (version != FORMAT_VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "%s: written by a newer release (format %u; this one knows %u)", path,
                       (unsigned)version, FORMAT_VERSION);
    return CQ_OK;
}

/* ---- Identity ---- */

static enum cq_rc write_identity(struct data_dir *dir, struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    cq_rand_bytes(dir->node, sizeof dir->node);
    dir->node[6] = (uint8_t)((dir->node[6] & 0x0f) | 0x40); /* RFC 9562 section 5.4: version 4, variant 10 */
    dir->node[8] = (uint8_t)((dir->node[8] & 0x3f) | 0x80);
    cq_buf_printf(&text, "chasqui-node %u\ncluster %s\nnode ", FORMAT_VERSION, dir->cluster);
    cq_hex_add(&text, cq_slice_of(dir->node, sizeof dir->node));
    cq_buf_byte(&text, '\n');
    enum cq_rc rc = replace_file(dir, "identity", &text, err);
    cq_buf_fini(&text);
    return rc;
}

static enum cq_rc parse_identity(struct data_dir *dir, struct cq_slice text, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(dir, "identity", path);
    enum cq_rc rc = check_version(&text, "chasqui-node", path, err);
    if (rc != CQ_OK)
        return rc;
    struct cq_slice cluster, node;
    size_t len = 0;
    if (!take_line(&text, "cluster", &cluster) || !take_line(&text, "node", &node) ||
        !cq_hex_decode(node, dir->node, sizeof dir->node, &len) || len != sizeof dir->node)
        return CQ_FAIL(err, CQ_E_CORRUPT, "%s: it is damaged", path);
    if (!cq_slice_eq(cluster, cq_slice_cstr(dir->cluster)))
        return CQ_FAIL(err, CQ_E_CONFLICT, "%s: this directory belongs to cluster \"%.*s\", the settings say \"%s\"",
                       path, CQ_SLICE_ARG(cluster), dir->cluster);
    return CQ_OK;
}

/* Is there nothing but our lock, and what a first start that was cut short may have left? */
static enum cq_rc check_empty(const struct data_dir *dir, struct cq_err *err)
{
    DIR *d = opendir(dir->path);
    if (!d)
        return fail_errno(err, dir->path);
    static const char *const ours[] = {".", "..", "lock", "identity.new", "lost+found"};
    const struct dirent *entry;
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && (entry = readdir(d)) != NULL) {
        bool known = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            known |= strcmp(entry->d_name, ours[i]) == 0;
        if (!known)
            rc = CQ_FAIL(err, CQ_E_CORRUPT,
                         "%s: it has \"%s\" but no file \"identity\": not a node's directory, or a damaged one; an "
                         "empty directory is needed to make a new node",
                         dir->path, entry->d_name);
    }
    closedir(d);
    return rc;
}

static enum cq_rc open_identity(struct data_dir *dir, struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    enum cq_rc rc = read_file(dir, "identity", &text, err);
    if (rc == CQ_OK)
        rc = parse_identity(dir, cq_buf_slice(&text), err);
    cq_buf_fini(&text);
    if (rc != CQ_E_NOT_FOUND)
        return rc;
    rc = check_empty(dir, err);
    if (rc != CQ_OK)
        return rc;
    dir->created = true;
    return write_identity(dir, err);
}

/* ---- The count of starts; as long as it is missing, the store may be made. ---- */

static enum cq_rc read_boot(struct data_dir *dir, struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    enum cq_rc rc = read_file(dir, "boot", &text, err);
    struct cq_slice rest = cq_buf_slice(&text), number;
    char path[PATH_SIZE];
    path_of(dir, "boot", path);
    if (rc == CQ_OK)
        rc = check_version(&rest, "chasqui-boot", path, err);
    if (rc == CQ_OK && (!take_line(&rest, "boot", &number) || !cq_slice_u64(number, UINT64_MAX, &dir->boot)))
        rc = CQ_FAIL(err, CQ_E_CORRUPT, "%s: it is damaged", path);
    cq_buf_fini(&text);
    if (rc != CQ_E_NOT_FOUND)
        return rc;
    dir->boot = 0;
    cq_err_clear(err);
    return CQ_OK;
}

static enum cq_rc write_boot(struct data_dir *dir, struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    dir->boot++;
    cq_buf_printf(&text, "chasqui-boot %u\nboot %llu\n", FORMAT_VERSION, (unsigned long long)dir->boot);
    enum cq_rc rc = replace_file(dir, "boot", &text, err);
    cq_buf_fini(&text);
    return rc;
}

/* ---- The mark of a node that has been removed ---- */

enum cq_rc data_dir_bury(struct data_dir *dir, struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    cq_buf_printf(&text, "chasqui-removed %u\n", FORMAT_VERSION);
    enum cq_rc rc = replace_file(dir, "removed", &text, err);
    cq_buf_fini(&text);
    return rc;
}

/* Whatever is in it, a file of that name says it. */
static enum cq_rc check_removed(const struct data_dir *dir, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(dir, "removed", path);
    if (access(path, F_OK) != 0)
        return CQ_OK;
    return CQ_FAIL(
        err, CQ_E_DENIED,
        "%s: this node was removed from its cluster (chasquictl node decommission); its replicas are on other "
        "nodes. To use the machine again, empty the data directory: it becomes a new node",
        path);
}

enum cq_rc data_dir_raise_boot(struct data_dir *dir, uint64_t boot, struct cq_err *err)
{
    dir->boot = boot - 1;
    return write_boot(dir, err);
}

/* ---- What the store has met and cannot read ---- */

#define DAMAGED_FILE "damaged"
#define DAMAGE_TEXT_MAX 1000

enum cq_rc data_dir_note_damage(const struct data_dir *dir, const char *what, struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, FILE_MAX);
    cq_buf_printf(&text, "chasqui-damaged %u\nwhat ", FORMAT_VERSION);
    for (size_t i = 0; what[i] && i < DAMAGE_TEXT_MAX; i++)
        cq_buf_byte(&text, (uint8_t)(what[i] == '\n' ? ' ' : what[i]));
    cq_buf_byte(&text, '\n');
    enum cq_rc rc = replace_file(dir, DAMAGED_FILE, &text, err);
    cq_buf_fini(&text);
    return rc;
}

enum cq_rc data_dir_damage_gone(struct data_dir *dir, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(dir, DAMAGED_FILE, path);
    dir->damaged = false;
    if (unlink(path) != 0 && errno != ENOENT)
        return fail_errno(err, path);
    return sync_folder(dir, err);
}

/* What is in the file is for people: that it is there says enough. */
static void look_for_damage(struct data_dir *dir)
{
    char path[PATH_SIZE];
    path_of(dir, DAMAGED_FILE, path);
    dir->damaged = access(path, F_OK) == 0;
}

/* ---- The store ---- */

/* A log that is damaged in its middle is one that has forgotten: it is taken as far as it reads. */
static enum cq_rc open_forgetful(const char *path, const struct store_rocksdb_config *config, struct data_dir *dir,
                                 bool *salvaged_r, struct cq_err *err)
{
    struct store_rocksdb_config mine = *config;
    mine.quiet |= dir->damaged;
    enum cq_rc rc = store_rocksdb_open(path, false, &mine, &dir->store, err);
    if (rc != CQ_E_CORRUPT)
        return rc;
    struct cq_err second = {0};
    mine.salvage = true;
    if (store_rocksdb_open(path, false, &mine, &dir->store, &second) != CQ_OK)
        return rc;
    cq_log(CQ_ERROR, "store.log_damaged", CQ_F_STR("data", dir->path), CQ_F_ERR(err));
    *salvaged_r = true;
    return CQ_OK;
}

static enum cq_rc open_store(struct data_dir *dir, const struct store_rocksdb_config *config, bool *salvaged_r,
                             struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(dir, "store", path);
    look_for_damage(dir);
    enum cq_rc rc = open_forgetful(path, config, dir, salvaged_r, err);
    if (rc != CQ_E_NOT_FOUND)
        return rc;
    if (dir->boot > 0)
        return CQ_FAIL(err, CQ_E_CORRUPT,
                       "%s: the store is gone, but this node has run %llu times; it is not made anew: the node's mail "
                       "is on the other replicas. To start over as a new node, empty the data directory",
                       path, (unsigned long long)dir->boot);
    return store_rocksdb_open(path, true, config, &dir->store, err);
}

/* A node that has an identity and no count of starts has been begun again, or its first start was cut short. Whether it
 * has ever held a replica nobody here can say, so none that it is said to hold is made. */
static enum cq_rc note_loss(struct data_dir *dir, struct cq_err *err)
{
    uint64_t made;
    if (dir->boot > 0 || dir->created)
        return CQ_OK;
    enum cq_rc rc = replica_floor_read(dir->store, &made, err);
    if (rc != CQ_OK || made)
        return rc;
    struct store_batch *batch = store_batch_new(dir->store);
    replica_floor_put(batch, REPLICA_FLOOR_UNKNOWN);
    rc = store_write(dir->store, batch, true, err);
    store_batch_free(&batch);
    return rc;
}

/* ---- Does the store have what was once durable? ---- */

static enum cq_rc withhold_all(struct data_dir *dir, struct cq_err *err)
{
    struct store_batch *batch = store_batch_new(dir->store);
    enum cq_rc rc = replica_withhold_all(dir->store, batch, &dir->forgot, err);
    if (rc == CQ_OK)
        rc = store_write(dir->store, batch, true, err);
    store_batch_free(&batch);
    return rc;
}

static enum cq_rc check_memory(struct data_dir *dir, bool salvaged, struct cq_err *err)
{
    char path[PATH_SIZE];
    uint64_t synced = 0, has = store_rocksdb_sequence(dir->store);
    path_of(dir, "synced", path);
    if (dir->boot == 0) /* a store that was made just now has nothing to do with what stood here before */
        return unlink(path) == 0 || errno == ENOENT ? CQ_OK : fail_errno(err, path);
    enum cq_rc rc = sync_mark_read(path, &synced, err);
    if (rc != CQ_OK && rc != CQ_E_CORRUPT)
        return rc;
    if (rc == CQ_OK && synced <= has && !salvaged)
        return CQ_OK;
    if (rc == CQ_E_CORRUPT)
        cq_log(CQ_ERROR, "store.mark_damaged", CQ_F_STR("path", path), CQ_F_ERR(err));
    rc = withhold_all(dir, err);
    if (rc == CQ_OK)
        cq_log(CQ_ERROR, "store.forgot", CQ_F_STR("data", dir->path), CQ_F_U64("synced", synced), CQ_F_U64("has", has),
               CQ_F_U64("replicas", dir->forgot),
               CQ_F_STR("action", "the store came back without what was durable: an older copy, a cut log, or a disk "
                                  "that does not keep what it says; its replicas vote for nobody and are replaced by "
                                  "new ones"));
    return rc;
}

/* A process that was killed holds its lock until its last thread has ended: whoever starts it again comes too early. */
static enum cq_rc take_lock(struct data_dir *dir, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(dir, "lock", path);
    dir->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dir->lock_fd < 0)
        return fail_errno(err, path);
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) == 0)
            return CQ_OK;
        usleep(LOCK_PAUSE_US);
    }
    return CQ_FAIL(err, CQ_E_UNAVAILABLE, "%s: another process uses this directory", dir->path);
}

static enum cq_rc open_steps(struct data_dir *dir, const struct store_rocksdb_config *config, struct cq_err *err)
{
    bool salvaged = false;
    if (mkdir(dir->path, 0700) != 0 && errno != EEXIST)
        return fail_errno(err, dir->path);
    enum cq_rc rc = take_lock(dir, err);
    if (rc == CQ_OK)
        rc = check_removed(dir, err);
    if (rc == CQ_OK)
        rc = open_identity(dir, err);
    if (rc == CQ_OK)
        rc = read_boot(dir, err);
    if (rc == CQ_OK)
        rc = open_store(dir, config, &salvaged, err);
    if (rc == CQ_OK)
        rc = check_memory(dir, salvaged, err);
    if (rc == CQ_OK)
        rc = note_loss(dir, err);
    cq_failpoint(FAIL_STORE_OPENED);
    if (rc == CQ_OK)
        rc = write_boot(dir, err);
    cq_failpoint(FAIL_START_COUNTED);
    return rc;
}

enum cq_rc data_dir_open(struct data_dir *dir, const char *path, const char *cluster,
                         const struct store_rocksdb_config *config, struct cq_err *err)
{
    *dir = (struct data_dir){.lock_fd = -1};
    if (!path[0] || strlen(path) > DATA_DIR_PATH_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "data directory \"%.100s\": empty or too long a path", path);
    if (!rpc_cluster_id_valid(cq_slice_cstr(cluster)))
        return CQ_FAIL(err, CQ_E_INVALID, "cluster \"%.100s\": not 1 to %d of a-z, 0-9 and -", cluster,
                       RPC_CLUSTER_ID_MAX);
    snprintf(dir->path, sizeof dir->path, "%s", path);
    snprintf(dir->cluster, sizeof dir->cluster, "%s", cluster);
    enum cq_rc rc = open_steps(dir, config, err);
    if (rc != CQ_OK)
        data_dir_close(dir);
    return rc;
}

void data_dir_close(struct data_dir *dir)
{
    store_close(&dir->store);
    if (dir->lock_fd > 0)
        close(dir->lock_fd);
    dir->lock_fd = -1;
}
