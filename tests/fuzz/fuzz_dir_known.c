/* The file of known rows. First octet 0: the rest is the file, from somebody without the key. Otherwise the rest is
 * what the chunks of a good file hold, from somebody with it. What is taken is rows that a writer could have written.
 */
#include "directory/dir_known.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <sodium.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[DIR_KNOWN_KEY_SIZE] = {42};

static enum cq_rc take_head(const struct dir_known_head *head, void *ctx, struct cq_err *err)
{
    (void)ctx, (void)err;
    CQ_ASSERT(head->origin.len <= UINT16_MAX);
    return CQ_OK;
}

static void take_row(const struct dir_row *row, void *ctx)
{
    struct cq_buf *bytes = ctx;
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_row again;
    bytes->len = 0;
    if (dir_row_put(bytes, row)) {
        struct cq_slice in = cq_buf_slice(bytes);
        CQ_ASSERT(dir_row_get(&in, pool, &again, NULL) == CQ_OK && in.len == 0);
        CQ_ASSERT(again.kind == row->kind && again.number == row->number && cq_slice_eq(again.text, row->text));
    }
    cq_pool_free(&pool);
}

static void feed(struct cq_slice file, size_t piece)
{
    struct cq_buf bytes;
    cq_buf_init(&bytes, 2 * DIR_ROW_MAX);
    const struct dir_known_take take = {take_head, take_row, &bytes};
    struct dir_known_reader *reader = dir_known_reader_new(key, &take);
    enum cq_rc rc = CQ_OK;
    for (size_t at = 0; at < file.len && rc == CQ_OK; at += piece)
        rc = dir_known_reader_feed(reader, cq_slice_sub(file, at, piece), NULL);
    if (rc == CQ_OK)
        dir_known_reader_end(reader, NULL);
    dir_known_reader_free(&reader);
    cq_buf_fini(&bytes);
}

/* A good file around these bytes: the first part is the head's chunk, the second that of rows. */
static void seal_and_feed(struct cq_slice bytes, size_t head_len)
{
    static uint8_t file[1u << 18];
    crypto_secretstream_xchacha20poly1305_state state;
    const struct cq_slice chunks[] = {cq_slice_sub(bytes, 0, head_len), cq_slice_skip(bytes, head_len)};
    size_t at = 40;
    memcpy(file, "CHQKNOWN\1\0\0\0\0\0\0\0", 16);
    crypto_secretstream_xchacha20poly1305_init_push(&state, file + 16, key);
    for (size_t i = 0; i < 2; i++) {
        unsigned long long len;
        crypto_secretstream_xchacha20poly1305_push(&state, file + at + 4, &len, chunks[i].data, chunks[i].len, file, 16,
                                                   i ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0);
        file[at] = (uint8_t)len, file[at + 1] = (uint8_t)(len >> 8), file[at + 2] = (uint8_t)(len >> 16);
        file[at + 3] = 0;
        at += 4 + (size_t)len;
    }
    feed(cq_slice_of(file, at), at);
    feed(cq_slice_of(file, at), 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 65536)
        return 0;
    CQ_ASSERT(sodium_init() >= 0);
    struct cq_slice rest = cq_slice_of(data + 1, size - 1);
    if (data[0] == 0)
        feed(rest, 13);
    else
        seal_and_feed(rest, data[0]);
    return 0;
}
