/* FETCH with bodies in memory: the same octets as from the shard, for whom the shard would give them to, and only as
 * long as it would. */
#include "support/imap_fixture.h"

#include "imap/imap_session.h"

#include "unit/cq_cmocka.h"

#include <proto/mail.pb-c.h>

#include <stdio.h>
#include <stdlib.h>

#define PIECE MAIL_BODY_PIECE
#define BIG (2 * PIECE + 1000)
#define MULTIPART                                                                                                      \
    "Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n"                   \
    "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b--\r\n"

static struct imap_fixture *f;
static struct body_cache *cache;
static struct imap_peer peer;
static char big[BIG];

static int setup(void **state)
{
    (void)state;
    f = imap_fixture_new();
    cache = body_cache_new(16u << 20);
    mailstore_use_body_cache(f->store, cache);
    memcpy(big, "Subject: s\r\n\r\n", 14);
    for (size_t i = 14; i < sizeof big; i++)
        big[i] = (char)('A' + (i * 7 + (i >> 9)) % 50);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    imap_fixture_free(&f);
    body_cache_free(&cache);
    return 0;
}

/* The answer, tagged line included; to be freed by cq_buf_fini. */
static struct cq_buf ask(const char *command)
{
    struct cq_buf out;
    char line[200];
    cq_buf_init(&out, 64u << 20);
    snprintf(line, sizeof line, "c %s\r\n", command);
    imap_peer_send(&peer, cq_slice_cstr(line), SIZE_MAX);
    imap_peer_until(&peer, "c", &out);
    return out;
}

static bool says(const char *command, const char *text)
{
    struct cq_buf out = ask(command);
    bool found = memmem(out.data, out.len, text, strlen(text));
    if (!found)
        print_message("%s: %.*s\n", command, (int)(out.len < 200 ? out.len : 200), (const char *)out.data);
    cq_buf_fini(&out);
    return found;
}

/* Message 1 is big, 2 has parts; selected. */
static void begin(void)
{
    char command[60];
    snprintf(command, sizeof command, "a APPEND INBOX {%zu+}\r\n", sizeof big);
    imap_peer_connect(f, &peer);
    assert_true(says("LOGIN ana secret", "c OK"));
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(&peer, cq_slice_of(big, sizeof big), 50000);
    imap_peer_send(&peer, CQ_SLICE("\r\n"), SIZE_MAX);
    imap_fixture_deliver(f, CQ_SLICE(MULTIPART));
    assert_true(says("SELECT INBOX", "c OK"));
}

/* From now on only what is in memory can be read. */
static void break_reading(bool broken)
{
    f->fault = broken ? CQ_E_UNAVAILABLE : CQ_OK;
    f->fault_method = CHASQUI__MAIL__METHOD__READ_BODY;
}

static void what_was_read_once_is_not_asked_for_again(void **state)
{
    (void)state;
    begin();
    struct cq_buf first = ask("FETCH 1:2 BODY.PEEK[]");
    assert_true(first.len > BIG + sizeof MULTIPART);
    break_reading(true);
    struct cq_buf again = ask("FETCH 1:2 BODY.PEEK[]");
    assert_true(cq_slice_eq(cq_buf_slice(&again), cq_buf_slice(&first)));
    cq_buf_fini(&first);
    cq_buf_fini(&again);
    imap_peer_close(&peer);
}

static void another_session_of_the_account_has_it_too(void **state)
{
    (void)state;
    begin();
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    imap_peer_close(&peer);
    break_reading(true);
    imap_peer_connect(f, &peer);
    assert_true(says("LOGIN ana secret", "c OK"));
    assert_true(says("SELECT INBOX", "c OK"));
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    imap_peer_close(&peer);
}

static const char *const items[] = {"BODY.PEEK[]",
                                    "BODY.PEEK[]<0.1>",
                                    "BODY.PEEK[]<100.70000>",
                                    "BODY.PEEK[]<524287.2>",
                                    "BODY.PEEK[]<524288.524288>",
                                    "BODY.PEEK[]<1049000.5000>",
                                    "BODY.PEEK[]<4000000000.1>",
                                    "BODY.PEEK[HEADER]",
                                    "BODY.PEEK[HEADER.FIELDS (SUBJECT)]",
                                    "BODY.PEEK[TEXT]",
                                    "BODY.PEEK[1]",
                                    "BODY.PEEK[2]",
                                    "BODY.PEEK[2.MIME]",
                                    "BODY.PEEK[TEXT]<5.100000>",
                                    "RFC822.HEADER"};
#define ITEMS (sizeof items / sizeof *items)

/* Each item is read without a cache, then twice with one, in this order or the other. */
static void all_sections_and_parts_are_the_octets_that_the_shard_has(void **state)
{
    (void)state;
    struct cq_buf want[ITEMS];
    char command[100];
    begin();
    mailstore_use_body_cache(f->store, NULL);
    for (size_t i = 0; i < ITEMS; i++) {
        snprintf(command, sizeof command, "FETCH 1:2 %s", items[i]);
        want[i] = ask(command);
    }
    mailstore_use_body_cache(f->store, cache);
    for (size_t n = 0; n < 4 * ITEMS; n++) {
        size_t i = n < 2 * ITEMS ? ITEMS - 1 - n % ITEMS : n % ITEMS;
        snprintf(command, sizeof command, "FETCH 1:2 %s", items[i]);
        struct cq_buf got = ask(command);
        assert_int_equal(got.len, want[i].len);
        assert_memory_equal(got.data, want[i].data, got.len);
        cq_buf_fini(&got);
    }
    assert_true(body_cache_state(cache).pieces == 4);
    break_reading(true);
    for (size_t i = 0; i < ITEMS; i++) {
        snprintf(command, sizeof command, "FETCH 1:2 %s", items[i]);
        assert_true(says(command, "c OK"));
        cq_buf_fini(&want[i]);
    }
    imap_peer_close(&peer);
}

static void a_client_that_reads_in_parts_makes_two_calls_for_a_piece(void **state)
{
    (void)state;
    char command[100];
    begin();
    for (unsigned off = 0; off < BIG; off += 65536) {
        snprintf(command, sizeof command, "FETCH 1 BODY.PEEK[]<%u.65536>", off);
        break_reading(off % PIECE > 65536); /* the second part brings the piece */
        assert_true(says(command, "c OK"));
    }
    imap_peer_close(&peer);
}

static void a_header_of_a_large_message_does_not_bring_its_body(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 3; i++)
        assert_true(says("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "Subject: s"));
    assert_int_equal(body_cache_state(cache).pieces, 0);
    imap_peer_close(&peer);
}

/* ---- Whose it is ---- */

static void expunge(uint64_t mailbox, uint32_t uid)
{
    struct uid_range range = {uid, uid};
    const struct uidset uids = {&range, 1};
    const struct mail_store store = {.mailbox = mailbox, .uids = &uids, .mode = MAIL_STORE_ADD, .flags = MAIL_DELETED};
    struct mailstore_account account = {.id = f->account.id};
    struct uidset set;
    struct cq_err err = {0};
    uint64_t modseq;
    struct cq_pool *pool = cq_pool_new(1000);
    assert_int_equal(mailstore_store(f->store, &account, &store, pool, &set, &modseq, &err), CQ_OK);
    assert_int_equal(mailstore_expunge(f->store, &account, mailbox, &uids, pool, &set, &err), CQ_OK);
    assert_int_equal(set.count, 1);
    cq_pool_free(&pool);
}

static void a_message_that_another_session_has_expunged_is_not_given_from_memory(void **state)
{
    (void)state;
    begin();
    assert_true(says("FETCH 1:2 BODY.PEEK[]", "c OK"));
    assert_true(says("FETCH 2 BODY.PEEK[]", "first"));
    expunge(peer.session->view->mailbox, 2);
    struct cq_buf out = ask("UID FETCH 2 BODY.PEEK[]"); /* the client has not heard of it yet */
    assert_null(memmem(out.data, out.len, "first", 5));
    cq_buf_fini(&out);
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    imap_peer_close(&peer);
}

static void the_same_number_in_another_account_is_another_message(void **state)
{
    (void)state;
    begin();
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    imap_peer_close(&peer);
    imap_fixture_new_account(f, IMAP_FIXTURE_ACCOUNT + 1);
    imap_fixture_deliver(f, CQ_SLICE("Subject: another\r\n\r\n"));
    imap_peer_connect(f, &peer);
    assert_true(says("LOGIN ana secret", "c OK"));
    assert_true(says("SELECT INBOX", "c OK"));
    assert_true(says("FETCH 1 BODY.PEEK[]", "Subject: another\r\n"));
    imap_peer_close(&peer);
}

static void an_account_that_was_deleted_is_not_served_from_memory(void **state)
{
    (void)state;
    struct cq_err err = {0};
    begin();
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    assert_int_equal(mailstore_delete_account(f->store, &f->account, &err), CQ_OK);
    struct cq_buf out = ask("FETCH 1 BODY.PEEK[]");
    assert_true(out.len < 500);
    cq_buf_fini(&out);
    imap_peer_close(&peer);
}

static void another_incarnation_of_the_account_finds_nothing(void **state)
{
    (void)state;
    struct cq_err err = {0};
    struct cq_slice octets;
    struct body_piece *piece = NULL;
    struct mailstore_account account = {.id = f->account.id};
    struct mail_account_state info;
    struct cq_pool *pool = cq_pool_new(1000);
    imap_fixture_deliver(f, CQ_SLICE("Subject: one\r\n\r\n"));
    assert_int_equal(mailstore_get_account(f->store, &account, pool, &info, &err), CQ_OK);
    const struct mail_body body = {.email = 1, .saved = 1, .size = 16};
    for (int i = 0; i < 2; i++) { /* both are asked on a fiber elsewhere; here the local store does not suspend */
        assert_int_equal(mailstore_body(f->store, &account, &body, 0, 16, &piece, &octets, &err), CQ_OK);
        body_piece_unref(&piece);
    }
    assert_true(mailstore_body_cached(f->store, &account, &body, 0, 16, &piece, &octets));
    body_piece_unref(&piece);
    account.incarnation++;
    assert_false(mailstore_body_cached(f->store, &account, &body, 0, 16, &piece, &octets));
    account.incarnation = 0; /* nothing is known of the account yet */
    assert_false(mailstore_body_cached(f->store, &account, &body, 0, 16, &piece, &octets));
    cq_pool_free(&pool);
}

/* ---- Slow clients ---- */

static void a_client_that_does_not_read_holds_its_piece_and_gets_it_whole(void **state)
{
    (void)state;
    struct cq_buf out;
    begin();
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    imap_peer_send(&peer, CQ_SLICE("c FETCH 1 BODY.PEEK[]\r\n"), SIZE_MAX);
    imap_fixture_settle(f);
    mailstore_use_body_cache(f->store, NULL);
    body_cache_free(&cache); /* as if all of it was pushed out */
    cq_buf_init(&out, 64u << 20);
    assert_true(imap_peer_until(&peer, "c", &out));
    assert_non_null(memmem(out.data, out.len, big, PIECE));
    assert_non_null(memmem(out.data, out.len, big + BIG - PIECE, PIECE));
    cq_buf_fini(&out);
    imap_peer_close(&peer);
}

static void a_client_that_goes_lets_everything_go(void **state)
{
    (void)state;
    begin();
    assert_true(says("FETCH 1 BODY.PEEK[]", "c OK"));
    imap_peer_send(&peer, CQ_SLICE("c FETCH 1:2 (BODY.PEEK[] BODY.PEEK[TEXT])\r\n"), SIZE_MAX);
    imap_fixture_settle(f);
    imap_peer_close(&peer);
    assert_int_equal(imap_service_sessions(f->service), 0); /* the leak checkers say the rest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_read_once_is_not_asked_for_again, setup, teardown),
        cmocka_unit_test_setup_teardown(another_session_of_the_account_has_it_too, setup, teardown),
        cmocka_unit_test_setup_teardown(all_sections_and_parts_are_the_octets_that_the_shard_has, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_reads_in_parts_makes_two_calls_for_a_piece, setup, teardown),
        cmocka_unit_test_setup_teardown(a_header_of_a_large_message_does_not_bring_its_body, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_that_another_session_has_expunged_is_not_given_from_memory, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_same_number_in_another_account_is_another_message, setup, teardown),
        cmocka_unit_test_setup_teardown(an_account_that_was_deleted_is_not_served_from_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(another_incarnation_of_the_account_finds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_holds_its_piece_and_gets_it_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_lets_everything_go, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
