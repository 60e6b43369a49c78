/* DELIVER, delivery keys, stages, sending charges, events, RECLAIM. */
#include "unit/state/mail_helpers.h"

#include "base/cq_endian.h"

#include "proto/outbox.pb-c.h"
#include "state/state_limits.h"

#define HOUR (UINT64_C(3600) * SECOND)
#define DAY (24 * HOUR)

static struct machine_outcome deliver(struct shard *s, const char *text, int use, const char *key)
{
    static Chasqui__Mail__NewMessage wire;
    Chasqui__Mail__Deliver message = W(DELIVER);
    Chasqui__Mail__DeliveryEvent event = W(DELIVERY_EVENT);
    struct cq_slice octets = cq_slice_cstr(text);
    struct cq_hash128 hash = cq_xxh3_128(octets);
    chasqui__mail__new_message__init(&wire);
    wire.size = (uint32_t)octets.len;
    wire.body_hash_low = hash.low;
    wire.body_hash_high = hash.high;
    event.message_id = (char *)"01ARZ3NDEKTSV4RRFFQ69G5FAV";
    event.recipient = (char *)"ana@example.test";
    message.message = &wire;
    message.event = &event;
    message.use = (Chasqui__Mail__SpecialUse)use;
    if (key)
        message.delivery_key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    return shard_run(
        s, &(struct shard_call){.method = M(DELIVER), .account = ANA, .message = &message.base, .raw = octets});
}

static const Chasqui__Mail__DeliverReply *deliver_reply(struct shard *s, struct machine_outcome outcome)
{
    assert_int_equal(outcome.rc, CQ_OK);
    return shard_reply(s, &outcome, D(deliver_reply));
}

static void a_delivery_goes_where_its_use_says_or_into_inbox(void **state)
{
    struct shard *s = *state;
    uint64_t junk = h_mailbox(s, "Junk")->id;
    assert_int_equal(deliver_reply(s, deliver(s, "x", CHASQUI__MAIL__SPECIAL_USE__USE_INBOX, NULL))->mailbox, INBOX);
    assert_int_equal(deliver_reply(s, deliver(s, "x", 0, NULL))->mailbox, INBOX);
    assert_int_equal(deliver_reply(s, deliver(s, "x", CHASQUI__MAIL__SPECIAL_USE__USE_JUNK, NULL))->mailbox, junk);
    assert_int_equal(h_delete(s, junk), CQ_OK);
    const Chasqui__Mail__DeliverReply *reply =
        deliver_reply(s, deliver(s, "x", CHASQUI__MAIL__SPECIAL_USE__USE_JUNK, NULL));
    assert_int_equal(reply->mailbox, INBOX);
    assert_int_equal(reply->uid, 3);
    assert_int_equal(deliver(s, "x", 7, NULL).rc, CQ_E_INVALID);
    assert_int_equal(deliver(s, "x", -1, NULL).rc, CQ_E_INVALID);
    Chasqui__Mail__Deliver empty = W(DELIVER);
    assert_int_equal(h_run(s, M(DELIVER), &empty).rc, CQ_E_INVALID);
}

static enum cq_rc keep_key(struct shard *s, const char *key)
{
    Chasqui__Mail__KeepDeliveryKey keep = W(KEEP_DELIVERY_KEY);
    keep.delivery_key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
    return h_run(s, M(KEEP_DELIVERY_KEY), &keep).rc;
}

static void a_kept_key_absorbs_exactly_one_delivery(void **state)
{
    struct shard *s = *state;
    static const char *const key = "0123456789abcdef", *const other = "0123456789abcdeX";
    assert_int_equal(keep_key(s, key), CQ_OK);
    assert_int_equal(keep_key(s, key), CQ_OK);
    assert_false(deliver_reply(s, deliver(s, "x", 0, other))->absorbed);
    assert_true(deliver_reply(s, deliver(s, "x", 0, key))->absorbed);
    assert_false(deliver_reply(s, deliver(s, "x", 0, key))->absorbed);
    assert_int_equal(h_mailbox(s, "INBOX")->messages, 2);
    assert_int_equal(keep_key(s, "short"), CQ_E_INVALID);
    assert_int_equal(keep_key(s, ""), CQ_E_INVALID);
    assert_int_equal(deliver(s, "x", 0, "0123456789abcdef0").rc, CQ_E_INVALID);
}

static void a_kept_key_lives_five_days_with_and_without_reclaim(void **state)
{
    struct shard *s = *state;
    static const char *const key = "0123456789abcdef";
    for (int reclaimed = 0; reclaimed < 2; reclaimed++) {
        assert_int_equal(keep_key(s, key), CQ_OK);
        h_later(s, 5 * DAY);
        if (reclaimed)
            assert_int_equal(h_reclaim(s), CQ_OK);
        assert_true(deliver_reply(s, deliver(s, "x", 0, key))->absorbed);
        assert_int_equal(keep_key(s, key), CQ_OK);
        h_later(s, 5 * DAY + 1);
        if (reclaimed)
            assert_int_equal(h_reclaim(s), CQ_OK);
        assert_false(deliver_reply(s, deliver(s, "x", 0, key))->absorbed);
    }
}

static void an_account_keeps_at_most_10000_delivery_keys(void **state)
{
    struct shard *s = *state;
    char key[17];
    for (int i = 0; i < STATE_DELIVERY_KEYS_MAX; i++) {
        snprintf(key, sizeof key, "%016d", i);
        assert_int_equal(keep_key(s, key), CQ_OK);
    }
    assert_int_equal(keep_key(s, "................"), CQ_E_LIMIT);
    assert_int_equal(keep_key(s, key), CQ_OK);
    h_later(s, 5 * DAY + 2 * SECOND);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_int_equal(keep_key(s, "................"), CQ_OK);
}

/* ---- stages ---- */

static struct shard_call stage_call(char id, uint64_t offset, const char *piece)
{
    static Chasqui__Mail__Stage message;
    static uint8_t bytes[16];
    struct cq_slice raw = cq_slice_cstr(piece);
    struct cq_hash128 hash = cq_xxh3_128(raw);
    chasqui__mail__stage__init(&message);
    memset(bytes, id, sizeof bytes);
    message.stage = (ProtobufCBinaryData){sizeof bytes, bytes};
    message.offset = offset;
    message.hash_low = hash.low;
    message.hash_high = hash.high;
    return (struct shard_call){.method = M(STAGE), .account = ANA, .message = &message.base, .raw = raw};
}

static enum cq_rc stage(struct shard *s, char id, uint64_t offset, const char *piece)
{
    struct shard_call call = stage_call(id, offset, piece);
    return shard_run(s, &call).rc;
}

static enum cq_rc append_staged(struct shard *s, char id, uint32_t size)
{
    Chasqui__Mail__Append append = W(APPEND);
    Chasqui__Mail__NewMessage message = W(NEW_MESSAGE), *list = &message;
    uint8_t bytes[16];
    memset(bytes, id, sizeof bytes);
    message.stage = (ProtobufCBinaryData){sizeof bytes, bytes};
    message.size = size;
    append.mailbox = INBOX;
    append.n_messages = 1;
    append.messages = &list;
    return h_run(s, M(APPEND), &append).rc;
}

static void pieces_come_in_order_without_gaps_and_may_come_again(void **state)
{
    struct shard *s = *state;
    static const struct {
        uint64_t offset;
        const char *piece;
        enum cq_rc want;
    } cases[] = {
        {1, "late", CQ_E_CONFLICT},       {0, "abc", CQ_OK},        {0, "abc", CQ_OK},
        {0, "abX", CQ_E_CONFLICT},        {0, "ab", CQ_E_CONFLICT}, {1, "bc", CQ_E_CONFLICT},
        {4, "gap", CQ_E_CONFLICT},        {3, "defg", CQ_OK},       {3, "defg", CQ_OK},
        {UINT64_MAX, "x", CQ_E_CONFLICT}, {7, "", CQ_E_INVALID},
    };
    struct cq_slice octets;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (stage(s, 'a', cases[i].offset, cases[i].piece) != cases[i].want)
            fail_msg("case %zu", i);
    assert_int_equal(append_staged(s, 'a', 6), CQ_E_INVALID);
    assert_int_equal(append_staged(s, 'b', 7), CQ_E_NOT_FOUND);
    assert_int_equal(append_staged(s, 'a', 7), CQ_OK);
    assert_int_equal(append_staged(s, 'a', 7), CQ_E_NOT_FOUND);
    for (uint64_t from = 0; from <= 8; from++) {
        assert_int_equal(shard_read_body(s, 0, ANA, 1, from, 3, &octets), CQ_OK);
        assert_int_equal(octets.len, from < 5 ? 3 : from < 7 ? 7 - from : 0);
        assert_memory_equal(octets.data ? octets.data : (const uint8_t *)"", &"abcdefg"[from], octets.len);
    }
    assert_int_equal(shard_read_body(s, 0, ANA, 1, UINT64_MAX, UINT32_MAX, &octets), CQ_OK);
    assert_int_equal(octets.len, 0);
}

static void abandoned_stages_disappear_an_hour_after_their_last_piece(void **state)
{
    struct shard *s = *state;
    assert_int_equal(stage(s, 'a', 0, "abc"), CQ_OK);
    h_later(s, 50 * 60 * SECOND);
    assert_int_equal(stage(s, 'a', 3, "def"), CQ_OK);
    h_later(s, 50 * 60 * SECOND);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_int_equal(h_dead_chunks(s), 0);
    h_later(s, 11 * 60 * SECOND);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_int_equal(h_dead_chunks(s), 2);
    assert_int_equal(append_staged(s, 'a', 6), CQ_E_NOT_FOUND);
}

static void an_account_has_at_most_1024_stages(void **state)
{
    struct shard *s = *state;
    assert_int_equal(stage(s, 'a', 0, "x"), CQ_OK);
    for (int i = 1; i < STATE_STAGES_MAX; i++) {
        struct shard_call more = stage_call('b', 0, "x");
        cq_put_be32(((const Chasqui__Mail__Stage *)more.message)->stage.data, (uint32_t)i);
        assert_int_equal(shard_run(s, &more).rc, CQ_OK);
    }
    /* Too much for now: the same request may come again and act then. */
    struct shard_call call = stage_call('Z', 0, "x");
    call.client = 9;
    call.sequence = 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_OVERLOADED);
    assert_int_equal(stage(s, 'a', 1, "y"), CQ_OK);
    assert_int_equal(append_staged(s, 'a', 2), CQ_OK);
    call = stage_call('Z', 0, "x");
    call.client = 9;
    call.sequence = 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_OK);
}

static void a_command_takes_at_most_4096_pieces_of_stages(void **state)
{
    struct shard *s = *state;
    for (uint32_t over = 0; over < 2; over++) {
        Chasqui__Mail__Append append = W(APPEND);
        Chasqui__Mail__NewMessage wires[2], *list[2] = {&wires[0], &wires[1]};
        uint8_t ids[2][16];
        for (uint32_t m = 0; m < 2; m++) {
            char id = (char)('a' + 2 * over + m);
            uint32_t pieces = STATE_STAGE_PIECES_MAX / 2 + over * m;
            for (uint32_t i = 0; i < pieces; i++)
                assert_int_equal(stage(s, id, i, "x"), CQ_OK);
            chasqui__mail__new_message__init(&wires[m]);
            memset(ids[m], id, 16);
            wires[m].stage = (ProtobufCBinaryData){16, ids[m]};
            wires[m].size = pieces;
        }
        append.mailbox = INBOX;
        append.messages = list;
        append.n_messages = 2;
        assert_int_equal(h_run(s, M(APPEND), &append).rc, over ? CQ_E_LIMIT : CQ_OK);
        assert_int_equal(h_open(s, INBOX)->mailbox->messages, 2);
    }
}

static void staging_stops_early_at_the_quota(void **state)
{
    (void)state;
    Chasqui__Mail__Limits limits = W(LIMITS);
    limits.directory_version = 1;
    limits.quota_bytes = 5;
    struct shard *s = h_shard_with(&limits);
    assert_int_equal(stage(s, 'a', 0, "12345"), CQ_OK);
    assert_int_equal(stage(s, 'a', 5, "6"), CQ_E_OVER_QUOTA);
    assert_int_equal(append_staged(s, 'a', 5), CQ_OK);
    assert_int_equal(stage(s, 'b', 0, "1"), CQ_E_OVER_QUOTA);
    h_finish(s);
}

/* ---- sending ---- */

static enum cq_rc charge(struct shard *s, uint32_t id, uint32_t recipients, int64_t *clears_r)
{
    Chasqui__Mail__ChargeSending message = W(CHARGE_SENDING);
    uint32_t bytes[4] = {id, 0, 0, 0};
    message.recipients = recipients;
    message.charge_id = (ProtobufCBinaryData){sizeof bytes, (uint8_t *)bytes};
    struct machine_outcome got = h_run(s, M(CHARGE_SENDING), &message);
    const Chasqui__Mail__ChargeSendingReply *reply = shard_reply(s, &got, D(charge_sending_reply));
    if (clears_r)
        *clears_r = reply ? reply->clears_at : 0;
    return got.rc;
}

static struct shard *sending_shard(uint32_t messages, uint32_t recipients, uint32_t each)
{
    Chasqui__Mail__Limits limits = W(LIMITS);
    limits.directory_version = 1;
    limits.sending_messages_day = messages;
    limits.sending_recipients_day = recipients;
    limits.recipients_message = each;
    return h_shard_with(&limits);
}

static void sending_counts_are_exact_in_every_24_hours(void **state)
{
    (void)state;
    struct shard *s = sending_shard(3, 0, 0);
    uint64_t start = shard_time(s);
    int64_t clears;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(charge(s, i, 1, NULL), CQ_OK);
        h_later(s, HOUR);
    }
    assert_int_equal(charge(s, 10, 1, &clears), CQ_E_RATE);
    assert_int_equal(clears, (start + DAY) / SECOND + 1);
    h_later(s, start + DAY - 1 - shard_time(s));
    assert_int_equal(charge(s, 11, 1, &clears), CQ_E_RATE);
    h_later(s, 1);
    assert_int_equal(charge(s, 12, 1, NULL), CQ_OK); /* the first one has left */
    assert_int_equal(charge(s, 13, 1, &clears), CQ_E_RATE);
    assert_int_equal(clears, (start + HOUR + DAY) / SECOND + 1);
    h_finish(s);
}

static void recipients_count_and_a_refusal_charges_nothing(void **state)
{
    (void)state;
    struct shard *s = sending_shard(0, 10, 6);
    int64_t clears;
    assert_int_equal(charge(s, 1, 0, NULL), CQ_E_INVALID);
    assert_int_equal(charge(s, 1, 7, NULL), CQ_E_LIMIT);
    assert_int_equal(charge(s, 1, 6, NULL), CQ_OK);
    assert_int_equal(charge(s, 2, 5, &clears), CQ_E_RATE);
    assert_true(clears > 0);
    assert_int_equal(charge(s, 3, 4, NULL), CQ_OK);
    assert_int_equal(charge(s, 4, 1, NULL), CQ_E_RATE);
    h_finish(s);
}

static void charging_one_transaction_twice_charges_once(void **state)
{
    (void)state;
    struct shard *s = sending_shard(2, 0, 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(charge(s, 1, 1, NULL), CQ_OK);
    assert_int_equal(charge(s, 2, 1, NULL), CQ_OK);
    assert_int_equal(charge(s, 3, 1, NULL), CQ_E_RATE);
    assert_int_equal(charge(s, 1, 1, NULL), CQ_OK);
    h_finish(s);
}

static void charges_leave_the_state_when_they_leave_the_window(void **state)
{
    (void)state;
    struct shard *s = sending_shard(0, 0, 0);
    uint64_t records = h_keys(s, STORE_STATE);
    for (uint32_t i = 0; i < 700; i++)
        assert_int_equal(charge(s, i, 1, NULL), CQ_OK);
    h_later(s, 12 * HOUR);
    assert_int_equal(charge(s, 9999, 1, NULL), CQ_OK);
    h_later(s, 12 * HOUR + 2 * SECOND);
    assert_int_equal(h_reclaim(s), CQ_OK);
    h_later(s, DAY);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_in_range(h_keys(s, STORE_STATE), records - 3, records + 1);
    h_finish(s);
}

static void a_charge_that_knows_newer_limits_than_the_shard_is_sent_back(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__ChargeSending message = W(CHARGE_SENDING);
    uint8_t id[16] = {1};
    message.recipients = 1;
    message.charge_id = (ProtobufCBinaryData){sizeof id, id};
    message.directory_version = 1;
    assert_int_equal(h_run(s, M(CHARGE_SENDING), &message).rc, CQ_E_CONFLICT);
    message.directory_version = 0;
    assert_int_equal(h_run(s, M(CHARGE_SENDING), &message).rc, CQ_OK);
    message.charge_id.len = 15;
    assert_int_equal(h_run(s, M(CHARGE_SENDING), &message).rc, CQ_E_INVALID);
}

/* ---- events ---- */

static size_t read_events(struct shard *s, Chasqui__Outbox__Event **events, size_t max)
{
    struct outbox_position at = mail_machine_outbox_cursor(shard_machine(s, 0));
    size_t n = 0;
    struct cq_slice bytes;
    while (n < max && mail_machine_outbox_next(shard_machine(s, 0), at, shard_pool(s), &at, &bytes, NULL) == CQ_OK)
        events[n++] = chasqui__outbox__event__unpack(NULL, bytes.len, bytes.data);
    return n;
}

static void expect_events(struct shard *s, const Chasqui__Outbox__Type *types, size_t count)
{
    Chasqui__Outbox__Event *events[64];
    size_t n = read_events(s, events, 64);
    for (size_t i = 0; i < n && i < count; i++) {
        assert_int_equal(events[i]->type, types[i]);
        assert_int_equal(events[i]->account, ANA);
        assert_string_equal(events[i]->address, "ana@example.test");
        assert_in_range(events[i]->time, SHARD_START_US, shard_time(s));
    }
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++)
        chasqui__outbox__event__free_unpacked(events[i], NULL);
}

static void publish_all(struct shard *s)
{
    Chasqui__Mail__OutboxAdvance advance = W(OUTBOX_ADVANCE);
    advance.to_index = shard_last_index(s);
    advance.to_sub_index = UINT32_MAX;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_OK);
    expect_events(s, NULL, 0);
    uint64_t events, bytes;
    mail_machine_outbox_backlog(shard_machine(s, 0), &events, &bytes);
    assert_true(events == 0 && bytes == 0);
}

#define E(name) CHASQUI__OUTBOX__TYPE__##name

static void each_change_writes_its_events_and_a_refused_one_none(void **state)
{
    struct shard *s = *state;
    uint64_t id;
    expect_events(s,
                  (Chasqui__Outbox__Type[]){E(ACCOUNT_CREATED), E(MAILBOX_CREATED), E(MAILBOX_CREATED),
                                            E(MAILBOX_CREATED), E(MAILBOX_CREATED), E(MAILBOX_CREATED),
                                            E(MAILBOX_CREATED)},
                  7);
    publish_all(s);
    deliver(s, "x", 0, NULL);
    assert_int_equal(keep_key(s, "0123456789abcdef"), CQ_OK);
    deliver(s, "x", 0, "0123456789abcdef");
    deliver(s, "x", 99, NULL);
    expect_events(s, (Chasqui__Outbox__Type[]){E(MESSAGE_ACCEPTED), E(DELIVERY_LOCAL), E(MESSAGE_DUPLICATE_SUPPRESSED)},
                  3);
    publish_all(s);
    assert_int_equal(h_create(s, "a/b", 0, &id), CQ_OK);
    assert_int_equal(h_create(s, "a/b", 0, NULL), CQ_E_EXISTS);
    assert_int_equal(h_rename(s, "a", "c"), CQ_OK);
    assert_int_equal(h_delete(s, id), CQ_OK);
    assert_int_equal(h_flag(s, INBOX, 1, 1, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    expect_events(s,
                  (Chasqui__Outbox__Type[]){E(MAILBOX_CREATED), E(MAILBOX_CREATED), E(MAILBOX_RENAMED),
                                            E(MAILBOX_RENAMED), E(MAILBOX_DELETED), E(MESSAGES_EXPUNGED)},
                  6);
}

static void the_quota_says_once_that_it_is_near_over_and_free_again(void **state)
{
    (void)state;
    Chasqui__Mail__Limits limits = W(LIMITS);
    limits.directory_version = 1;
    limits.quota_bytes = 100;
    struct shard *s = h_shard_with(&limits);
    publish_all(s);
    static const char *const ninety =
        "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = ninety, .flags = 8}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "0123456789"}), CQ_E_OVER_QUOTA);
    expect_events(s, (Chasqui__Outbox__Type[]){E(QUOTA_WARNING), E(QUOTA_EXCEEDED)}, 2);
    publish_all(s);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    expect_events(s, (Chasqui__Outbox__Type[]){E(MESSAGES_EXPUNGED), E(QUOTA_RECOVERED)}, 2);
    h_finish(s);
}

static void a_long_event_text_is_cut_between_characters(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__Deliver message = W(DELIVER);
    Chasqui__Mail__NewMessage wire = W(NEW_MESSAGE);
    Chasqui__Mail__DeliveryEvent event = W(DELIVERY_EVENT);
    Chasqui__Outbox__Event *events[16];
    char text[3001];
    for (int i = 0; i < 1500; i++)
        memcpy(text + 2 * i, "\xc3\xa4", 2);
    text[3000] = '\0';
    event.ehlo = text + 1; /* begins in the middle: byte 1,024 is inside a character too */
    event.recipient = text;
    message.message = &wire;
    message.event = &event;
    publish_all(s);
    assert_int_equal(h_run(s, M(DELIVER), &message).rc, CQ_OK);
    assert_int_equal(read_events(s, events, 16), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strlen(events[i]->delivery->envelope->recipient), 1024);
        assert_int_equal(strlen(events[i]->delivery->envelope->ehlo), 1023);
        chasqui__outbox__event__free_unpacked(events[i], NULL);
    }
}

static void the_outbox_cursor_moves_as_far_as_events_were_removed(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__OutboxAdvance advance = W(OUTBOX_ADVANCE);
    advance.to_index = shard_last_index(s) + 1;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_E_INVALID); /* not written yet */
    advance.to_index = UINT64_MAX;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_E_INVALID);
    advance.to_index = mail_machine_outbox_cursor(shard_machine(s, 0)).index;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_OK);
    struct outbox_position at = {0, 0}, first;
    struct cq_slice event;
    assert_int_equal(mail_machine_outbox_next(shard_machine(s, 0), at, shard_pool(s), &first, &event, NULL), CQ_OK);
    advance.to_index = first.index;
    advance.to_sub_index = first.sub_index + 2;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_OK);
    assert_int_equal(mail_machine_outbox_next(shard_machine(s, 0), at, shard_pool(s), &at, &event, NULL), CQ_OK);
    assert_int_equal(at.sub_index, first.sub_index + 3);
    advance.to_sub_index = first.sub_index; /* never backward */
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_OK);
    assert_int_equal(mail_machine_outbox_cursor(shard_machine(s, 0)).sub_index, first.sub_index + 2);
}

/* ---- reclaim ---- */

static void reclaim_works_in_pieces_of_the_size_it_is_told(void **state)
{
    struct shard *s = *state;
    uint64_t id;
    assert_int_equal(h_create(s, "big", 0, &id), CQ_OK);
    for (int i = 0; i < 50; i++)
        assert_int_equal(h_append(s, id, (struct h_message){.text = "x"}), CQ_OK);
    assert_int_equal(h_delete(s, id), CQ_OK);
    for (int piece = 0; piece < 5; piece++) {
        Chasqui__Mail__Reclaim reclaim = W(RECLAIM);
        reclaim.max_effects = 10;
        struct machine_outcome got = h_group(s, M(RECLAIM), &reclaim);
        const Chasqui__Mail__ReclaimReply *reply = shard_reply(s, &got, D(reclaim_reply));
        assert_int_equal(reply->effects, 10);
        assert_true(reply->more);
    }
    assert_int_equal(h_dead_chunks(s), 50);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_false(mail_machine_reclaim_due(shard_machine(s, 0), shard_time(s)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H_TEST(a_delivery_goes_where_its_use_says_or_into_inbox),
        H_TEST(a_kept_key_absorbs_exactly_one_delivery),
        H_TEST(a_kept_key_lives_five_days_with_and_without_reclaim),
        H_TEST(an_account_keeps_at_most_10000_delivery_keys),
        H_TEST(pieces_come_in_order_without_gaps_and_may_come_again),
        H_TEST(abandoned_stages_disappear_an_hour_after_their_last_piece),
        H_TEST(an_account_has_at_most_1024_stages),
        H_TEST(a_command_takes_at_most_4096_pieces_of_stages),
        cmocka_unit_test(staging_stops_early_at_the_quota),
        cmocka_unit_test(sending_counts_are_exact_in_every_24_hours),
        cmocka_unit_test(recipients_count_and_a_refusal_charges_nothing),
        cmocka_unit_test(charging_one_transaction_twice_charges_once),
        cmocka_unit_test(charges_leave_the_state_when_they_leave_the_window),
        H_TEST(a_charge_that_knows_newer_limits_than_the_shard_is_sent_back),
        H_TEST(each_change_writes_its_events_and_a_refused_one_none),
        cmocka_unit_test(the_quota_says_once_that_it_is_near_over_and_free_again),
        H_TEST(a_long_event_text_is_cut_between_characters),
        H_TEST(the_outbox_cursor_moves_as_far_as_events_were_removed),
        H_TEST(reclaim_works_in_pieces_of_the_size_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
