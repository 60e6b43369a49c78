/* READ_BODY's chunks on the real store: their XXH3-128 stands alone there, without RocksDB's checksum of the blob. */
#include "state/mail_machine.h"
#include "store/store_rocksdb.h"

#include "unit/cq_cmocka.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (512u << 10)
#define BLOB_START 90 /* of the first value in a blob file: its header, the record's header, the key */

static const struct store_rocksdb_config config = {
    .block_cache = 8 << 20,
    .write_buffer = 4 << 20,
    .write_buffers = 4,
    .wal_max = 16 << 20,
    .bytes_per_sync = 1 << 20,
    .background_jobs = 2,
    .open_files = 64,
};
static char base_dir[] = "/tmp/chasqui-damage-XXXXXX";
static char db_path[64];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static struct store *open_store(bool create)
{
    struct cq_err err = {0};
    struct store *store = NULL;
    if (store_rocksdb_open(db_path, create, &config, &store, &err) != CQ_OK)
        fprintf(stderr, "open: %s\n", err.text);
    return store;
}

/* Writes one chunk of that length and says what READ_BODY is told about it. */
static struct body_piece put_chunk(struct store *store, uint32_t length)
{
    uint8_t *octets = malloc(length), key[CHUNK_KEY_SIZE];
    for (uint32_t i = 0; i < length; i++)
        octets[i] = (uint8_t)(i * 7 + (i >> 8));
    struct body_piece piece = {
        .id = {1, 2, length, 0}, .length = length, .hash = cq_xxh3_128(cq_slice_of(octets, length)), .take = length};
    chunk_key(&piece.id, key);
    struct store_batch *batch = store_batch_new(store);
    store_batch_put(batch, STORE_CHUNK, cq_slice_of(key, sizeof key), cq_slice_of(octets, length));
    assert_int_equal(store_write(store, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
    free(octets);
    return piece;
}

static struct body_piece create(uint32_t length)
{
    nftw(db_path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    struct store *store = open_store(true);
    assert_non_null(store);
    struct body_piece piece = put_chunk(store, length);
    assert_int_equal(store_rocksdb_flush(store, NULL), CQ_OK);
    store_close(&store);
    return piece;
}

static enum cq_rc read_piece(struct store *store, const struct body_piece *piece, size_t *len_r)
{
    struct cq_buf out;
    cq_buf_init(&out, 2 * CHUNK);
    enum cq_rc rc = body_pieces_read(store, piece, 1, &out, NULL);
    *len_r = out.len;
    cq_buf_fini(&out);
    return rc;
}

static enum cq_rc get_verified(struct store *store, const struct body_piece *piece)
{
    uint8_t key[CHUNK_KEY_SIZE];
    struct cq_buf out;
    cq_buf_init(&out, 2 * CHUNK);
    chunk_key(&piece->id, key);
    enum cq_rc rc = store_get(store, NULL, STORE_CHUNK, cq_slice_of(key, sizeof key), &out, NULL);
    cq_buf_fini(&out);
    return rc;
}

/* The one file of that kind that names the chunk. */
static void file_of(const char *suffix, char *path, size_t size)
{
    char pattern[128];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*%s", db_path, suffix);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, size, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void flip(const char *path, off_t at, uint8_t bits)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void a_whole_chunk_is_read_from_memory_and_from_its_file(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 1023, 1024, (32u << 10) - 1, 32u << 10, CHUNK};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len;
        struct body_piece piece = create(lengths[i]);
        struct store *store = open_store(false);
        assert_int_equal(read_piece(store, &piece, &len), CQ_OK);
        assert_int_equal(len, lengths[i]);
        struct body_piece fresh = put_chunk(store, lengths[i] == CHUNK ? CHUNK - 1 : lengths[i] + 1);
        assert_int_equal(read_piece(store, &fresh, &len), CQ_OK);
        fresh.id.ordinal = 9;
        assert_int_equal(read_piece(store, &fresh, &len), CQ_E_NOT_FOUND);
        store_close(&store);
    }
}

/* The store itself does not look (CQ_OK from it is what makes this test one of our hash); READ_BODY does. */
static void a_flipped_byte_of_a_chunk_is_never_served(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {2000, 32u << 10, CHUNK};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char path[200];
        uint8_t key[CHUNK_KEY_SIZE];
        size_t len;
        struct body_piece piece = create(lengths[i]);
        file_of(".blob", path, sizeof path);
        for (off_t at = BLOB_START; at < BLOB_START + piece.length; at += piece.length / 5) {
            flip(path, at, 0x10);
            struct store *store = open_store(false);
            assert_int_equal(read_piece(store, &piece, &len), CQ_E_CORRUPT);
            assert_int_equal(len, 0);
            assert_int_equal(get_verified(store, &piece), CQ_E_CORRUPT); /* also after READ_BODY has looked */
            struct cq_buf raw;
            cq_buf_init(&raw, 2 * CHUNK);
            chunk_key(&piece.id, key);
            assert_int_equal(
                store_get_unverified(store, STORE_CHUNK, cq_slice_of(key, sizeof key), piece.length, &raw, NULL),
                piece.length < (32u << 10) ? CQ_E_CORRUPT : CQ_OK);
            cq_buf_fini(&raw);
            store_close(&store);
            flip(path, at, 0x10);
        }
    }
}

/* Each byte of the table, its data block and the block's end included: an error or nothing, never a crash, and never
 * something for store_get() to find in the cache. */
static void damage_of_the_table_is_found_before_it_is_parsed(void **state)
{
    (void)state;
    char path[200];
    size_t len, corrupt = 0;
    struct body_piece piece = create(CHUNK);
    file_of(".sst", path, sizeof path);
    off_t block = size_of(path) < 72 ? size_of(path) : 72;
    for (off_t at = 0; at < block; at++) {
        flip(path, at, 0x80);
        struct store *store = open_store(false);
        if (store) { /* refusing to open is as good */
            enum cq_rc rc = read_piece(store, &piece, &len);
            assert_int_equal(rc, get_verified(store, &piece));
            corrupt += rc == CQ_E_CORRUPT;
            store_close(&store);
        }
        flip(path, at, 0x80);
    }
    assert_true(corrupt > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_chunk_is_read_from_memory_and_from_its_file),
        cmocka_unit_test(a_flipped_byte_of_a_chunk_is_never_served),
        cmocka_unit_test(damage_of_the_table_is_found_before_it_is_parsed),
    };
    if (!mkdtemp(base_dir))
        return 1;
    snprintf(db_path, sizeof db_path, "%s/db", base_dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(base_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return failed;
}
