/* Request ids, stamps, tokens, ownership, accounts: who may act, and how often. */
#include "unit/state/mail_helpers.h"

#include "state/state_limits.h"

static uint32_t inbox_messages(struct shard *s)
{
    return h_mailbox(s, "INBOX")->messages;
}

/* ---- duplicates ---- */

static void a_duplicate_gets_the_first_answer_and_does_nothing(void **state)
{
    struct shard *s = *state;
    struct h_message m = {.text = "once"};
    struct shard_call call = h_append_call(s, INBOX, &m);
    call.client = 9;
    call.sequence = 5;
    call.no_done = true;
    for (int i = 0; i < 3; i++) {
        struct machine_outcome got = shard_run(s, &call);
        assert_int_equal(got.rc, CQ_OK);
        assert_int_equal(got.notice.len > 0, i == 0);
        const Chasqui__Mail__AppendReply *reply = shard_reply(s, &got, D(append_reply));
        assert_int_equal(reply->first_uid, 1);
    }
    assert_int_equal(inbox_messages(s), 1);
    assert_int_equal(h_dead_chunks(s), 2); /* each attempt brought the octets again */
}

static void a_refusal_is_remembered_too(void **state)
{
    struct shard *s = *state;
    struct h_message m = {.text = "x"};
    struct shard_call call = h_append_call(s, 7, &m);
    call.client = 9;
    call.sequence = 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_NO_MAILBOX);
    uint64_t id;
    assert_int_equal(h_create(s, "seven", 0, &id), CQ_OK);
    assert_int_equal(id, 7);
    call = h_append_call(s, 7, &m);
    call.client = 9;
    call.sequence = 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_NO_MAILBOX);
    call.sequence = 2;
    assert_int_equal(shard_run(s, &call).rc, CQ_OK);
}

static void what_was_reported_as_done_never_acts_again(void **state)
{
    struct shard *s = *state;
    struct h_message m = {.text = "x"};
    struct shard_call call = h_append_call(s, INBOX, &m);
    call.client = 9;
    for (uint64_t i = 1; i <= 40; i++) {
        call.sequence = i;
        call.done = i > 30 ? 30 : 0;
        call.no_done = true;
        assert_int_equal(shard_run(s, &call).rc, CQ_OK);
    }
    for (uint64_t i = 1; i <= 40; i++) {
        call.sequence = i;
        call.done = 0;
        call.no_done = true;
        assert_int_equal(shard_run(s, &call).rc, i <= 30 ? CQ_E_STALE : CQ_OK);
    }
    assert_int_equal(inbox_messages(s), 40);
}

static void sequences_may_come_in_any_order(void **state)
{
    struct shard *s = *state;
    struct h_message m = {.text = "x"};
    struct shard_call call = h_append_call(s, INBOX, &m);
    static const uint64_t order[] = {5, 3, 9, 1, 3, 5, 9, 1, 4};
    call.client = 9;
    call.no_done = true;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        call.sequence = order[i];
        assert_int_equal(shard_run(s, &call).rc, CQ_OK);
    }
    assert_int_equal(inbox_messages(s), 5);
}

static void a_sequence_of_zero_or_below_done_is_invalid(void **state)
{
    struct shard *s = *state;
    static const struct {
        uint64_t sequence, done;
        enum cq_rc want;
    } cases[] = {{1, 1, CQ_E_INVALID},
                 {1, UINT64_MAX, CQ_E_INVALID},
                 {5, 6, CQ_E_INVALID},
                 {UINT64_MAX, UINT64_MAX - 1, CQ_OK},
                 {UINT64_MAX, UINT64_MAX, CQ_E_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct h_message m = {.text = "x"};
        struct shard_call call = h_append_call(s, INBOX, &m);
        call.client = 9;
        call.sequence = cases[i].sequence;
        call.done = cases[i].done;
        assert_int_equal(shard_run(s, &call).rc, cases[i].want);
    }
}

static void a_client_has_at_most_1024_results_that_are_not_done(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__ClaimRecent claim = W(CLAIM_RECENT);
    struct shard_call call = {.method = M(CLAIM_RECENT), .account = ANA, .message = &claim.base, .client = 9};
    claim.mailbox = INBOX;
    call.no_done = true;
    for (uint64_t i = 1; i <= STATE_RESULTS_MAX; i++) {
        call.sequence = i;
        assert_int_equal(shard_run(s, &call).rc, CQ_OK);
    }
    call.sequence = STATE_RESULTS_MAX + 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_OVERLOADED);
    call.sequence = 7; /* one of the remembered ones */
    assert_int_equal(shard_run(s, &call).rc, CQ_OK);
    h_later(s, STATE_REQUEST_AGE_US + 2 * SECOND);
    assert_int_equal(h_reclaim(s), CQ_OK);
    call.sequence = STATE_RESULTS_MAX + 1;
    call.done = STATE_RESULTS_MAX;
    assert_int_equal(shard_run(s, &call).rc, CQ_OK);
}

static void clients_are_forgotten_when_no_duplicate_of_theirs_could_act(void **state)
{
    struct shard *s = *state;
    uint64_t records = h_keys(s, STORE_STATE);
    for (int client = 10; client < 250; client++) {
        struct h_message m = {.text = "x", .flags = 8};
        struct shard_call call = h_append_call(s, INBOX, &m);
        call.client = (uint8_t)client;
        assert_int_equal(shard_run(s, &call).rc, CQ_OK);
    }
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    h_later(s, STATE_REQUEST_AGE_US + 3 * SECOND);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_in_range(h_keys(s, STORE_STATE), records - 3, records + 8); /* vanished, an event, no client */
}

/* ---- stamps ---- */

static void stamps_are_needed_and_live_15_minutes(void **state)
{
    struct shard *s = *state;
    uint64_t start = shard_time(s);
    h_later(s, 2 * STATE_REQUEST_AGE_US);
    uint64_t now = shard_time(s);
    const struct {
        uint64_t stamp;
        enum cq_rc want;
    } cases[] = {
        {0, CQ_E_STALE},       {1, CQ_E_STALE},
        {start, CQ_E_STALE},   {now - STATE_REQUEST_AGE_US - 1, CQ_E_STALE},
        {now + 1, CQ_E_STALE}, {UINT64_MAX, CQ_E_STALE},
        {now, CQ_OK},          {now - STATE_REQUEST_AGE_US, CQ_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct h_message m = {.text = "x"};
        struct shard_call call = h_append_call(s, INBOX, &m);
        call.client = 9;
        call.stamp = cases[i].stamp;
        call.no_stamp = true;
        struct machine_outcome got = shard_run(s, &call);
        assert_int_equal(got.rc, cases[i].want);
        assert_int_equal(shard_answer(s, &got)->entry_time, now); /* the next stamp */
    }
    assert_int_equal(inbox_messages(s), 2);
}

static void entry_times_never_fall_whatever_an_entry_says(void **state)
{
    struct shard *s = *state;
    uint64_t now = shard_time(s);
    static const uint64_t times[] = {0, 1, ENTRY_TIME_END, UINT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct cq_buf bytes;
        struct entry entry = {.version = 1, .method = M(DIGEST_MARK), .time = times[i]};
        cq_buf_init(&bytes, ENTRY_MAX);
        assert_int_equal(entry_encode(&entry, &bytes, NULL), CQ_OK);
        assert_int_equal(shard_run_bytes(s, cq_buf_slice(&bytes)).rc, times[i] < ENTRY_TIME_END ? CQ_OK : CQ_E_INVALID);
        assert_int_equal(mail_machine_time(shard_machine(s, 0)), now);
        cq_buf_fini(&bytes);
    }
}

/* ---- tokens ---- */

static void a_session_that_has_seen_more_is_refused(void **state)
{
    struct shard *s = *state;
    uint64_t modseq = h_account(s)->modseq, incarnation = h_account(s)->incarnation;
    const struct {
        uint64_t modseq, incarnation;
        enum cq_rc want;
    } cases[] = {{modseq, incarnation, CQ_OK},
                 {modseq + 1, incarnation, CQ_E_BEHIND},
                 {UINT64_MAX, incarnation, CQ_E_BEHIND},
                 {0, incarnation + 1, CQ_E_BEHIND},
                 {UINT64_MAX, 0, CQ_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Chasqui__Mail__SetSubscribed set = W(SET_SUBSCRIBED);
        set.name = (char *)"Sent";
        set.subscribed = true;
        struct shard_call call = {.method = M(SET_SUBSCRIBED),
                                  .account = ANA,
                                  .message = &set.base,
                                  .min_modseq = cases[i].modseq,
                                  .incarnation = cases[i].incarnation};
        assert_int_equal(shard_run(s, &call).rc, cases[i].want);
        uint8_t bytes[64];
        Chasqui__Mail__Call wire = W(CALL);
        wire.min_modseq = cases[i].modseq;
        wire.incarnation = cases[i].incarnation;
        struct machine_read read = {M(GET_ACCOUNT), ANA, cq_slice_of(bytes, chasqui__mail__call__pack(&wire, bytes))};
        struct cq_buf answer, raw;
        cq_buf_init(&answer, 4096);
        cq_buf_init(&raw, 4096);
        assert_int_equal(
            shard_machine(s, 0)->ops->read(shard_machine(s, 0), &read, shard_pool(s), &answer, &raw, shard_err(s)),
            cases[i].want);
        assert_true(answer.len > 0);
        cq_buf_fini(&answer);
        cq_buf_fini(&raw);
    }
}

/* ---- ownership and accounts ---- */

static enum cq_rc create(struct shard *s, uint64_t account)
{
    Chasqui__Mail__CreateAccount message = W(CREATE_ACCOUNT);
    message.address = (char *)"x@example.test";
    return shard_run(s, &(struct shard_call){.method = M(CREATE_ACCOUNT), .account = account, .message = &message.base})
        .rc;
}

static enum cq_rc own(struct shard *s, uint32_t first, uint32_t last, uint64_t epoch)
{
    Chasqui__Mail__OwnSlots message = W(OWN_SLOTS);
    Chasqui__Mail__OwnSlots__Range range = CHASQUI__MAIL__OWN_SLOTS__RANGE__INIT, *ranges = &range;
    range.first = first;
    range.last = last;
    message.n_ranges = 1;
    message.ranges = &ranges;
    message.map_epoch = epoch;
    return h_group(s, M(OWN_SLOTS), &message).rc;
}

static enum cq_rc get_account(struct shard *s, uint64_t account)
{
    Chasqui__Mail__Empty empty = W(EMPTY);
    const void *reply;
    return shard_read(s, 0, M(GET_ACCOUNT), account, &empty.base, D(account_reply), &reply, NULL);
}

static void only_accounts_of_owned_slots_can_be_created_or_asked(void **state)
{
    (void)state;
    struct shard *s = shard_new(1);
    static const struct {
        uint64_t account;
        enum cq_rc want;
    } cases[] = {
        {UINT64_C(0x0fff000000000001), CQ_E_WRONG_OWNER},
        {UINT64_C(0x1000000000000000), CQ_OK},
        {UINT64_C(0x1fffffffffffffff), CQ_OK},
        {UINT64_C(0x2000000000000000), CQ_E_WRONG_OWNER},
        {UINT64_C(0xffff000000000001), CQ_E_WRONG_OWNER},
        {1, CQ_E_WRONG_OWNER},
    };
    assert_int_equal(create(s, ANA), CQ_E_WRONG_OWNER);
    assert_int_equal(own(s, 0x1000, 0x1fff, 4), CQ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(get_account(s, cases[i].account), cases[i].want == CQ_OK ? CQ_E_NO_ACCOUNT : cases[i].want);
        enum cq_rc rc = create(s, cases[i].account);
        if (rc == CQ_E_STALE)
            rc = create(s, cases[i].account);
        assert_int_equal(rc, cases[i].want);
        assert_int_equal(get_account(s, cases[i].account), cases[i].want);
    }
    /* The slots go: the account is no longer answered for, and comes back with them. */
    assert_int_equal(own(s, 0x1800, 0x1fff, 5), CQ_OK);
    assert_int_equal(get_account(s, UINT64_C(0x1000000000000000)), CQ_E_WRONG_OWNER);
    assert_int_equal(own(s, 0x1000, 0x1fff, 4), CQ_E_CONFLICT);
    assert_int_equal(own(s, 0x1000, 0x1fff, 6), CQ_OK);
    assert_int_equal(get_account(s, UINT64_C(0x1000000000000000)), CQ_OK);
    shard_write(s, 0, true);
    shard_crash(s, 0, 0);
    assert_int_equal(get_account(s, UINT64_C(0x1000000000000000)), CQ_OK);
    assert_int_equal(get_account(s, UINT64_C(0x2000000000000000)), CQ_E_WRONG_OWNER);
    h_finish(s);
}

static void slots_out_of_range_are_refused(void **state)
{
    struct shard *s = *state;
    assert_int_equal(own(s, 5, 4, 9), CQ_E_INVALID);
    assert_int_equal(own(s, 0, 65536, 9), CQ_E_INVALID);
    assert_int_equal(own(s, UINT32_MAX, UINT32_MAX, 9), CQ_E_INVALID);
    assert_int_equal(get_account(s, ANA), CQ_OK);
}

static void no_command_brings_an_account_into_being_but_create(void **state)
{
    struct shard *s = *state;
    uint64_t records = h_keys(s, STORE_STATE);
    for (uint32_t method = M(DELETE_ACCOUNT); method < M(OWN_SLOTS); method++) {
        Chasqui__Mail__Empty empty = W(EMPTY);
        if (!mail_method_find(method))
            continue;
        struct shard_call call = {.method = method, .account = ANA + 1, .message = &empty.base};
        enum cq_rc rc = shard_run(s, &call).rc;
        assert_true(rc == CQ_E_NO_ACCOUNT ||
                    rc == CQ_E_CORRUPT); /* CORRUPT: a STAGE without its piece, never proposed */
    }
    assert_int_equal(h_keys(s, STORE_STATE), records);
}

static void creating_twice_is_one_account(void **state)
{
    struct shard *s = *state;
    uint64_t incarnation = h_account(s)->incarnation;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    assert_int_equal(create(s, ANA), CQ_OK);
    assert_int_equal(h_account(s)->incarnation, incarnation);
    assert_int_equal(inbox_messages(s), 1);
}

static void a_deleted_account_is_gone_for_ever_and_its_records_later(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__DeleteAccount deletion = W(DELETE_ACCOUNT);
    for (int i = 0; i < 20; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    assert_int_equal(h_copy(s, false, INBOX, 2, 1, 20), CQ_OK);
    struct machine_outcome got = h_run(s, M(DELETE_ACCOUNT), &deletion);
    assert_int_equal(got.rc, CQ_OK);
    assert_true(got.notice.len > 0);
    assert_int_equal(h_run(s, M(DELETE_ACCOUNT), &deletion).rc, CQ_OK);
    assert_int_equal(get_account(s, ANA), CQ_E_NO_ACCOUNT);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_E_NO_ACCOUNT);
    assert_int_equal(create(s, ANA), CQ_E_CONFLICT);
    assert_int_equal(h_reclaim(s), CQ_OK);
    assert_int_equal(create(s, ANA), CQ_E_CONFLICT);
    assert_int_equal(h_run(s, M(DELETE_ACCOUNT), &deletion).rc, CQ_OK);
    assert_int_equal(h_dead_chunks(s), 21); /* 20 bodies, and the octets of the refused APPEND */
    struct outbox_position at = {shard_last_index(s) - 1, 0};
    Chasqui__Mail__OutboxAdvance advance = W(OUTBOX_ADVANCE);
    advance.to_index = at.index;
    assert_int_equal(h_group(s, M(OUTBOX_ADVANCE), &advance).rc, CQ_OK);
    /* The group, its slots, the tombstone record, and the client's place in the expiry queue. */
    assert_in_range(h_keys(s, STORE_STATE), 3, 4);
}

static void group_commands_name_no_account_and_account_commands_one(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__Reclaim reclaim = W(RECLAIM);
    Chasqui__Mail__SetSubscribed set = W(SET_SUBSCRIBED);
    assert_int_equal(h_run(s, M(RECLAIM), &reclaim).rc, CQ_E_INVALID);
    assert_int_equal(h_group(s, M(SET_SUBSCRIBED), &set).rc, CQ_E_INVALID);
    Chasqui__Mail__Empty empty = W(EMPTY);
    const void *reply;
    assert_int_equal(shard_read(s, 0, M(GET_ACCOUNT), 0, &empty.base, D(account_reply), &reply, NULL), CQ_E_INVALID);
    assert_int_equal(shard_read(s, 0, M(APPEND), ANA, &empty.base, D(account_reply), &reply, NULL), CQ_E_UNSUPPORTED);
    assert_int_equal(shard_read(s, 0, 149, ANA, &empty.base, D(account_reply), &reply, NULL), CQ_E_UNSUPPORTED);
}

static void unknown_versions_and_methods_have_a_deterministic_answer(void **state)
{
    struct shard *s = *state;
    static const struct {
        uint16_t version, method;
        enum cq_rc want;
    } cases[] = {
        {0, 43, CQ_E_VERSION},     {2, 43, CQ_E_VERSION},      {65535, 43, CQ_E_VERSION},    {1, 0, CQ_E_UNSUPPORTED},
        {1, 99, CQ_E_UNSUPPORTED}, {1, 100, CQ_E_UNSUPPORTED}, {1, 65535, CQ_E_UNSUPPORTED}, {1, 43, CQ_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cq_buf bytes;
        struct entry entry = {.version = cases[i].version, .method = cases[i].method, .time = shard_time(s)};
        cq_buf_init(&bytes, ENTRY_MAX);
        assert_int_equal(entry_encode(&entry, &bytes, NULL), CQ_OK);
        uint64_t index = shard_last_index(s);
        assert_int_equal(shard_run_bytes(s, cq_buf_slice(&bytes)).rc, cases[i].want);
        assert_int_equal(shard_machine(s, 0)->ops->applied(shard_machine(s, 0)), index + 1);
        cq_buf_fini(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H_TEST(a_duplicate_gets_the_first_answer_and_does_nothing),
        H_TEST(a_refusal_is_remembered_too),
        H_TEST(what_was_reported_as_done_never_acts_again),
        H_TEST(sequences_may_come_in_any_order),
        H_TEST(a_sequence_of_zero_or_below_done_is_invalid),
        H_TEST(a_client_has_at_most_1024_results_that_are_not_done),
        H_TEST(clients_are_forgotten_when_no_duplicate_of_theirs_could_act),
        H_TEST(stamps_are_needed_and_live_15_minutes),
        H_TEST(entry_times_never_fall_whatever_an_entry_says),
        H_TEST(a_session_that_has_seen_more_is_refused),
        cmocka_unit_test(only_accounts_of_owned_slots_can_be_created_or_asked),
        H_TEST(slots_out_of_range_are_refused),
        H_TEST(no_command_brings_an_account_into_being_but_create),
        H_TEST(creating_twice_is_one_account),
        H_TEST(a_deleted_account_is_gone_for_ever_and_its_records_later),
        H_TEST(group_commands_name_no_account_and_account_commands_one),
        H_TEST(unknown_versions_and_methods_have_a_deterministic_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
