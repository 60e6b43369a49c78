#include "directory/dir_known.h"

#include "base/cq_assert.h"
#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "base/cq_secret.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "CHQKNOWN"
#define VERSION 1
#define PREFIX_SIZE 16 /* magic, version, 0; authenticated with every chunk */
#define START_SIZE (PREFIX_SIZE + crypto_secretstream_xchacha20poly1305_HEADERBYTES)
#define CHUNK_FULL (64u << 10)               /* a chunk is closed when it has as many bytes of rows */
#define CHUNK_MAX (CHUNK_FULL + DIR_ROW_MAX) /* before encryption */
#define SEAL crypto_secretstream_xchacha20poly1305_ABYTES
#define MORE crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
#define LAST crypto_secretstream_xchacha20poly1305_TAG_FINAL
#define ROW_POOL 4096

_Static_assert(DIR_KNOWN_KEY_SIZE == crypto_secretstream_xchacha20poly1305_KEYBYTES, "libsodium's key");

enum cq_rc dir_known_key(const char *key_file, uint8_t key_r[static DIR_KNOWN_KEY_SIZE], struct cq_err *err)
{
    static const char use[] = "chasqui known rows 1";
    char secret[CQ_SECRET_SIZE];
    enum cq_rc rc = cq_secret_read(key_file, secret, err);
    size_t len = rc == CQ_OK ? strlen(secret) : 0;
    if (rc == CQ_OK && len < DIR_KNOWN_SECRET_MIN)
        rc = CQ_FAIL(err, CQ_E_CONFIG, "%s: its first line is shorter than %d characters", key_file,
                     DIR_KNOWN_SECRET_MIN);
    if (rc == CQ_OK && sodium_init() < 0)
        rc = CQ_FAIL(err, CQ_E_CONFIG, "libsodium does not start");
    if (rc == CQ_OK)
        crypto_generichash(key_r, DIR_KNOWN_KEY_SIZE, (const uint8_t *)secret, len, (const uint8_t *)use,
                           sizeof use - 1);
    cq_wipe(secret, sizeof secret);
    return rc;
}

static void make_prefix(uint8_t prefix[static PREFIX_SIZE])
{
    memcpy(prefix, MAGIC, 8);
    cq_put_le32(prefix + 8, VERSION);
    cq_put_le32(prefix + 12, 0);
}

/* ---- Writing ---- */

struct dir_known_writer {
    crypto_secretstream_xchacha20poly1305_state state;
    uint8_t prefix[PREFIX_SIZE];
    struct cq_buf chunk; /* rows that wait for their chunk to be full */
    struct cq_buf *out;
};

static void seal_chunk(struct dir_known_writer *writer, uint8_t tag)
{
    size_t sealed = writer->chunk.len + SEAL;
    uint8_t *at = cq_buf_reserve(writer->out, 4 + sealed);
    if (!at)
        return; /* the buffer has noted it */
    cq_put_le32(at, (uint32_t)sealed);
    crypto_secretstream_xchacha20poly1305_push(&writer->state, at + 4, NULL, writer->chunk.data, writer->chunk.len,
                                               writer->prefix, PREFIX_SIZE, tag);
    cq_buf_commit(writer->out, 4 + sealed);
    writer->chunk.len = 0;
}

static void write_head(struct dir_known_writer *writer, const struct dir_known_head *head)
{
    uint8_t bytes[18];
    struct cq_slice origin = cq_slice_sub(head->origin, 0, DIR_KNOWN_ORIGIN_MAX);
    cq_put_le64(bytes, head->written_us);
    cq_put_le64(bytes + 8, head->seen);
    cq_put_le16(bytes + 16, (uint16_t)origin.len);
    cq_buf_add(&writer->chunk, bytes, sizeof bytes);
    cq_buf_slice_add(&writer->chunk, origin);
    seal_chunk(writer, MORE);
}

struct dir_known_writer *dir_known_writer_new(const uint8_t key[static DIR_KNOWN_KEY_SIZE],
                                              const struct dir_known_head *head, struct cq_buf *out)
{
    struct dir_known_writer *writer = cq_new(struct dir_known_writer);
    uint8_t start[START_SIZE];
    make_prefix(writer->prefix);
    memcpy(start, writer->prefix, PREFIX_SIZE);
    CQ_ASSERT(sodium_init() >= 0);
    crypto_secretstream_xchacha20poly1305_init_push(&writer->state, start + PREFIX_SIZE, key);
    writer->out = out;
    cq_buf_init(&writer->chunk, CHUNK_MAX);
    cq_buf_add(out, start, sizeof start);
    write_head(writer, head);
    return writer;
}

bool dir_known_writer_add(struct dir_known_writer *writer, const struct dir_row *row)
{
    bool kept = dir_row_put(&writer->chunk, row);
    if (writer->chunk.len >= CHUNK_FULL)
        seal_chunk(writer, MORE);
    return kept;
}

void dir_known_writer_end(struct dir_known_writer *writer)
{
    seal_chunk(writer, LAST);
}

static void wipe_buf(struct cq_buf *buf)
{
    if (buf->data)
        cq_wipe(buf->data, buf->cap);
    cq_buf_fini(buf);
}

void dir_known_writer_free(struct dir_known_writer **writer)
{
    if (!*writer)
        return;
    wipe_buf(&(*writer)->chunk);
    cq_wipe(*writer, sizeof **writer);
    free(*writer);
    *writer = NULL;
}

/* ---- Reading ---- */

enum part { AT_START, AT_LENGTH, AT_HEAD, AT_ROWS, AT_END };

struct dir_known_reader {
    crypto_secretstream_xchacha20poly1305_state state;
    uint8_t key[DIR_KNOWN_KEY_SIZE];
    uint8_t prefix[PREFIX_SIZE];
    struct dir_known_take take;
    enum part part;
    bool head_seen;
    size_t need;              /* bytes of this part */
    struct cq_buf part_bytes; /* as far as they have come */
    uint8_t *plain;
};

struct dir_known_reader *dir_known_reader_new(const uint8_t key[static DIR_KNOWN_KEY_SIZE],
                                              const struct dir_known_take *take)
{
    struct dir_known_reader *reader = cq_new(struct dir_known_reader);
    memcpy(reader->key, key, sizeof reader->key);
    reader->take = *take;
    reader->need = START_SIZE;
    reader->plain = cq_malloc(CHUNK_MAX);
    make_prefix(reader->prefix);
    cq_buf_init(&reader->part_bytes, CHUNK_MAX + SEAL);
    return reader;
}

void dir_known_reader_free(struct dir_known_reader **reader)
{
    if (!*reader)
        return;
    cq_wipe((*reader)->plain, CHUNK_MAX);
    free((*reader)->plain);
    cq_buf_fini(&(*reader)->part_bytes);
    cq_wipe(*reader, sizeof **reader);
    free(*reader);
    *reader = NULL;
}

static void expect(struct dir_known_reader *reader, enum part part, size_t need)
{
    reader->part = part;
    reader->need = need;
}

static enum cq_rc read_start(struct dir_known_reader *reader, const uint8_t *bytes, struct cq_err *err)
{
    if (memcmp(bytes, MAGIC, 8) != 0)
        return CQ_FAIL(err, CQ_E_CORRUPT, "it is no file of known rows");
    if (cq_get_le32(bytes + 8) != VERSION)
        return CQ_FAIL(err, CQ_E_VERSION, "it has format %u, this program knows %d", cq_get_le32(bytes + 8), VERSION);
    if (memcmp(bytes, reader->prefix, PREFIX_SIZE) != 0 ||
        crypto_secretstream_xchacha20poly1305_init_pull(&reader->state, bytes + PREFIX_SIZE, reader->key) != 0)
        return CQ_FAIL(err, CQ_E_CORRUPT, "it is damaged");
    expect(reader, AT_LENGTH, 4);
    return CQ_OK;
}

static enum cq_rc read_length(struct dir_known_reader *reader, const uint8_t *bytes, struct cq_err *err)
{
    uint32_t len = cq_get_le32(bytes);
    if (len < SEAL || len > CHUNK_MAX + SEAL)
        return CQ_FAIL(err, CQ_E_CORRUPT, "it is damaged");
    expect(reader, reader->head_seen ? AT_ROWS : AT_HEAD, len);
    return CQ_OK;
}

static enum cq_rc open_chunk(struct dir_known_reader *reader, const uint8_t *bytes, struct cq_slice *plain_r,
                             uint8_t *tag_r, struct cq_err *err)
{
    unsigned long long len;
    if (crypto_secretstream_xchacha20poly1305_pull(&reader->state, reader->plain, &len, tag_r, bytes, reader->need,
                                                   reader->prefix, PREFIX_SIZE) != 0)
        return CQ_FAIL(err, CQ_E_CORRUPT,
                       reader->head_seen ? "it is damaged"
                                         : "it was written with another key than the present one, or is damaged");
    *plain_r = cq_slice_of(reader->plain, (size_t)len);
    return CQ_OK;
}

static enum cq_rc read_head(struct dir_known_reader *reader, const uint8_t *bytes, struct cq_err *err)
{
    struct cq_slice plain;
    uint8_t tag;
    enum cq_rc rc = open_chunk(reader, bytes, &plain, &tag, err);
    if (rc != CQ_OK)
        return rc;
    if (tag != MORE || plain.len < 18 || cq_get_le16(plain.data + 16) != plain.len - 18)
        return CQ_FAIL(err, CQ_E_CORRUPT, "its head is none");
    const struct dir_known_head head = {
        .written_us = cq_get_le64(plain.data), .seen = cq_get_le64(plain.data + 8), .origin = cq_slice_skip(plain, 18)};
    reader->head_seen = true;
    expect(reader, AT_LENGTH, 4);
    return reader->take.head(&head, reader->take.ctx, err);
}

static enum cq_rc read_rows(struct dir_known_reader *reader, const uint8_t *bytes, struct cq_err *err)
{
    struct cq_slice plain;
    uint8_t tag;
    enum cq_rc rc = open_chunk(reader, bytes, &plain, &tag, err);
    if (rc != CQ_OK)
        return rc;
    if (tag != MORE && tag != LAST)
        return CQ_FAIL(err, CQ_E_CORRUPT, "it is damaged");
    struct cq_pool *pool = cq_pool_new(ROW_POOL);
    while (rc == CQ_OK && plain.len) {
        struct dir_row row;
        rc = dir_row_get(&plain, pool, &row, err);
        if (rc == CQ_OK)
            reader->take.row(&row, reader->take.ctx);
        cq_pool_clear(pool);
    }
    cq_pool_free(&pool);
    expect(reader, tag == LAST ? AT_END : AT_LENGTH, tag == LAST ? 0 : 4);
    return rc;
}

static enum cq_rc read_part(struct dir_known_reader *reader, const uint8_t *bytes, struct cq_err *err)
{
    static enum cq_rc (*const parts[])(struct dir_known_reader *, const uint8_t *, struct cq_err *) = {
        [AT_START] = read_start, [AT_LENGTH] = read_length, [AT_HEAD] = read_head, [AT_ROWS] = read_rows};
    return parts[reader->part](reader, bytes, err);
}

enum cq_rc dir_known_reader_feed(struct dir_known_reader *reader, struct cq_slice bytes, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && bytes.len) {
        if (reader->part == AT_END)
            return CQ_FAIL(err, CQ_E_CORRUPT, "it goes on after its end");
        struct cq_slice piece = cq_slice_sub(bytes, 0, reader->need - reader->part_bytes.len);
        cq_buf_slice_add(&reader->part_bytes, piece);
        bytes = cq_slice_skip(bytes, piece.len);
        if (reader->part_bytes.len < reader->need)
            break;
        rc = read_part(reader, reader->part_bytes.data, err);
        reader->part_bytes.len = 0;
    }
    return rc;
}

enum cq_rc dir_known_reader_end(struct dir_known_reader *reader, struct cq_err *err)
{
    return reader->part == AT_END ? CQ_OK : CQ_FAIL(err, CQ_E_CORRUPT, "it is cut short");
}
