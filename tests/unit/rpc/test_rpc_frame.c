#include "rpc/rpc_frame.h"

#include "base/cq_endian.h"

#include "unit/cq_cmocka.h"

static const struct rpc_frame full = {
    .type = RPC_REQUEST,
    .flags = RPC_FLAG_COMMAND | RPC_FLAG_RESENT,
    .method = 20,
    .result = 7,
    .stream = 0x01020304,
    .group = 64,
    .account = 0xfedcba9876543210,
    .epoch = 1ull << 40,
    .deadline_ms = 30000,
    .message_len = 3,
    .payload_len = 8,
    .aux = UINT64_MAX,
};

static void assert_frames_equal(const struct rpc_frame *a, const struct rpc_frame *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->method, b->method);
    assert_int_equal(a->result, b->result);
    assert_int_equal(a->stream, b->stream);
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->account, b->account);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->deadline_ms, b->deadline_ms);
    assert_int_equal(a->message_len, b->message_len);
    assert_int_equal(a->payload_len, b->payload_len);
    assert_int_equal(a->aux, b->aux);
}

static void every_field_survives_encode_and_decode(void **state)
{
    (void)state;
    uint8_t bytes[RPC_FRAME_HEADER_SIZE];
    struct rpc_frame got;
    rpc_frame_encode(&full, bytes);
    assert_int_equal(rpc_frame_decode(bytes, RPC_PAYLOAD_MAX, &got, NULL), CQ_OK);
    assert_frames_equal(&full, &got);
}

static void the_layout_is_the_documented_one(void **state)
{
    (void)state;
    static const uint8_t want[RPC_FRAME_HEADER_SIZE] = {
        72,   0,    0,    0,    1,    1,    5,    0,    20,  0,   7,   0,   4,   3,   2,   1, /* 0 */
        0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0,   0,   0,   0,   0,   1,   0,   0, /* 16 */
        64,   0,    0,    0,    0x30, 0x75, 0,    0,    255, 255, 255, 255, 255, 255, 255, 255,
        3,    0,    0,    0,    0,    0,    0,    0,    0,   0,   0, /* 32 */
    };
    uint8_t bytes[RPC_FRAME_HEADER_SIZE];
    rpc_frame_encode(&full, bytes);
    assert_memory_equal(bytes, want, sizeof want);
}

struct bad_case {
    const char *name;
    size_t at, size; /* bytes changed in an encoded `full` */
    uint32_t value;
    enum cq_rc rc;
};

static void a_wrong_header_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct bad_case cases[] = {
        {"untouched", 4, 1, 1, CQ_OK},
        {"version 0", 4, 1, 0, CQ_E_VERSION},
        {"version 2", 4, 1, 2, CQ_E_VERSION},
        {"type 0", 5, 1, 0, CQ_E_VERSION},
        {"first unknown type", 5, 1, 11, CQ_E_VERSION},
        {"last type that must be known", 5, 1, 127, CQ_E_VERSION},
        {"first skippable type", 5, 1, 128, CQ_OK},
        {"last type", 5, 1, 255, CQ_OK},
        {"length 0", 0, 4, 0, CQ_E_PROTO},
        {"length one under a header", 0, 4, 63, CQ_E_PROTO},
        {"message longer than payload", 48, 4, 9, CQ_E_PROTO},
        {"message is all of the payload", 48, 4, 8, CQ_OK},
        {"length at the limit", 0, 4, 64 + 1000, CQ_OK},
        {"length one over the limit", 0, 4, 64 + 1001, CQ_E_TOO_BIG},
        {"largest length", 0, 4, UINT32_MAX, CQ_E_TOO_BIG},
        {"request without a stream", 12, 4, 0, CQ_E_PROTO},
        {"PING with a stream", 5, 1, RPC_PING, CQ_E_PROTO},
        {"unknown flags", 6, 2, 0xffff, CQ_OK},
        {"reserved bytes set", 52, 4, 0xffffffff, CQ_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[RPC_FRAME_HEADER_SIZE], value[4];
        struct rpc_frame got;
        struct cq_err err = {0};
        rpc_frame_encode(&full, bytes);
        cq_put_le32(value, cases[i].value);
        memcpy(bytes + cases[i].at, value, cases[i].size);
        enum cq_rc rc = rpc_frame_decode(bytes, 1000, &got, &err);
        if (rc != cases[i].rc)
            fail_msg("%s: %s, wanted %s", cases[i].name, cq_rc_name(rc), cq_rc_name(cases[i].rc));
        assert_int_equal(err.text[0] != 0, rc != CQ_OK);
    }
}

static void no_configured_maximum_lets_a_frame_pass_16_mib(void **state)
{
    (void)state;
    uint8_t bytes[RPC_FRAME_HEADER_SIZE];
    struct rpc_frame got;
    rpc_frame_encode(&full, bytes);
    cq_put_le32(bytes, RPC_FRAME_MAX);
    assert_int_equal(rpc_frame_decode(bytes, SIZE_MAX, &got, NULL), CQ_OK);
    cq_put_le32(bytes, RPC_FRAME_MAX + 1);
    assert_int_equal(rpc_frame_decode(bytes, SIZE_MAX, &got, NULL), CQ_E_TOO_BIG);
}

/* Three frames: with payload, without, with payload of one byte. */
static size_t three_frames(uint8_t *out)
{
    struct rpc_frame ping = {.type = RPC_PING, .aux = 9};
    struct rpc_frame data = {.type = RPC_DATA, .stream = 5, .payload_len = 1};
    rpc_frame_encode(&full, out);
    memcpy(out + 64, "msgraw..", 8);
    rpc_frame_encode(&ping, out + 72);
    rpc_frame_encode(&data, out + 136);
    out[200] = 'x';
    return 201;
}

static void feed_in_pieces(const uint8_t *bytes, size_t len, size_t piece)
{
    struct rpc_frame_reader reader;
    struct rpc_frame frames[3] = {0};
    struct rpc_payload *payloads[4] = {0};
    size_t count = 0;
    rpc_frame_reader_init(&reader, RPC_PAYLOAD_MAX);
    for (size_t at = 0; at < len; at += piece) {
        struct cq_slice input = cq_slice_of(bytes + at, piece < len - at ? piece : len - at);
        enum cq_rc rc;
        while ((rc = rpc_frame_reader_next(&reader, &input, &frames[count], &payloads[count], NULL)) == CQ_OK)
            count++;
        assert_int_equal(rc, CQ_E_AGAIN);
        assert_int_equal(input.len, 0);
    }
    assert_int_equal(count, 3);
    assert_true(rpc_frame_reader_idle(&reader));
    assert_frames_equal(&frames[0], &full);
    assert_slice(rpc_frame_message(&frames[0], payloads[0]), "msg");
    assert_slice(rpc_frame_raw(&frames[0], payloads[0]), "raw..");
    assert_int_equal(frames[1].aux, 9);
    assert_null(payloads[1]);
    assert_slice(rpc_frame_message(&frames[2], payloads[2]), "");
    assert_slice(rpc_frame_raw(&frames[2], payloads[2]), "x");
    for (size_t i = 0; i < 3; i++)
        rpc_payload_unref(&payloads[i]);
    rpc_frame_reader_fini(&reader);
}

static void the_reader_takes_any_portions(void **state)
{
    (void)state;
    uint8_t bytes[256];
    size_t len = three_frames(bytes);
    for (size_t piece = 1; piece <= len; piece++)
        feed_in_pieces(bytes, len, piece);
}

static void half_a_frame_is_not_idle_and_leaks_nothing(void **state)
{
    (void)state;
    uint8_t bytes[256];
    three_frames(bytes);
    for (size_t len = 1; len < 72; len++) {
        struct rpc_frame_reader reader;
        struct rpc_frame frame;
        struct rpc_payload *payload;
        struct cq_slice input = cq_slice_of(bytes, len);
        rpc_frame_reader_init(&reader, RPC_PAYLOAD_MAX);
        assert_int_equal(rpc_frame_reader_next(&reader, &input, &frame, &payload, NULL), CQ_E_AGAIN);
        assert_false(rpc_frame_reader_idle(&reader));
        rpc_frame_reader_fini(&reader);
    }
}

static void join_copies_message_and_raw_and_stops_at_the_limit(void **state)
{
    (void)state;
    struct rpc_frame frame = {.type = RPC_DATA, .stream = 1};
    struct cq_slice raw[] = {CQ_SLICE("one"), CQ_SLICE_NONE, CQ_SLICE("two")};
    struct rpc_payload *payload = rpc_payload_join(&frame, CQ_SLICE("m"), raw, 3);
    assert_slice(rpc_frame_message(&frame, payload), "m");
    assert_slice(rpc_frame_raw(&frame, payload), "onetwo");
    struct rpc_payload *again = rpc_payload_ref(payload);
    rpc_payload_unref(&payload);
    assert_null(payload);
    assert_slice(rpc_frame_raw(&frame, again), "onetwo");
    rpc_payload_unref(&again);

    static uint8_t big[RPC_PAYLOAD_MAX];
    struct cq_slice at[] = {cq_slice_of(big, sizeof big - 1)};
    payload = rpc_payload_join(&frame, CQ_SLICE("m"), at, 1);
    assert_non_null(payload);
    rpc_payload_unref(&payload);
    assert_null(rpc_payload_join(&frame, CQ_SLICE("mm"), at, 1));
    struct cq_slice huge[] = {cq_slice_of(big, SIZE_MAX), cq_slice_of(big, SIZE_MAX)};
    assert_null(rpc_payload_join(&frame, CQ_SLICE_NONE, huge, 2)); /* no overflow of the sum */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_encode_and_decode),
        cmocka_unit_test(the_layout_is_the_documented_one),
        cmocka_unit_test(a_wrong_header_is_refused_with_its_reason),
        cmocka_unit_test(no_configured_maximum_lets_a_frame_pass_16_mib),
        cmocka_unit_test(the_reader_takes_any_portions),
        cmocka_unit_test(half_a_frame_is_not_idle_and_leaks_nothing),
        cmocka_unit_test(join_copies_message_and_raw_and_stops_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
