/* APPEND, STORE, COPY, MOVE, EXPUNGE, CLAIM_RECENT, quota: normal, at the limit, one over, empty, hostile. */
#include "unit/state/mail_helpers.h"

#include "base/cq_hash.h"
#include "state/records.h"
#include "state/state_limits.h"

/* ---- append ---- */

struct many {
    Chasqui__Mail__Append append;
    Chasqui__Mail__NewMessage *list[ENTRY_CHUNKS_MAX + 1];
    Chasqui__Mail__NewMessage message;
};

/* The same small message n times. */
static struct machine_outcome append_many(struct shard *s, uint64_t mailbox, size_t n)
{
    static struct many many;
    static uint8_t octets[ENTRY_CHUNKS_MAX + 1];
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(octets, 1));
    chasqui__mail__append__init(&many.append);
    chasqui__mail__new_message__init(&many.message);
    many.message.size = 1;
    many.message.body_hash_low = hash.low;
    many.message.body_hash_high = hash.high;
    for (size_t i = 0; i < n; i++)
        many.list[i] = &many.message;
    many.append.mailbox = mailbox;
    many.append.messages = many.list;
    many.append.n_messages = n;
    return shard_run(
        s, &(struct shard_call){
               .method = M(APPEND), .account = ANA, .message = &many.append.base, .raw = cq_slice_of(octets, n)});
}

static void one_command_appends_up_to_5000_messages(void **state)
{
    struct shard *s = *state;
    assert_int_equal(append_many(s, INBOX, STATE_EFFECTS_MAX).rc, CQ_OK);
    assert_int_equal(append_many(s, INBOX, STATE_EFFECTS_MAX + 1).rc, CQ_E_LIMIT);
    assert_int_equal(append_many(s, INBOX, 0).rc, CQ_E_INVALID);
    assert_int_equal(h_mailbox(s, "INBOX")->messages, STATE_EFFECTS_MAX);
    assert_int_equal(uidset_size(&(struct uidset){0}), 0);
    assert_int_equal(h_open(s, INBOX)->uids->n_ranges, 2);
}

static void an_append_is_all_or_nothing(void **state)
{
    struct shard *s = *state;
    struct h_message m = {.text = "fine", .keyword = (char *)"new keyword(bad)"};
    uint64_t before = h_account(s)->modseq, records = h_keys(s, STORE_STATE);
    assert_int_equal(h_append(s, INBOX, m), CQ_E_INVALID);
    assert_int_equal(h_account(s)->modseq, before);
    assert_int_equal(h_mailbox(s, "INBOX")->uidnext, 1);
    /* Its remembered result is in the place of the one that is done. */
    assert_int_equal(h_keys(s, STORE_STATE), records);
    assert_int_equal(h_dead_chunks(s), 1); /* the octets came with the entry and nothing names them */
}

static void a_refused_append_leaves_no_trace_in_an_opened_mailbox(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    assert_int_equal(h_open(s, INBOX)->uids->n_ranges, 2); /* the UID set is in memory now */
    struct h_message m = {.text = "y", .keyword = (char *)"bad keyword"};
    struct shard_call call = h_append_call(s, INBOX, &m);
    Chasqui__Mail__Append *append = (Chasqui__Mail__Append *)(uintptr_t)call.message;
    Chasqui__Mail__NewMessage fine = W(NEW_MESSAGE), *list[] = {&fine, append->messages[0]};
    append->messages = list;
    append->n_messages = 2;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_INVALID);
    const Chasqui__Mail__OpenMailboxReply *open = h_open(s, INBOX);
    assert_int_equal(open->mailbox->messages, 1);
    assert_int_equal(open->uids->ranges[1], 1);
}

static void hostile_appends_are_refused(void **state)
{
    struct shard *s = *state;
    static const struct {
        uint32_t size, flags;
        uint64_t mailbox;
        const char *keyword;
        enum cq_rc want;
    } cases[] = {
        {5, 0, INBOX, NULL, CQ_OK},
        {5, 31, INBOX, "$Forwarded", CQ_OK},
        {5, 32, INBOX, NULL, CQ_E_INVALID},
        {5, UINT32_MAX, INBOX, NULL, CQ_E_INVALID},
        {5, 0, 0, NULL, CQ_E_NO_MAILBOX},
        {5, 0, 99, NULL, CQ_E_NO_MAILBOX},
        {5, 0, INBOX, "", CQ_E_INVALID},
        {5, 0, INBOX, "a b", CQ_E_INVALID},
        {5, 0, INBOX, "\\Seen", CQ_E_INVALID},
        {5, 0, INBOX, "k\xc3\xa4", CQ_E_INVALID},
        {5, 0, INBOX, "a]", CQ_E_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct h_message m = {"octet", cases[i].flags, (char *)(uintptr_t)cases[i].keyword};
        if (h_append(s, cases[i].mailbox, m) != cases[i].want)
            fail_msg("case %zu", i);
    }
}

static void sizes_and_hashes_must_be_those_of_the_octets(void **state)
{
    struct shard *s = *state;
    struct h_message m = {.text = "octets"};
    struct shard_call call = h_append_call(s, INBOX, &m);
    Chasqui__Mail__NewMessage *wire = ((Chasqui__Mail__Append *)(uintptr_t)call.message)->messages[0];
    wire->size = 7;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_PROTO);
    wire->size = 5;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_CORRUPT);
    wire->size = 6;
    wire->body_hash_low ^= 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_CORRUPT);
    wire->body_hash_low ^= 1;
    assert_int_equal(shard_run(s, &call).rc, CQ_OK);
}

/* What mail_command_chunks would never let through, as an entry: apply must stand on its own. */
static void an_entry_whose_chunks_do_not_match_its_command_is_refused(void **state)
{
    struct shard *s = *state;
    struct entry_chunk chunks[2] = {{5, {1, 2}}, {6, {3, 4}}};
    static const struct {
        uint32_t size;
        uint64_t low, high;
        size_t chunks;
        enum cq_rc want;
    } cases[] = {
        {5, 1, 2, 1, CQ_OK},        {5, 1, 2, 0, CQ_E_INVALID}, {5, 1, 3, 1, CQ_E_INVALID},
        {4, 1, 2, 1, CQ_E_INVALID}, {6, 3, 4, 2, CQ_E_INVALID}, {0, 0, 0, 0, CQ_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Chasqui__Mail__Append append = W(APPEND);
        Chasqui__Mail__NewMessage message = W(NEW_MESSAGE), *list = &message;
        uint8_t body[256];
        struct cq_buf bytes;
        message.size = cases[i].size;
        message.body_hash_low = cases[i].low;
        message.body_hash_high = cases[i].high;
        append.mailbox = INBOX;
        append.n_messages = 1;
        append.messages = &list;
        struct entry entry = {.version = 1,
                              .method = M(APPEND),
                              .account = ANA,
                              .time = shard_time(s),
                              .sequence = 100 + i,
                              .stamp = shard_time(s),
                              .chunks = chunks,
                              .chunk_count = cases[i].chunks,
                              .body = cq_slice_of(body, chasqui__mail__append__pack(&append, body))};
        cq_buf_init(&bytes, ENTRY_MAX);
        assert_int_equal(entry_encode(&entry, &bytes, NULL), CQ_OK);
        assert_int_equal(shard_run_bytes(s, cq_buf_slice(&bytes)).rc, cases[i].want);
        cq_buf_fini(&bytes);
    }
    assert_int_equal(h_dead_chunks(s), 4);
}

static void an_inline_body_has_at_most_512_kibibytes_and_a_summary_too(void **state)
{
    struct shard *s = *state;
    static uint8_t octets[ENTRY_CHUNK_MAX + 1];
    struct h_message m = {.text = ""};
    struct shard_call call = h_append_call(s, INBOX, &m);
    Chasqui__Mail__NewMessage *wire = ((Chasqui__Mail__Append *)(uintptr_t)call.message)->messages[0];
    for (uint32_t over = 0; over < 2; over++) {
        call.raw = cq_slice_of(octets, ENTRY_CHUNK_MAX + over);
        struct cq_hash128 hash = cq_xxh3_128(call.raw);
        wire->size = (uint32_t)call.raw.len;
        wire->body_hash_low = hash.low;
        wire->body_hash_high = hash.high;
        wire->summary = (ProtobufCBinaryData){STATE_SUMMARY_MAX, octets};
        assert_int_equal(shard_run(s, &call).rc, over ? CQ_E_TOO_BIG : CQ_OK);
    }
    call.raw = CQ_SLICE_NONE;
    wire->size = 0;
    wire->summary.len++;
    assert_int_equal(shard_run(s, &call).rc, CQ_E_TOO_BIG);
}

/* ---- keywords ---- */

static void a_mailbox_has_at_most_256_keywords_in_any_case_once(void **state)
{
    struct shard *s = *state;
    char keyword[KEYWORD_LENGTH_MAX + 2];
    for (int i = 0; i < KEYWORDS_MAX; i++) {
        snprintf(keyword, sizeof keyword, "k%d", i);
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .keyword = keyword}), CQ_OK);
    }
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .keyword = (char *)"more"}), CQ_E_LIMIT);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .keyword = (char *)"K255"}), CQ_OK);
    const Chasqui__Mail__OpenMailboxReply *open = h_open(s, INBOX);
    assert_int_equal(open->mailbox->n_keywords, KEYWORDS_MAX);
    assert_string_equal(open->mailbox->keywords[255], "k255");
    struct fetch_record record;
    assert_true(h_fetch(s, INBOX, KEYWORDS_MAX + 1, &record));
    assert_true(fetch_record_has_keyword(&record, 255));
    /* The destination of a copy has its own table. */
    assert_int_equal(h_copy(s, false, INBOX, 2, 200, 200), CQ_OK);
    assert_true(h_fetch(s, 2, 1, &record));
    assert_true(fetch_record_has_keyword(&record, 0));

    memset(keyword, 'k', sizeof keyword);
    keyword[KEYWORD_LENGTH_MAX] = '\0';
    assert_int_equal(h_append(s, 3, (struct h_message){.text = "x", .keyword = keyword}), CQ_OK);
    keyword[KEYWORD_LENGTH_MAX] = 'k';
    keyword[KEYWORD_LENGTH_MAX + 1] = '\0';
    assert_int_equal(h_append(s, 3, (struct h_message){.text = "x", .keyword = keyword}), CQ_E_INVALID);
}

static void a_keyword_that_no_message_gets_is_not_added(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__Store store = W(STORE);
    char *keywords[] = {(char *)"ghost"};
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    store.mailbox = INBOX;
    store.keywords = keywords;
    store.n_keywords = 1;
    store.mode = CHASQUI__MAIL__STORE__MODE__ADD;
    store.uids = h_set(7, 9);
    assert_int_equal(h_run(s, M(STORE), &store).rc, CQ_OK);
    store.uids = h_set(1, 1);
    store.mode = CHASQUI__MAIL__STORE__MODE__REMOVE;
    assert_int_equal(h_run(s, M(STORE), &store).rc, CQ_OK);
    assert_int_equal(h_open(s, INBOX)->mailbox->n_keywords, 0);
    store.mode = CHASQUI__MAIL__STORE__MODE__REPLACE;
    assert_int_equal(h_run(s, M(STORE), &store).rc, CQ_OK);
    assert_int_equal(h_open(s, INBOX)->mailbox->n_keywords, 1);
}

/* ---- store ---- */

static void a_store_that_changes_nothing_takes_no_modseq(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .flags = 1}), CQ_OK);
    uint64_t before = h_account(s)->modseq;
    assert_int_equal(h_flag(s, INBOX, 1, 1, 1, 1), CQ_OK);   /* has it already */
    assert_int_equal(h_flag(s, INBOX, 2, 900, 1, 4), CQ_OK); /* nobody there */
    assert_int_equal(h_flag(s, INBOX, 1, 1, 2, 2), CQ_OK);   /* does not have it */
    assert_int_equal(h_account(s)->modseq, before);
    assert_int_equal(h_flag(s, INBOX, 1, 1, 0, 0), CQ_OK);
    assert_int_equal(h_account(s)->modseq, before + 1);
    assert_int_equal(h_mailbox(s, "INBOX")->unseen, 1);
}

static void unchanged_since_lets_exactly_one_of_two_writers_win(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__Store store = W(STORE);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    store.mailbox = INBOX;
    store.uids = h_set(1, 5);
    store.mode = CHASQUI__MAIL__STORE__MODE__ADD;
    store.has_unchanged_since = true;
    store.unchanged_since = h_account(s)->modseq;
    store.flags = 1;
    struct machine_outcome first = h_run(s, M(STORE), &store);
    const Chasqui__Mail__StoreReply *reply = shard_reply(s, &first, D(store_reply));
    assert_int_equal(reply->modified->n_ranges, 0);
    assert_int_equal(reply->modseq, store.unchanged_since + 1);
    store.flags = 2;
    struct machine_outcome second = h_run(s, M(STORE), &store);
    reply = shard_reply(s, &second, D(store_reply));
    assert_int_equal(reply->modified->n_ranges, 2);
    assert_int_equal(reply->modified->ranges[0], 1);
    assert_int_equal(reply->modified->ranges[1], 1);
    assert_int_equal(reply->modseq, 0);
}

static void stores_of_more_than_5000_messages_are_refused_whole(void **state)
{
    struct shard *s = *state;
    assert_int_equal(append_many(s, INBOX, STATE_EFFECTS_MAX).rc, CQ_OK);
    assert_int_equal(h_flag(s, INBOX, 1, UINT32_MAX, 1, 8), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    uint64_t before = h_account(s)->modseq;
    assert_int_equal(h_flag(s, INBOX, 1, UINT32_MAX, 1, 1), CQ_E_LIMIT);
    assert_int_equal(h_flag(s, INBOX, 5001, 5001, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_E_LIMIT);
    assert_int_equal(h_account(s)->modseq, before + 1);
    assert_int_equal(h_copy(s, false, INBOX, 2, 2, UINT32_MAX), CQ_OK);
    Chasqui__Mail__Expunge expunge = W(EXPUNGE);
    expunge.mailbox = INBOX;
    expunge.has_uids = true;
    expunge.uids = h_set(1, 5000);
    assert_int_equal(h_run(s, M(EXPUNGE), &expunge).rc, CQ_OK);
    assert_int_equal(h_mailbox(s, "INBOX")->messages, 1);
}

static void uid_sets_that_are_not_ascending_are_refused(void **state)
{
    struct shard *s = *state;
    static uint32_t bad[][4] = {{0, 1}, {2, 1}, {1, 2, 2, 3}, {5, 6, 1, 2}, {1, 2, 3, 4}};
    static const size_t counts[] = {2, 2, 4, 4, 3};
    for (size_t i = 0; i < 5; i++) {
        Chasqui__Mail__UidSet set = W(UID_SET);
        set.ranges = bad[i];
        set.n_ranges = counts[i];
        Chasqui__Mail__Store store = W(STORE);
        store.mailbox = INBOX;
        store.uids = &set;
        assert_int_equal(h_run(s, M(STORE), &store).rc, CQ_E_INVALID);
        Chasqui__Mail__Copy copy = W(COPY);
        copy.from = copy.to = INBOX;
        copy.uids = &set;
        assert_int_equal(h_run(s, M(COPY), &copy).rc, CQ_E_INVALID);
        assert_int_equal(h_run(s, M(MOVE), &copy).rc, CQ_E_INVALID);
        Chasqui__Mail__Expunge expunge = W(EXPUNGE);
        expunge.mailbox = INBOX;
        expunge.has_uids = true;
        expunge.uids = &set;
        assert_int_equal(h_run(s, M(EXPUNGE), &expunge).rc, CQ_E_INVALID);
    }
}

/* ---- copy, move, expunge ---- */

static void copies_share_a_body_until_the_last_one_goes(void **state)
{
    struct shard *s = *state;
    struct cq_slice octets;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "shared"}), CQ_OK);
    assert_int_equal(h_copy(s, false, INBOX, 2, 1, 1), CQ_OK);
    assert_int_equal(h_copy(s, false, INBOX, INBOX, 1, 1), CQ_OK);
    assert_int_equal(h_account(s)->used_bytes, 18); /* a copy counts */
    assert_int_equal(h_flag(s, INBOX, 1, 9, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    assert_int_equal(h_dead_chunks(s), 0);
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 100, &octets), CQ_OK);
    assert_slice(octets, "shared");
    assert_int_equal(h_flag(s, 2, 1, 1, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, 2), CQ_OK);
    assert_int_equal(h_dead_chunks(s), 1);
    assert_int_equal(shard_read_body(s, 0, ANA, 1, 0, 100, &octets), CQ_E_NOT_FOUND);
    assert_int_equal(h_account(s)->used_bytes, 0);
}

static void a_move_takes_no_quota_and_leaves_a_vanished_uid(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "123"}), CQ_OK);
    uint64_t since = h_account(s)->modseq;
    assert_int_equal(h_copy(s, true, INBOX, 2, 1, 1), CQ_OK);
    assert_int_equal(h_account(s)->used_bytes, 3);
    assert_int_equal(h_changes(s, INBOX, since, 0, NULL)->vanished->n_ranges, 2);
    assert_int_equal(h_changes(s, 2, since, 0, NULL)->records, 1);
    /* Moved already: OK, and nothing happens. */
    assert_int_equal(h_copy(s, true, INBOX, 2, 1, 1), CQ_OK);
    assert_int_equal(h_account(s)->modseq, since + 1);
}

static void a_move_to_the_same_mailbox_gives_new_uids(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "one"}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "two"}), CQ_OK);
    assert_int_equal(h_copy(s, true, INBOX, INBOX, 1, 2), CQ_OK);
    const Chasqui__Mail__OpenMailboxReply *open = h_open(s, INBOX);
    assert_int_equal(open->uids->ranges[0], 3);
    assert_int_equal(open->uids->ranges[1], 4);
    assert_int_equal(open->mailbox->messages, 2);
}

static void expunge_takes_only_deleted_messages_and_only_the_named_ones(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__Expunge expunge = W(EXPUNGE);
    for (int i = 0; i < 6; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .flags = i % 2 ? 8 : 0}), CQ_OK);
    expunge.mailbox = INBOX;
    expunge.has_uids = true;
    expunge.uids = h_set(1, 3);
    struct machine_outcome got = h_run(s, M(EXPUNGE), &expunge);
    const Chasqui__Mail__ExpungeReply *reply = shard_reply(s, &got, D(expunge_reply));
    assert_int_equal(reply->expunged->n_ranges, 2);
    assert_int_equal(reply->expunged->ranges[0], 2);
    expunge.uids = NULL; /* named none */
    got = h_run(s, M(EXPUNGE), &expunge);
    reply = shard_reply(s, &got, D(expunge_reply));
    assert_int_equal(reply->modseq, 0);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    assert_int_equal(h_mailbox(s, "INBOX")->messages, 3);
    assert_int_equal(h_mailbox(s, "INBOX")->deleted, 0);
    assert_int_equal(h_expunge(s, 99), CQ_E_NO_MAILBOX);
}

static void the_newest_uid_is_not_used_again_after_expunge_and_restart(void **state)
{
    struct shard *s = *state;
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x", .flags = 8}), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    shard_write(s, 0, true);
    shard_crash(s, 0, 0);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "y"}), CQ_OK);
    assert_int_equal(h_open(s, INBOX)->uids->ranges[0], 2);
}

/* ---- recent ---- */

static void recent_messages_belong_to_the_first_who_claims_them(void **state)
{
    struct shard *s = *state;
    Chasqui__Mail__ClaimRecent claim = W(CLAIM_RECENT);
    claim.mailbox = INBOX;
    for (int i = 0; i < 3; i++)
        assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_OK);
    static const uint32_t want[][2] = {{1, 4}, {4, 4}};
    for (int i = 0; i < 2; i++) {
        uint64_t highest = h_mailbox(s, "INBOX")->highest_modseq;
        struct machine_outcome got = h_run(s, M(CLAIM_RECENT), &claim);
        const Chasqui__Mail__ClaimRecentReply *reply = shard_reply(s, &got, D(claim_recent_reply));
        assert_int_equal(reply->recent_from, want[i][0]);
        assert_int_equal(reply->recent_to, want[i][1]);
        assert_int_equal(h_mailbox(s, "INBOX")->highest_modseq, highest);
    }
    claim.mailbox = 99;
    assert_int_equal(h_run(s, M(CLAIM_RECENT), &claim).rc, CQ_E_NO_MAILBOX);
}

/* ---- quota ---- */

static void quota_is_exact_to_the_byte_and_to_the_message(void **state)
{
    (void)state;
    Chasqui__Mail__Limits limits = W(LIMITS);
    limits.directory_version = 5;
    limits.quota_bytes = 20;
    limits.quota_messages = 4;
    struct shard *s = h_shard_with(&limits);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "0123456789"}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "0123456789A"}), CQ_E_OVER_QUOTA);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "0123456789"}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = "x"}), CQ_E_OVER_QUOTA);
    assert_int_equal(h_copy(s, false, INBOX, 2, 1, 1), CQ_E_OVER_QUOTA);
    assert_int_equal(h_copy(s, true, INBOX, 2, 1, 1), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = ""}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = ""}), CQ_OK);
    assert_int_equal(h_append(s, INBOX, (struct h_message){.text = ""}), CQ_E_OVER_QUOTA);
    assert_int_equal(h_account(s)->used_messages, 4);
    h_finish(s);
}

static void limits_of_an_older_directory_version_change_nothing(void **state)
{
    struct shard *s = *state;
    static const struct {
        uint64_t version, quota, want;
    } cases[] = {{10, 100, 100}, {9, 50, 100}, {10, 60, 100}, {11, 70, 70}, {UINT64_MAX, 5, 5}, {0, 0, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Chasqui__Mail__SetLimits set = W(SET_LIMITS);
        Chasqui__Mail__Limits limits = W(LIMITS);
        limits.directory_version = cases[i].version;
        limits.quota_bytes = cases[i].quota;
        set.limits = &limits;
        assert_int_equal(h_run(s, M(SET_LIMITS), &set).rc, CQ_OK);
        assert_int_equal(h_account(s)->limits->quota_bytes, cases[i].want);
    }
    Chasqui__Mail__SetLimits none = W(SET_LIMITS);
    assert_int_equal(h_run(s, M(SET_LIMITS), &none).rc, CQ_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H_TEST(one_command_appends_up_to_5000_messages),
        H_TEST(an_append_is_all_or_nothing),
        H_TEST(a_refused_append_leaves_no_trace_in_an_opened_mailbox),
        H_TEST(hostile_appends_are_refused),
        H_TEST(sizes_and_hashes_must_be_those_of_the_octets),
        H_TEST(an_entry_whose_chunks_do_not_match_its_command_is_refused),
        H_TEST(an_inline_body_has_at_most_512_kibibytes_and_a_summary_too),
        H_TEST(a_mailbox_has_at_most_256_keywords_in_any_case_once),
        H_TEST(a_keyword_that_no_message_gets_is_not_added),
        H_TEST(a_store_that_changes_nothing_takes_no_modseq),
        H_TEST(unchanged_since_lets_exactly_one_of_two_writers_win),
        H_TEST(stores_of_more_than_5000_messages_are_refused_whole),
        H_TEST(uid_sets_that_are_not_ascending_are_refused),
        H_TEST(copies_share_a_body_until_the_last_one_goes),
        H_TEST(a_move_takes_no_quota_and_leaves_a_vanished_uid),
        H_TEST(a_move_to_the_same_mailbox_gives_new_uids),
        H_TEST(expunge_takes_only_deleted_messages_and_only_the_named_ones),
        H_TEST(the_newest_uid_is_not_used_again_after_expunge_and_restart),
        H_TEST(recent_messages_belong_to_the_first_who_claims_them),
        cmocka_unit_test(quota_is_exact_to_the_byte_and_to_the_message),
        H_TEST(limits_of_an_older_directory_version_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
