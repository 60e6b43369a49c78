#include "unit/cq_cmocka.h"

#include "base/cq_endian.h"
#include "base/cq_hex.h"
#include "state/entry.h"

#include <stdlib.h>
#include <string.h>

static struct entry sample(const struct entry_chunk *chunks, size_t count)
{
    return (struct entry){
        .version = 1,
        .method = 20,
        .account = UINT64_C(0x1122334455667788),
        .time = UINT64_C(1767225600000000),
        .client = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        .sequence = 7,
        .done = 5,
        .stamp = UINT64_C(1767225599000000),
        .min_modseq = 42,
        .incarnation = UINT64_C(0xaabbccddeeff0011),
        .chunks = chunks,
        .chunk_count = count,
        .body = CQ_SLICE("body"),
    };
}

/* docs/formats/entry.md, byte by byte: written entries are read by every later release. */
static const char golden[] = "01000100140001008877665544332211"         /* format, version, method, chunks, account */
                             "0040204648470600"                         /* time */
                             "0102030405060708090a0b0c0d0e0f10"         /* client */
                             "07000000000000000500000000000000"         /* sequence, done */
                             "c0fd104648470600"                         /* stamp */
                             "2a000000000000001100ffeeddccbbaa"         /* modseq, incarnation */
                             "0400000000000000"                         /* body length, reserved */
                             "03000000887766554433221100ffeeddccbbaa99" /* chunk: length, hash low, high */
                             "626f6479"                                 /* body */
                             "";

static void an_entry_is_written_as_its_document_says(void **state)
{
    (void)state;
    struct entry_chunk chunk = {3, {UINT64_C(0x1122334455667788), UINT64_C(0x99aabbccddeeff00)}};
    struct entry entry = sample(&chunk, 1);
    struct cq_buf bytes, hex;
    cq_buf_init(&bytes, ENTRY_MAX);
    cq_buf_init(&hex, 4096);
    assert_int_equal(entry_encode(&entry, &bytes, NULL), CQ_OK);
    assert_int_equal(bytes.len, sizeof golden / 2 + ENTRY_TAIL);
    cq_hex_add(&hex, cq_slice_sub(cq_buf_slice(&bytes), 0, bytes.len - ENTRY_TAIL));
    assert_slice(cq_buf_slice(&hex), golden);
    assert_int_equal(cq_get_le64(bytes.data + bytes.len - ENTRY_TAIL),
                     cq_xxh3_64(cq_slice_of(bytes.data, bytes.len - ENTRY_TAIL)));
    cq_buf_fini(&bytes);
    cq_buf_fini(&hex);
}

static void what_was_encoded_decodes_to_the_same(void **state)
{
    (void)state;
    struct entry_chunk chunks[2] = {{1, {1, 2}}, {ENTRY_CHUNK_MAX, {3, 4}}};
    for (size_t count = 0; count <= 2; count++) {
        struct entry in = sample(chunks, count), out;
        struct cq_buf bytes;
        struct cq_pool *pool = cq_pool_new(256);
        cq_buf_init(&bytes, ENTRY_MAX);
        assert_int_equal(entry_encode(&in, &bytes, NULL), CQ_OK);
        assert_int_equal(entry_decode(cq_buf_slice(&bytes), pool, &out, NULL), CQ_OK);
        assert_int_equal(out.chunk_count, count);
        for (size_t i = 0; i < count; i++)
            assert_true(out.chunks[i].length == chunks[i].length && cq_hash128_eq(out.chunks[i].hash, chunks[i].hash));
        assert_slice(out.body, "body");
        assert_int_equal(out.account, in.account);
        assert_int_equal(out.time, in.time);
        assert_int_equal(out.sequence, in.sequence);
        assert_int_equal(out.done, in.done);
        assert_int_equal(out.stamp, in.stamp);
        assert_int_equal(out.min_modseq, in.min_modseq);
        assert_int_equal(out.incarnation, in.incarnation);
        assert_int_equal(out.method, in.method);
        assert_int_equal(out.version, in.version);
        assert_memory_equal(out.client, in.client, sizeof in.client);
        cq_buf_fini(&bytes);
        cq_pool_free(&pool);
    }
}

static enum cq_rc decode_exact(struct cq_slice bytes)
{
    /* A copy of exactly this length: a read past the end is seen. */
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    struct cq_pool *pool = cq_pool_new(256);
    struct entry entry;
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    enum cq_rc rc = entry_decode(cq_slice_of(copy, bytes.len), pool, &entry, NULL);
    cq_pool_free(&pool);
    free(copy);
    return rc;
}

static void every_cut_and_every_flipped_bit_is_found(void **state)
{
    (void)state;
    struct entry_chunk chunk = {3, {1, 2}};
    struct entry entry = sample(&chunk, 1);
    struct cq_buf bytes;
    cq_buf_init(&bytes, ENTRY_MAX);
    assert_int_equal(entry_encode(&entry, &bytes, NULL), CQ_OK);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(decode_exact(cq_slice_of(bytes.data, len)), CQ_E_CORRUPT);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_exact(cq_buf_slice(&bytes)), bit < 8 ? CQ_E_VERSION : CQ_E_CORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(decode_exact(cq_buf_slice(&bytes)), CQ_OK);
    cq_buf_fini(&bytes);
}

/* Fields that lie although the checksum is right. */
static void lengths_that_do_not_add_up_are_refused(void **state)
{
    (void)state;
    struct entry_chunk chunk = {3, {1, 2}};
    struct entry entry = sample(&chunk, 1);
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{1, 1},     {6, 0},  {6, 2},  {7, 0xff}, {80, 3}, {80, 5},
                 {83, 0xff}, {84, 1}, {88, 0}, {91, 1},   {90, 8}, {90, 9}};
    struct cq_buf bytes;
    cq_buf_init(&bytes, ENTRY_MAX);
    assert_int_equal(entry_encode(&entry, &bytes, NULL), CQ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t old = bytes.data[cases[i].at];
        bytes.data[cases[i].at] = cases[i].value;
        cq_put_le64(bytes.data + bytes.len - ENTRY_TAIL, cq_xxh3_64(cq_slice_of(bytes.data, bytes.len - ENTRY_TAIL)));
        assert_int_equal(decode_exact(cq_buf_slice(&bytes)), CQ_E_CORRUPT);
        bytes.data[cases[i].at] = old;
    }
    cq_buf_fini(&bytes);
}

static void entries_and_chunks_stop_at_their_limits(void **state)
{
    (void)state;
    static struct entry_chunk chunks[ENTRY_CHUNKS_MAX + 1];
    static uint8_t body[ENTRY_MAX];
    static const struct {
        size_t body, chunks;
        uint32_t length;
        enum cq_rc want;
    } cases[] = {
        {0, 0, 0, CQ_OK},
        {ENTRY_MAX - ENTRY_HEAD - ENTRY_TAIL, 0, 0, CQ_OK},
        {ENTRY_MAX - ENTRY_HEAD - ENTRY_TAIL + 1, 0, 0, CQ_E_TOO_BIG},
        {ENTRY_MAX - ENTRY_HEAD - ENTRY_TAIL, 1, 1, CQ_E_TOO_BIG},
        {0, ENTRY_CHUNKS_MAX, 1, CQ_OK},
        {0, ENTRY_CHUNKS_MAX + 1, 1, CQ_E_LIMIT},
        {0, 1, 0, CQ_E_LIMIT},
        {0, 1, ENTRY_CHUNK_MAX, CQ_OK},
        {0, 1, ENTRY_CHUNK_MAX + 1, CQ_E_LIMIT},
        {0, 2, ENTRY_CHUNK_MAX, CQ_OK},
        {0, 3, ENTRY_CHUNK_MAX, CQ_E_TOO_BIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cq_buf bytes;
        for (size_t c = 0; c < cases[i].chunks; c++)
            chunks[c].length = cases[i].length;
        struct entry entry = sample(chunks, cases[i].chunks);
        entry.body = cq_slice_of(body, cases[i].body);
        cq_buf_init(&bytes, 2 * ENTRY_MAX);
        assert_int_equal(entry_encode(&entry, &bytes, NULL), cases[i].want);
        assert_int_equal(bytes.len > 0, cases[i].want == CQ_OK);
        if (cases[i].want == CQ_OK)
            assert_int_equal(decode_exact(cq_buf_slice(&bytes)), CQ_OK);
        cq_buf_fini(&bytes);
    }
}

static void chunk_keys_sort_by_incarnation_term_index_and_ordinal(void **state)
{
    (void)state;
    static const struct chunk_id ids[] = {{1, 1, 1, 0}, {1, 1, 1, 1}, {1, 1, 2, 0}, {1, 2, 1, 0}, {2, 1, 1, 0}};
    uint8_t last[CHUNK_KEY_SIZE] = {0}, key[CHUNK_KEY_SIZE];
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct chunk_id back;
        chunk_key(&ids[i], key);
        assert_true(memcmp(key, last, sizeof key) > 0);
        assert_true(chunk_key_parse(cq_slice_of(key, sizeof key), &back));
        assert_true(back.incarnation == ids[i].incarnation && back.term == ids[i].term);
        assert_true(back.index == ids[i].index && back.ordinal == ids[i].ordinal);
        assert_false(chunk_key_parse(cq_slice_of(key, sizeof key - 1), &back));
        memcpy(last, key, sizeof key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_written_as_its_document_says),
        cmocka_unit_test(what_was_encoded_decodes_to_the_same),
        cmocka_unit_test(every_cut_and_every_flipped_bit_is_found),
        cmocka_unit_test(lengths_that_do_not_add_up_are_refused),
        cmocka_unit_test(entries_and_chunks_stop_at_their_limits),
        cmocka_unit_test(chunk_keys_sort_by_incarnation_term_index_and_ordinal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
