#include "raft_wire.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"

#include "unit/cq_cmocka.h"
#include "unit/raft/raft_samples.h"

#include <stdlib.h>

/* Head and bodies as one run of octets, as a connection delivers them. */
static struct raft_bytes *join(const struct raft_frame *frame)
{
    uint8_t *at;
    struct raft_bytes *bytes = raft_bytes_new(frame->size, &at);
    memcpy(at, frame->head.data, frame->head.len);
    at += frame->head.len;
    for (size_t i = 0; i < frame->body_count; i++) {
        memcpy(at, frame->bodies[i].octets.data, frame->bodies[i].octets.len);
        at += frame->bodies[i].octets.len;
    }
    return bytes;
}

/* One message of every kind, the append with four entries of which two have bodies. */
static struct raft_bytes *sample_frame(bool with_change)
{
    static const uint32_t sizes[] = {1, 5000, 70000};
    struct raft_wire_entry entries[] = {{3, sample_change(3)},
                                        {3, sample_item("one", sizes, 3)},
                                        {3, sample_barrier()},
                                        {4, sample_item("two", sizes + 1, 1)}};
    struct raft_wire_row rows[] = {{1, 101, 4}, {2, 102, 5}};
    const struct raft_wire messages[] = {
        {.type = RAFT_WIRE_VOTE_REQUEST,
         .flags = RAFT_WIRE_PRE_VOTE,
         .group = 1,
         .from = 5,
         .to = 6,
         .term = 9,
         .index = 8,
         .index_term = 7},
        {.type = RAFT_WIRE_VOTE_RESULT, .flags = RAFT_WIRE_GRANTED, .group = 2, .from = 5, .to = 6, .term = 9},
        {.type = RAFT_WIRE_APPEND,
         .group = 3,
         .from = 5,
         .to = 6,
         .term = 4,
         .index = 10,
         .index_term = 3,
         .commit = 9,
         .floor = 2,
         .count = with_change ? 4 : 3,
         .entries = with_change ? entries : entries + 1},
        {.type = RAFT_WIRE_APPEND_RESULT, .group = 4, .from = 5, .to = 6, .term = 9, .rejected = 3, .index = 2},
        {.type = RAFT_WIRE_TIMEOUT_NOW, .group = 5, .from = 5, .to = 6, .term = 9, .index = 8, .index_term = 7},
        {.type = RAFT_WIRE_CONFIRM, .round = 77, .count = 2, .rows = rows},
        {.type = RAFT_WIRE_CONFIRM_RESULT, .round = 78, .count = 1, .rows = rows},
    };
    struct raft_wire_out out;
    raft_wire_out_init(&out);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        raft_wire_add(&out, &messages[i]);
    struct raft_frame frame = raft_wire_finish(&out);
    struct raft_bytes *bytes = join(&frame);
    assert_int_equal(frame.size, raft_bytes_slice(bytes).len);
    raft_wire_out_fini(&out);
    for (size_t i = 0; i < 4; i++)
        raft_item_unref(&entries[i].item);
    return bytes;
}

static enum cq_rc decode_and_release(struct cq_slice octets)
{
    struct raft_bytes *frame = raft_bytes_copy(octets);
    struct cq_pool *pool = cq_pool_new(1024);
    struct raft_wire_in in;
    enum cq_rc rc = raft_wire_decode(frame, pool, &in, NULL);
    raft_wire_release(&in);
    cq_pool_free(&pool);
    raft_bytes_unref(&frame);
    return rc;
}

static void every_kind_of_message_comes_back_as_it_was(void **state)
{
    (void)state;
    struct raft_bytes *frame = sample_frame(true);
    struct cq_pool *pool = cq_pool_new(1024);
    struct raft_wire_in in;
    assert_int_equal(raft_wire_decode(frame, pool, &in, NULL), CQ_OK);
    assert_int_equal(in.count, 7);
    const struct raft_wire *m = in.messages;
    assert_int_equal(m[0].type, RAFT_WIRE_VOTE_REQUEST);
    assert_int_equal(m[0].flags, RAFT_WIRE_PRE_VOTE);
    assert_true(m[0].group == 1 && m[0].from == 5 && m[0].to == 6);
    assert_true(m[0].term == 9 && m[0].index == 8 && m[0].index_term == 7);
    assert_true(m[1].flags == RAFT_WIRE_GRANTED && m[1].term == 9);
    assert_true(m[2].term == 4 && m[2].index == 10 && m[2].index_term == 3 && m[2].commit == 9 && m[2].floor == 2);
    assert_int_equal(m[2].count, 4);
    assert_int_equal(m[2].entries[0].item->kind, RAFT_KIND_CHANGE);
    assert_int_equal(m[2].entries[1].item->body_count, 3);
    assert_int_equal(m[2].entries[1].item->body_bytes, 75001);
    assert_int_equal(m[2].entries[3].term, 4);
    assert_int_equal(m[2].entries[3].item->bodies[0].octets.data[1], 31);
    assert_true(m[3].rejected == 3 && m[3].index == 2);
    assert_true(m[4].index_term == 7);
    assert_true(m[5].round == 77 && m[5].count == 2 && m[5].rows[1].term == 5 && m[5].rows[1].replica == 102);
    assert_true(m[6].round == 78 && m[6].count == 1 && m[6].rows[0].term == 0);
    raft_wire_release(&in);
    cq_pool_free(&pool);
    raft_bytes_unref(&frame);
}

static void a_frame_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct raft_bytes *frame = sample_frame(true);
    struct cq_slice octets = raft_bytes_slice(frame);
    for (size_t len = 0; len < octets.len; len += len < 1200 ? 1 : 977)
        assert_int_not_equal(decode_and_release(cq_slice_sub(octets, 0, len)), CQ_OK);
    assert_int_equal(decode_and_release(octets), CQ_OK);
    raft_bytes_unref(&frame);
}

static void a_changed_octet_of_an_entry_or_a_body_is_found(void **state)
{
    (void)state;
    struct raft_bytes *frame = sample_frame(true);
    struct cq_slice octets = raft_bytes_slice(frame);
    size_t head = RAFT_WIRE_FRAME_HEAD + cq_get_le32(octets.data + 4);
    uint8_t *copy = cq_memdup(octets.data, octets.len);
    for (size_t at = head; at < octets.len; at += 331) {
        copy[at] ^= 1;
        assert_int_equal(decode_and_release(cq_slice_of(copy, octets.len)), CQ_E_CORRUPT);
        copy[at] ^= 1;
    }
    assert_int_equal(decode_and_release(cq_slice_of(copy, octets.len)), CQ_OK);
    free(copy);
    raft_bytes_unref(&frame);
}

static void a_configuration_behind_another_entry_is_refused(void **state)
{
    (void)state;
    struct raft_wire_entry entries[] = {{3, sample_barrier()}, {3, sample_change(3)}};
    const struct raft_wire message = {.type = RAFT_WIRE_APPEND,
                                      .group = 3,
                                      .from = 5,
                                      .to = 6,
                                      .term = 4,
                                      .index = 10,
                                      .index_term = 3,
                                      .count = 2,
                                      .entries = entries};
    struct raft_wire_out out;
    raft_wire_out_init(&out);
    raft_wire_add(&out, &message);
    struct raft_frame frame = raft_wire_finish(&out);
    assert_int_equal(decode_and_release(frame.head), CQ_E_PROTO);
    raft_wire_out_fini(&out);
    raft_item_unref(&entries[0].item);
    raft_item_unref(&entries[1].item);
}

static void an_empty_frame_is_fine_and_another_version_is_not(void **state)
{
    (void)state;
    assert_int_equal(decode_and_release(cq_slice_of("\1\0\0\0\0\0\0\0", 8)), CQ_OK);
    assert_int_equal(decode_and_release(cq_slice_of("\2\0\0\0\0\0\0\0", 8)), CQ_E_VERSION);
    assert_int_equal(decode_and_release(cq_slice_of("\1\0\1\0\0\0\0\0", 8)), CQ_E_PROTO);
    assert_int_equal(decode_and_release(cq_slice_of("\1\0\0\0\0\0\0\0x", 9)), CQ_E_PROTO);
}

/* Fields of a message head that must not be taken: (offset in the first message, value). */
static void an_impossible_message_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{0, 0}, {0, 8}, {0, 200}, {1, 64}, {2, 1}, {8, 0}, {16, 0}};
    struct raft_bytes *frame = sample_frame(true);
    struct cq_slice octets = raft_bytes_slice(frame);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *copy = cq_memdup(octets.data, octets.len);
        copy[RAFT_WIRE_FRAME_HEAD + cases[i].at] = cases[i].value;
        assert_int_equal(decode_and_release(cq_slice_of(copy, octets.len)), CQ_E_PROTO);
        free(copy);
    }
    raft_bytes_unref(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_message_comes_back_as_it_was),
        cmocka_unit_test(a_frame_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_octet_of_an_entry_or_a_body_is_found),
        cmocka_unit_test(a_configuration_behind_another_entry_is_refused),
        cmocka_unit_test(an_empty_frame_is_fine_and_another_version_is_not),
        cmocka_unit_test(an_impossible_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
