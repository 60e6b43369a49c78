/* COPY and MOVE of more messages than one entry takes: all at once or not at all, whoever interferes. */
#include "unit/state/mail_helpers.h"

#include "state/records.h"
#include "state/state_limits.h"

#define N 12001
#define REPLICAS 2

struct fixture {
    struct shard *s;
    uint64_t to;
};

#define PER_APPEND 4000

/* Message i of all has flags i % 16 and a keyword, or none, by i % 3. */
static void append_some(struct shard *s, uint32_t from, uint32_t count)
{
    static Chasqui__Mail__NewMessage messages[PER_APPEND], *list[PER_APPEND];
    static uint8_t octets[PER_APPEND];
    static char *const keywords[][1] = {{(char *)"red"}, {(char *)"green"}, {NULL}};
    Chasqui__Mail__Append append = W(APPEND);
    struct cq_hash128 hash = cq_xxh3_128(cq_slice_of(octets, 1));
    for (uint32_t i = 0; i < count; i++) {
        Chasqui__Mail__NewMessage *m = list[i] = &messages[i];
        chasqui__mail__new_message__init(m);
        m->size = 1;
        m->body_hash_low = hash.low;
        m->body_hash_high = hash.high;
        m->flags = (from + i) % 16;
        m->keywords = (char **)(uintptr_t)keywords[(from + i) % 3];
        m->n_keywords = (from + i) % 3 < 2;
    }
    append.mailbox = INBOX;
    append.messages = list;
    append.n_messages = count;
    struct shard_call call = {.method = M(APPEND), .account = ANA, .message = &append.base, .raw = {octets, count}};
    assert_int_equal(shard_run(s, &call).rc, CQ_OK);
}

static int setup(void **state)
{
    struct fixture *f = cq_new(struct fixture);
    struct shard *s = f->s = shard_new(REPLICAS);
    shard_own_all(s);
    assert_int_equal(h_create_account(s, NULL).rc, CQ_OK);
    assert_int_equal(h_create(s, "copies", 0, &f->to), CQ_OK);
    for (uint32_t n = 0; n < N + 50; n += PER_APPEND)
        append_some(s, n, N + 50 - n < PER_APPEND ? N + 50 - n : PER_APPEND);
    /* Holes, so that the sources are not one range. */
    assert_int_equal(h_flag(s, INBOX, 1, 5000, 2, 8), CQ_OK);
    assert_int_equal(h_flag(s, INBOX, 5001, 10000, 2, 8), CQ_OK);
    assert_int_equal(h_flag(s, INBOX, 10001, N + 50, 2, 8), CQ_OK);
    for (uint32_t uid = 100; uid < 150; uid++)
        assert_int_equal(h_flag(s, INBOX, uid * 2, uid * 2, 1, 8), CQ_OK);
    assert_int_equal(h_expunge(s, INBOX), CQ_OK);
    shard_write(s, 0, true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    uint8_t digests[REPLICAS][16];
    for (unsigned r = 0; r < REPLICAS; r++) {
        assert_true(shard_catch_up(f->s, r, shard_last_index(f->s)));
        shard_machine(f->s, r)->ops->digest(shard_machine(f->s, r), digests[r]);
    }
    assert_memory_equal(digests[0], digests[1], 16);
    h_finish(f->s);
    free(f);
    return 0;
}

static struct machine_outcome transfer_all(struct fixture *f, uint32_t method, uint64_t to, uint64_t sequence)
{
    static Chasqui__Mail__Copy copy;
    chasqui__mail__copy__init(&copy);
    copy.from = INBOX;
    copy.to = to;
    copy.uids = h_set(1, UINT32_MAX);
    return shard_run(f->s, &(struct shard_call){.method = method,
                                                .account = ANA,
                                                .message = &copy.base,
                                                .client = 9,
                                                .sequence = sequence,
                                                .no_done = true});
}

static struct machine_outcome copy_all(struct fixture *f, uint64_t to, uint64_t sequence)
{
    return transfer_all(f, M(COPY), to, sequence);
}

static void expect_before(struct fixture *f, uint64_t to, uint32_t messages, uint64_t modseq)
{
    assert_int_equal(h_open(f->s, to)->mailbox->messages, messages);
    const Chasqui__Mail__ChangesReply *changes = h_changes(f->s, to, modseq, 0, NULL);
    assert_int_equal(changes->records, 0);
    assert_false(changes->more);
    assert_int_equal(h_account(f->s)->modseq, modseq);
    assert_int_equal(h_account(f->s)->used_messages, N);
    struct fetch_record record;
    assert_false(h_fetch(f->s, to, changes->uidnext, &record));
    assert_false(h_fetch(f->s, to, h_open(f->s, to)->mailbox->uidnext, &record));
}

static void expect_after(struct fixture *f, uint64_t to, uint32_t first, uint64_t modseq)
{
    uint32_t messages = to == INBOX ? 2 * N : N;
    const Chasqui__Mail__OpenMailboxReply *open = h_open(f->s, to);
    assert_int_equal(open->mailbox->messages, messages);
    assert_int_equal(open->mailbox->uidnext, first + N);
    assert_int_equal(open->mailbox->highest_modseq, modseq + 1);
    assert_int_equal(h_account(f->s)->modseq, modseq + 1);
    assert_int_equal(h_account(f->s)->used_messages, 2 * N);
    struct fetch_record source, copy;
    static const uint32_t pairs[][2] = {{1, 0}, {2, 1}, {199, 198}, {N + 50, N - 1}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        assert_true(h_fetch(f->s, INBOX, pairs[i][0], &source));
        uint64_t email = source.email;
        uint8_t flags = source.flags;
        assert_true(h_fetch(f->s, to, first + pairs[i][1], &copy));
        assert_int_equal(copy.email, email);
        assert_int_equal(copy.flags, flags);
        assert_int_equal(copy.modseq, modseq + 1);
    }
    uint64_t since = modseq;
    uint32_t records = 0;
    for (bool more = true; more;) {
        const Chasqui__Mail__ChangesReply *changes = h_changes(f->s, to, since, 0, NULL);
        records += changes->records;
        since = changes->until_modseq;
        more = changes->more;
    }
    assert_int_equal(records, N);
}

static void a_large_copy_shows_all_at_once_at_its_end(void **state)
{
    struct fixture *f = *state;
    for (int into_itself = 0; into_itself < 2; into_itself++) {
        if (into_itself) { /* the same account again, with nothing copied yet */
            teardown(state);
            setup(state);
            f = *state;
        }
        uint64_t to = into_itself ? INBOX : f->to, modseq = h_account(f->s)->modseq;
        uint32_t first = h_open(f->s, to)->mailbox->uidnext, before = into_itself ? N : 0;
        for (int piece = 0; piece < 2; piece++) {
            struct machine_outcome got = copy_all(f, to, 5);
            assert_int_equal(got.rc, CQ_E_AGAIN);
            assert_int_equal(got.notice.len, 0);
            expect_before(f, to, before, modseq);
            uint64_t records;
            assert_int_equal(mail_machine_verify(shard_machine(f->s, 0), &records, NULL), CQ_OK);
        }
        struct machine_outcome last = copy_all(f, to, 5);
        assert_int_equal(last.rc, CQ_E_AGAIN);
        assert_true(last.notice.len > 0);
        expect_after(f, to, first, modseq);
        for (int again = 0; again < 2; again++) {
            struct machine_outcome got = copy_all(f, to, 5);
            assert_int_equal(got.rc, CQ_OK);
            const Chasqui__Mail__CopyReply *reply = shard_reply(f->s, &got, D(copy_reply));
            assert_int_equal(reply->first_uid, first);
            assert_int_equal(reply->modseq, modseq + 1);
            assert_int_equal(reply->copied->n_ranges, 102);
        }
        assert_int_equal(h_account(f->s)->used_messages, 2 * N);
    }
}

static void other_commands_wait_and_help_and_then_act(void **state)
{
    struct fixture *f = *state;
    uint64_t modseq = h_account(f->s)->modseq;
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_AGAIN);
    struct h_message m = {.text = "y"};
    struct shard_call call = h_append_call(f->s, f->to, &m);
    call.client = 7;
    call.sequence = 3;
    assert_int_equal(shard_run(f->s, &call).rc, CQ_E_AGAIN);
    assert_int_equal(shard_run(f->s, &call).rc, CQ_E_AGAIN);
    struct machine_outcome got = shard_run(f->s, &call);
    assert_int_equal(got.rc, CQ_OK);
    const Chasqui__Mail__AppendReply *reply = shard_reply(f->s, &got, D(append_reply));
    assert_int_equal(reply->first_uid, N + 1);
    assert_int_equal(h_account(f->s)->modseq, modseq + 2);
    got = copy_all(f, f->to, 5);
    assert_int_equal(got.rc, CQ_OK);
    assert_int_equal(((const Chasqui__Mail__CopyReply *)shard_reply(f->s, &got, D(copy_reply)))->first_uid, 1);
}

static void a_restart_in_the_middle_loses_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t modseq = h_account(f->s)->modseq;
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_AGAIN);
    shard_write(f->s, 0, true);
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_AGAIN);
    shard_write(f->s, 0, false);
    shard_crash(f->s, 0, 0);
    assert_true(shard_catch_up(f->s, 0, shard_last_index(f->s)));
    expect_before(f, f->to, 0, modseq);
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_AGAIN);
    expect_after(f, f->to, 1, modseq);
}

static void a_copy_that_its_client_left_is_finished_by_reclaim(void **state)
{
    struct fixture *f = *state;
    Chasqui__Mail__Reclaim reclaim = W(RECLAIM);
    uint64_t modseq = h_account(f->s)->modseq;
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_AGAIN);
    assert_int_equal(h_reclaim(f->s), CQ_OK);
    expect_before(f, f->to, 0, modseq);
    h_later(f->s, STATE_COPY_IDLE_US);
    struct machine_outcome got = h_group(f->s, M(RECLAIM), &reclaim);
    assert_int_equal(got.notice.len, 0);
    expect_before(f, f->to, 0, modseq);
    for (int i = 0; i < 3 && got.notice.len == 0; i++)
        got = h_group(f->s, M(RECLAIM), &reclaim);
    assert_int_equal(got.account, ANA);
    assert_true(got.notice.len > 0);
    expect_after(f, f->to, 1, modseq);
    assert_int_equal(h_reclaim(f->s), CQ_OK);
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_OK);
}

static void what_cannot_be_copied_whole_is_refused_at_the_start(void **state)
{
    struct fixture *f = *state;
    uint64_t modseq = h_account(f->s)->modseq;
    Chasqui__Mail__SetLimits set = W(SET_LIMITS);
    Chasqui__Mail__Limits limits = W(LIMITS);
    set.limits = &limits;
    limits.directory_version = 1;
    limits.quota_messages = 2 * N - 1;
    assert_int_equal(h_run(f->s, M(SET_LIMITS), &set).rc, CQ_OK);
    assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_OVER_QUOTA);
    limits.directory_version = 2;
    limits.quota_messages = 2 * N;
    assert_int_equal(h_run(f->s, M(SET_LIMITS), &set).rc, CQ_OK);

    /* 255 keywords of its own: "red" and "green" do not both fit. */
    Chasqui__Mail__Store store = W(STORE);
    char names[255][8], *list[255];
    for (int i = 0; i < 255; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        list[i] = names[i];
    }
    uint64_t other;
    assert_int_equal(h_create(f->s, "full", 0, &other), CQ_OK);
    assert_int_equal(h_copy(f->s, true, INBOX, other, 3, 3), CQ_OK);
    store.mailbox = other;
    store.uids = h_set(1, 1);
    store.mode = CHASQUI__MAIL__STORE__MODE__REPLACE;
    store.keywords = list;
    store.n_keywords = 255;
    assert_int_equal(h_run(f->s, M(STORE), &store).rc, CQ_OK);
    assert_int_equal(copy_all(f, other, 6).rc, CQ_E_LIMIT);
    assert_int_equal(h_open(f->s, other)->mailbox->n_keywords, 255);
    assert_int_equal(h_mailbox(f->s, "full")->messages, 1);
    assert_true(h_account(f->s)->modseq > modseq);
    assert_int_equal(copy_all(f, f->to, 7).rc, CQ_E_AGAIN);
}

/* The source has nothing of the first N messages; the destination has all of them. */
static void expect_moved(struct fixture *f, uint64_t to, uint32_t first, uint64_t modseq)
{
    struct fetch_record record;
    const Chasqui__Mail__OpenMailboxReply *open = h_open(f->s, to);
    assert_int_equal(open->mailbox->messages, N);
    assert_int_equal(open->mailbox->uidnext, first + N);
    assert_int_equal(open->uids->ranges[0], first);
    assert_int_equal(open->uids->n_ranges, 2);
    if (to != INBOX) {
        open = h_open(f->s, INBOX);
        assert_int_equal(open->mailbox->messages, 0);
        assert_int_equal(open->mailbox->unseen, 0);
        assert_int_equal(open->mailbox->size, 0);
        assert_int_equal(open->uids->n_ranges, 0);
    }
    for (uint32_t uid = 1; uid <= N + 50; uid += 997)
        assert_false(h_fetch(f->s, INBOX, uid, &record));
    assert_int_equal(h_account(f->s)->used_messages, N);
    assert_int_equal(h_account(f->s)->modseq, modseq + 1);
    uint64_t since = 1, vanished = 0;
    uint32_t records = 0;
    for (bool more = true; more;) {
        const Chasqui__Mail__ChangesReply *changes = h_changes(f->s, INBOX, since, 0, NULL);
        records += changes->records;
        for (size_t i = 0; i < changes->vanished->n_ranges; i += 2)
            vanished += changes->vanished->ranges[i + 1] - changes->vanished->ranges[i] + 1;
        since = changes->until_modseq;
        more = changes->more;
    }
    assert_int_equal(records, to == INBOX ? N : 0);
    assert_int_equal(vanished, N + 50);
}

static void a_large_move_shows_all_at_once_and_its_sources_go_in_the_same_moment(void **state)
{
    struct fixture *f = *state;
    for (int into_itself = 0; into_itself < 2; into_itself++) {
        if (into_itself) {
            teardown(state);
            setup(state);
            f = *state;
        }
        uint64_t to = into_itself ? INBOX : f->to, modseq = h_account(f->s)->modseq;
        uint32_t first = h_open(f->s, to)->mailbox->uidnext, before = into_itself ? N : 0;
        struct machine_outcome got;
        for (int piece = 0; piece < 2; piece++) {
            got = transfer_all(f, M(MOVE), to, 5);
            assert_int_equal(got.rc, CQ_E_AGAIN);
            expect_before(f, to, before, modseq);
            assert_int_equal(h_open(f->s, INBOX)->mailbox->messages, N);
        }
        got = transfer_all(f, M(MOVE), to, 5);
        assert_int_equal(got.rc, CQ_E_AGAIN);
        assert_true(got.notice.len > 0);
        expect_moved(f, to, first, modseq);
        /* Its own request is answered now; others wait until the rows are gone. */
        got = transfer_all(f, M(MOVE), to, 5);
        assert_int_equal(got.rc, CQ_OK);
        assert_int_equal(((const Chasqui__Mail__CopyReply *)shard_reply(f->s, &got, D(copy_reply)))->first_uid, first);
        int waits = 0;
        while (h_flag(f->s, to, first, first, 1, 4) == CQ_E_AGAIN) {
            waits++;
            expect_moved(f, to, first, modseq);
        }
        assert_int_equal(waits, 3);
        assert_int_equal(h_account(f->s)->modseq, modseq + 2);
        assert_int_equal(h_dead_chunks(f->s), 50);
    }
}

/* Who brings the next piece about. */
enum helper { BY_ITSELF, BY_ANOTHER_CLIENT, BY_RECLAIM };

static void help(struct fixture *f, enum helper helper)
{
    Chasqui__Mail__Reclaim reclaim = W(RECLAIM);
    if (helper == BY_ITSELF)
        transfer_all(f, M(MOVE), f->to, 5);
    else if (helper == BY_ANOTHER_CLIENT)
        h_flag(f->s, f->to, 1, 1, 1, 0);
    else
        h_group(f->s, M(RECLAIM), &reclaim);
}

static void a_crash_after_each_piece_of_a_move_loses_and_repeats_nothing(void **state)
{
    for (enum helper helper = BY_ITSELF; helper <= BY_RECLAIM; helper++) {
        struct fixture *f = *state;
        uint64_t modseq = h_account(f->s)->modseq;
        assert_int_equal(transfer_all(f, M(MOVE), f->to, 5).rc, CQ_E_AGAIN);
        h_later(f->s, STATE_COPY_IDLE_US);
        for (int piece = 2; piece <= 6; piece++) {
            shard_write(f->s, 0, piece % 2 == 0); /* what was not synced is lost */
            shard_crash(f->s, 0, 0);
            assert_true(shard_catch_up(f->s, 0, shard_last_index(f->s)));
            if (piece <= 3)
                expect_before(f, f->to, 0, modseq);
            else
                expect_moved(f, f->to, 1, modseq);
            help(f, helper);
        }
        struct machine_outcome got = transfer_all(f, M(MOVE), f->to, 5);
        assert_int_equal(got.rc, CQ_OK);
        assert_int_equal(((const Chasqui__Mail__CopyReply *)shard_reply(f->s, &got, D(copy_reply)))->first_uid, 1);
        while (h_flag(f->s, f->to, 1, 1, 1, 0) == CQ_E_AGAIN)
            assert_int_equal(helper, BY_ITSELF); /* whose result it was once it showed */
        expect_moved(f, f->to, 1, modseq);
        assert_int_equal(h_dead_chunks(f->s), 50);
        teardown(state);
        setup(state);
    }
}

static void a_large_inbox_is_renamed_by_the_same_way(void **state)
{
    struct fixture *f = *state;
    Chasqui__Mail__RenameMailbox rename = W(RENAME_MAILBOX);
    rename.from = (char *)"INBOX";
    rename.to = (char *)"old/mail";
    struct shard_call call = {
        .method = M(RENAME_MAILBOX), .account = ANA, .message = &rename.base, .client = 9, .sequence = 3};
    call.no_done = true;
    int waits = 0;
    while (shard_run(f->s, &call).rc == CQ_E_AGAIN)
        waits++;
    assert_int_equal(waits, 3);
    assert_int_equal(h_mailbox(f->s, "old/mail")->messages, N);
    assert_int_equal(h_mailbox(f->s, "INBOX")->messages, 0);
    h_later(f->s, STATE_COPY_IDLE_US);
    assert_int_equal(h_reclaim(f->s), CQ_OK);
    assert_int_equal(h_append(f->s, INBOX, (struct h_message){.text = "new"}), CQ_OK);
    assert_int_equal(h_open(f->s, INBOX)->uids->ranges[0], N + 51);
}

static void an_account_can_be_deleted_in_the_middle(void **state)
{
    Chasqui__Mail__DeleteAccount deletion = W(DELETE_ACCOUNT);
    for (int pieces = 1; pieces <= 4; pieces += 3) { /* while they are added, while the sources are removed */
        struct fixture *f = *state;
        assert_int_equal(transfer_all(f, M(MOVE), f->to, 5).rc, CQ_E_AGAIN);
        for (int i = 1; i < pieces; i++)
            assert_int_equal(h_flag(f->s, INBOX, 1, 1, 1, 4), CQ_E_AGAIN);
        assert_int_equal(h_run(f->s, M(DELETE_ACCOUNT), &deletion).rc, CQ_OK);
        h_later(f->s, STATE_COPY_IDLE_US);
        assert_int_equal(h_reclaim(f->s), CQ_OK);
        assert_int_equal(copy_all(f, f->to, 5).rc, CQ_E_NO_ACCOUNT);
        assert_true(shard_catch_up(f->s, 1, shard_last_index(f->s)));
        assert_int_equal(h_dead_chunks(f->s), N + 50);
        teardown(state);
        setup(state);
    }
}

#define JOB_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOB_TEST(a_large_copy_shows_all_at_once_at_its_end),
        JOB_TEST(other_commands_wait_and_help_and_then_act),
        JOB_TEST(a_restart_in_the_middle_loses_nothing),
        JOB_TEST(a_copy_that_its_client_left_is_finished_by_reclaim),
        JOB_TEST(what_cannot_be_copied_whole_is_refused_at_the_start),
        JOB_TEST(a_large_move_shows_all_at_once_and_its_sources_go_in_the_same_moment),
        JOB_TEST(a_crash_after_each_piece_of_a_move_loses_and_repeats_nothing),
        JOB_TEST(a_large_inbox_is_renamed_by_the_same_way),
        JOB_TEST(an_account_can_be_deleted_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
