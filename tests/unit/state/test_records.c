/* docs/formats/state.md, byte by byte: what one release wrote every later one reads. */
#include "unit/cq_cmocka.h"

#include "base/cq_hex.h"
#include "base/cq_mem.h"
#include "state/records.h"
#include "state/state_key.h"

#include <stdlib.h>
#include <string.h>

static struct cq_buf bytes, hex;

static int setup(void **state)
{
    (void)state;
    cq_buf_init(&bytes, 1 << 20);
    cq_buf_init(&hex, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_buf_fini(&bytes);
    cq_buf_fini(&hex);
    return 0;
}

static void expect_hex(struct cq_slice got, const char *want)
{
    cq_buf_reset(&hex, SIZE_MAX);
    cq_hex_add(&hex, got);
    if (hex.len != strlen(want) || memcmp(hex.data, want, hex.len) != 0)
        fail_msg("got  %.*s\nwant %s", (int)hex.len, (const char *)hex.data, want);
}

static struct cq_buf *fresh(void)
{
    cq_buf_reset(&bytes, SIZE_MAX);
    return &bytes;
}

/* Every record: as documented; refused when cut short, when one byte longer (where it has no tail), and when its
 * version is another one. */
static void check(const char *want, enum cq_rc (*get)(struct cq_slice), bool has_tail)
{
    expect_hex(cq_buf_slice(&bytes), want);
    assert_int_equal(get(cq_buf_slice(&bytes)), CQ_OK);
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *exact = cq_memdup(bytes.data, len ? len : 1);
        enum cq_rc rc = get(cq_slice_of(exact, len));
        free(exact);
        if (!has_tail)
            assert_int_equal(rc, CQ_E_CORRUPT);
    }
    bytes.data[0]++;
    assert_int_equal(get(cq_buf_slice(&bytes)), CQ_E_VERSION);
    bytes.data[0]--;
    if (!has_tail) {
        cq_buf_byte(&bytes, 0);
        assert_int_equal(get(cq_buf_slice(&bytes)), CQ_E_CORRUPT);
    }
}

#define GETTER(name, type)                                                                                             \
    static enum cq_rc get_##name(struct cq_slice in)                                                                   \
    {                                                                                                                  \
        type record;                                                                                                   \
        return name##_record_get(in, &record);                                                                         \
    }
GETTER(group, struct group_record)
GETTER(account, struct account_record)
GETTER(mailbox, struct mailbox_record)
GETTER(message, struct message_record)
GETTER(body, struct body_record)
GETTER(stage, struct stage_record)
GETTER(copy, struct copy_record)
GETTER(client, struct client_record)
GETTER(result, struct result_record)
GETTER(charge, struct charge_record)
GETTER(piece, struct chunk_ref)
GETTER(number, uint64_t)

static void the_group_record_is_as_documented(void **state)
{
    (void)state;
    group_record_put(&(struct group_record){.time = 1,
                                            .outbox_index = 2,
                                            .outbox_events = 3,
                                            .outbox_bytes = 4,
                                            .outbox_sub_index = 5,
                                            .active_version = 6},
                     fresh());
    check("01"
          "0100000000000000"
          "0200000000000000"
          "05000000"
          "0300000000000000"
          "0400000000000000"
          "0600",
          get_group, false);
}

static void the_account_record_is_as_documented(void **state)
{
    (void)state;
    account_record_put(&(struct account_record){.state = ACCOUNT_ACTIVE,
                                                .quota_state = 2,
                                                .copying = 1,
                                                .incarnation = 3,
                                                .modseq = 4,
                                                .created = 5,
                                                .next_mailbox = 6,
                                                .next_email = 7,
                                                .next_uidvalidity = 8,
                                                .directory_version = 9,
                                                .quota_bytes = 10,
                                                .quota_messages = 11,
                                                .sending_messages_day = 12,
                                                .sending_recipients_day = 13,
                                                .recipients_message = 14,
                                                .used_bytes = 15,
                                                .used_messages = 16,
                                                .mailboxes = 17,
                                                .subscriptions = 18,
                                                .name_bytes = 19,
                                                .uses = {20, 21, 22, 23, 24, 25, 26},
                                                .stage_bytes = 27,
                                                .stages = 28,
                                                .delivery_keys = 29,
                                                .clients = 30,
                                                .charges = 31,
                                                .window_recipients = 32,
                                                .address = CQ_SLICE("a@b")},
                       fresh());
    check("01"
          "01"
          "02"
          "01"
          "0300000000000000"
          "0400000000000000"
          "0500000000000000"
          "0600000000000000"
          "0700000000000000"
          "08000000"
          "0900000000000000"
          "0a00000000000000"
          "0b00000000000000"
          "0c000000"
          "0d000000"
          "0e000000"
          "0f00000000000000"
          "1000000000000000"
          "11000000"
          "12000000"
          "13000000"
          "1400000000000000"
          "1500000000000000"
          "1600000000000000"
          "1700000000000000"
          "1800000000000000"
          "1900000000000000"
          "1a00000000000000"
          "1b00000000000000"
          "1c000000"
          "1d000000"
          "1e000000"
          "1f000000"
          "2000000000000000"
          "0300"
          "614062",
          get_account, false);
}

static void the_mailbox_record_is_as_documented(void **state)
{
    (void)state;
    mailbox_record_put(&(struct mailbox_record){.use = 6,
                                                .uidvalidity = 2,
                                                .uidnext = 3,
                                                .recent_from = 4,
                                                .messages = 5,
                                                .unseen = 6,
                                                .deleted = 7,
                                                .size = 8,
                                                .highest_modseq = 9,
                                                .vanished = 10,
                                                .vanished_floor = 11,
                                                .name = CQ_SLICE("INBOX")},
                       fresh());
    check("01"
          "06"
          "02000000"
          "03000000"
          "04000000"
          "05000000"
          "06000000"
          "07000000"
          "0800000000000000"
          "0900000000000000"
          "0a000000"
          "0b00000000000000"
          "0500"
          "494e424f58",
          get_mailbox, false);
}

static void the_message_record_is_as_documented(void **state)
{
    (void)state;
    message_record_put(&(struct message_record){.flags = 9,
                                                .size = 2,
                                                .modseq = 3,
                                                .internal_date = -1,
                                                .save_date = 5,
                                                .email = 6,
                                                .thread = 7,
                                                .keywords = CQ_SLICE("\x81")},
                       fresh());
    check("01"
          "09"
          "02000000"
          "0300000000000000"
          "ffffffffffffffff"
          "0500000000000000"
          "0600000000000000"
          "0700000000000000"
          "81",
          get_message, true);
}

static const struct chunk_ref chunk = {{1, 2, 3, 4}, 5, {6, 7}};
#define ROW                                                                                                            \
    "0000000000000001"                                                                                                 \
    "0000000000000002"                                                                                                 \
    "0000000000000003"                                                                                                 \
    "00000004"                                                                                                         \
    "05000000"                                                                                                         \
    "0600000000000000"                                                                                                 \
    "0700000000000000"

static void the_body_record_is_as_documented(void **state)
{
    (void)state;
    struct cq_buf rows;
    cq_buf_init(&rows, 1024);
    chunk_ref_put(&chunk, &rows);
    body_record_put(
        &(struct body_record){
            .references = 1, .size = 5, .hash_low = 3, .hash_high = 4, .chunk_count = 1, .chunks = cq_buf_slice(&rows)},
        fresh());
    cq_buf_fini(&rows);
    check("01"
          "01000000"
          "05000000"
          "0300000000000000"
          "0400000000000000"
          "01000000" ROW,
          get_body, false);
}

static void the_piece_record_is_as_documented(void **state)
{
    (void)state;
    piece_record_put(&chunk, fresh());
    check("01" ROW, get_piece, false);
}

static void the_copy_record_is_as_documented(void **state)
{
    (void)state;
    copy_record_put(&(struct copy_record){.move = 1,
                                          .time = 1,
                                          .sequence = 2,
                                          .from = 3,
                                          .to = 4,
                                          .modseq = 5,
                                          .size = 6,
                                          .first_uid = 7,
                                          .done = 8,
                                          .unseen = 9,
                                          .deleted = 10,
                                          .client = CQ_SLICE("0123456789abcdef")},
                    fresh());
    check("01"
          "01"
          "0100000000000000"
          "0200000000000000"
          "0300000000000000"
          "0400000000000000"
          "0500000000000000"
          "0600000000000000"
          "07000000"
          "08000000"
          "09000000"
          "0a000000"
          "30313233343536373839616263646566",
          get_copy, false);
}

static void the_stage_record_is_as_documented(void **state)
{
    (void)state;
    stage_record_put(&(struct stage_record){1, 2, 3}, fresh());
    check("01"
          "0100000000000000"
          "0200000000000000"
          "03000000",
          get_stage, false);
}

static void the_client_record_is_as_documented(void **state)
{
    (void)state;
    client_record_put(&(struct client_record){1, 2, 3, 4}, fresh());
    check("01"
          "0100000000000000"
          "0200000000000000"
          "0300000000000000"
          "04000000",
          get_client, false);
}

static void the_result_record_is_as_documented(void **state)
{
    (void)state;
    result_record_put(&(struct result_record){1, 19, CQ_SLICE("body")}, fresh());
    check("01"
          "0100000000000000"
          "1300"
          "626f6479",
          get_result, true);
}

static void the_charge_record_is_as_documented(void **state)
{
    (void)state;
    charge_record_put(&(struct charge_record){1, 2}, fresh());
    check("01"
          "0100000000000000"
          "02000000",
          get_charge, false);
}

static void the_number_record_is_as_documented(void **state)
{
    (void)state;
    number_record_put(UINT64_C(0x0102030405060708), fresh());
    check("01"
          "0807060504030201",
          get_number, false);
}

static void lists_are_written_as_their_document_says(void **state)
{
    (void)state;
    struct cq_pool *pool = cq_pool_new(256);
    struct uid_range ranges[] = {{1, 2}, {5, 5}};
    struct uidset set = {ranges, 2}, back;
    uids_record_put(&set, fresh());
    expect_hex(cq_buf_slice(&bytes), "01"
                                     "01000000"
                                     "02000000"
                                     "05000000"
                                     "05000000");
    assert_int_equal(uids_record_get(cq_buf_slice(&bytes), pool, &back), CQ_OK);
    assert_int_equal(back.count, 2);
    bytes.data[9] = 1; /* the second range begins inside the first */
    assert_int_equal(uids_record_get(cq_buf_slice(&bytes), pool, &back), CQ_E_CORRUPT);

    struct keyword_table table = {.count = 2, .names = {CQ_SLICE("$A"), CQ_SLICE("b")}}, table_back;
    keyword_table_put(&table, fresh());
    expect_hex(cq_buf_slice(&bytes), "01"
                                     "022441"
                                     "0162");
    assert_int_equal(keyword_table_get(cq_buf_slice(&bytes), &table_back), CQ_OK);
    assert_int_equal(table_back.count, 2);
    assert_slice(table_back.names[1], "b");
    bytes.len--;
    assert_int_equal(keyword_table_get(cq_buf_slice(&bytes), &table_back), CQ_E_CORRUPT);

    struct slot_range slots[] = {{0, 1}, {65535, 65535}};
    static uint8_t owned[SLOT_COUNT / 8];
    uint64_t epoch;
    slots_record_put(7, slots, 2, fresh());
    expect_hex(cq_buf_slice(&bytes), "01"
                                     "0700000000000000"
                                     "00000100"
                                     "ffffffff");
    assert_int_equal(slots_record_get(cq_buf_slice(&bytes), &epoch, owned), CQ_OK);
    assert_int_equal(epoch, 7);
    assert_int_equal(owned[0], 3);
    assert_int_equal(owned[SLOT_COUNT / 8 - 1], 0x80);
    bytes.len--;
    assert_int_equal(slots_record_get(cq_buf_slice(&bytes), &epoch, owned), CQ_E_CORRUPT);

    bytes_record_put(CQ_SLICE("xyz"), fresh());
    expect_hex(cq_buf_slice(&bytes), "01"
                                     "78797a");
    empty_record_put(fresh());
    expect_hex(cq_buf_slice(&bytes), "01");
    cq_pool_free(&pool);
}

static void keys_are_written_as_their_document_says(void **state)
{
    (void)state;
    struct state_keyspace space;
    struct state_key key, after;
    state_keyspace_init(&space, 5, 1);
    key_begin(&key, &space, UINT64_C(0x1122334455667788), KEY_CHANGE);
    key_u64(&key, 9);
    key_u64(&key, 258);
    key_u32(&key, 3);
    expect_hex(key_slice(&key), "00000005"
                                "00000001"
                                "1122334455667788"
                                "63"
                                "0000000000000009"
                                "0000000000000102"
                                "00000003");
    static const struct {
        const char *prefix, *after;
    } cases[] = {{"a", "b"}, {"a\xff", "b"}, {"\xff\xff", ""}, {"a\xff\xff", "b"}, {"ab", "ac"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        key.len = 0;
        key_bytes(&key, cases[i].prefix, strlen(cases[i].prefix));
        key_after_prefix(&key, &after);
        assert_slice(key_slice(&after), cases[i].after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_group_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_account_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mailbox_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_message_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_body_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_piece_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_copy_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_stage_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_client_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_result_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_charge_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(the_number_record_is_as_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_are_written_as_their_document_says, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_are_written_as_their_document_says, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
