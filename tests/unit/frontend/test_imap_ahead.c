/* FETCH of octets reads ahead, up to FRONT_AHEAD_MAX octets; and whatever goes wrong meanwhile, no octet is missing,
 * doubled or made up. */
#include "support/imap_fixture.h"

#include "core/front_ahead.h"
#include "imap/imap_session.h"

#include "unit/cq_cmocka.h"

#include <proto/mail.pb-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE IMAP_BODY_PIECE
#define BIG (6 * PIECE + 1000) /* seven pieces */
#define AHEAD (FRONT_AHEAD_MAX / PIECE)
#define SMALL 100000u /* one */
#define READ_BODY CHASQUI__MAIL__METHOD__READ_BODY

static struct imap_fixture *f;
static struct imap_peer peer;
static char big[BIG], small[SMALL];

static int setup(void **state)
{
    (void)state;
    f = imap_fixture_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    imap_fixture_free(&f);
    return 0;
}

static void fill(char *message, size_t size, unsigned seed)
{
    memset(message, 'x', size);
    memcpy(message, "Subject: s\r\n\r\n", 14);
    for (size_t i = 14; i < size; i++)
        message[i] = (char)('A' + (i * seed + (i >> 9)) % 50);
}

static void say(const char *command, const char *tag, struct cq_buf *out)
{
    cq_buf_init(out, 64u << 20);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_until(&peer, tag, out);
}

static void say_ok(const char *command, const char *tag)
{
    struct cq_buf out;
    char want[16];
    say(command, tag, &out);
    snprintf(want, sizeof want, "%s OK", tag);
    assert_non_null(memmem(out.data, out.len, want, strlen(want)));
    cq_buf_fini(&out);
}

static void append(const char *octets, size_t size)
{
    char command[64];
    snprintf(command, sizeof command, "a APPEND INBOX {%zu+}\r\n", size);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(&peer, cq_slice_of(octets, size), 50000);
    say_ok("\r\n", "a");
}

/* Message 1 is big, 2 and 3 are small. */
static void begin(void)
{
    fill(big, sizeof big, 7);
    fill(small, sizeof small, 11);
    imap_peer_connect(f, &peer);
    say_ok("l LOGIN ana secret\r\n", "l");
    append(big, sizeof big);
    append(small, sizeof small);
    append(small, sizeof small);
    say_ok("s SELECT INBOX\r\n", "s");
}

/* Takes "* n FETCH (... {len}\r\n<octets>)\r\n" off the answer, whose octets must be these. */
static void expect_octets(struct cq_slice *answer, unsigned n, const char *item, const char *octets, size_t len)
{
    char head[100];
    int head_len = snprintf(head, sizeof head, "* %u FETCH (%s {%zu}\r\n", n, item, len);
    if (!cq_slice_starts(*answer, cq_slice_of(head, (size_t)head_len)))
        fail_msg("not %s but %.*s", head, 60, (const char *)answer->data);
    *answer = cq_slice_skip(*answer, (size_t)head_len);
    assert_true(answer->len >= len + 3);
    assert_memory_equal(answer->data, octets, len);
    assert_memory_equal(answer->data + len, ")\r\n", 3);
    *answer = cq_slice_skip(*answer, len + 3);
}

static void expect_end(struct cq_slice answer, const char *tagged)
{
    if (!cq_slice_starts(answer, cq_slice_cstr(tagged)))
        fail_msg("not %s but %.*s", tagged, (int)(answer.len < 60 ? answer.len : 60), (const char *)answer.data);
}

/* ---- What is asked, and when ---- */

static struct {
    size_t calls;
    int unread[16]; /* octets of the answer that the client could have read when the call was made */
} seen;

static void look(void *arg)
{
    (void)arg;
    int unread = 0;
    ioctl(peer.fd, FIONREAD, &unread);
    if (seen.calls < 16)
        seen.unread[seen.calls] = unread;
    seen.calls++;
}

static void the_next_pieces_are_asked_for_before_the_present_one_is_written(void **state)
{
    (void)state;
    begin();
    seen.calls = 0;
    f->before_call = look;
    assert_int_equal(send(peer.fd, "c FETCH 1:3 BODY.PEEK[]\r\n", 25, 0), 25);
    imap_fixture_settle(f);
    /* Records, piece 1, and the next ones before anything of piece 1 went out; the client does not read: nothing more.
     */
    assert_int_equal(seen.calls, 2 + AHEAD);
    assert_int_equal(seen.unread[1 + AHEAD], 0);
    struct cq_buf out;
    cq_buf_init(&out, 64u << 20);
    assert_true(imap_peer_until(&peer, "c", &out));
    assert_int_equal(seen.calls, 1 + 7 + 1 + 1); /* each piece once */
    struct cq_slice answer = cq_buf_slice(&out);
    expect_octets(&answer, 1, "BODY[]", big, sizeof big);
    expect_octets(&answer, 2, "BODY[]", small, sizeof small);
    expect_octets(&answer, 3, "BODY[]", small, sizeof small);
    expect_end(answer, "c OK");
    cq_buf_fini(&out);
    f->before_call = NULL;
    imap_peer_close(&peer);
}

static void the_next_message_is_asked_for_before_the_present_one_is_written(void **state)
{
    (void)state;
    begin();
    seen.calls = 0;
    f->before_call = look;
    assert_int_equal(send(peer.fd, "c FETCH 2:3 BODY.PEEK[]\r\n", 25, 0), 25);
    imap_fixture_settle(f);
    f->before_call = NULL;
    assert_int_equal(seen.calls, 3);
    assert_int_equal(seen.unread[2], 0);
    imap_peer_close(&peer);
}

static void headers_of_the_next_messages_are_asked_for_together(void **state)
{
    (void)state;
    begin();
    seen.calls = 0;
    f->before_call = look;
    assert_int_equal(send(peer.fd, "c FETCH 1:3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\n", 48, 0), 48);
    imap_fixture_settle(f);
    assert_int_equal(seen.calls, 1 + 3);
    assert_int_equal(seen.unread[3], 0); /* the third was asked for before the first was written */
    struct cq_buf out;
    cq_buf_init(&out, 1u << 20);
    assert_true(imap_peer_until(&peer, "c", &out));
    f->before_call = NULL;
    struct cq_slice answer = cq_buf_slice(&out);
    for (unsigned n = 1; n <= 3; n++)
        expect_octets(&answer, n, "BODY[HEADER.FIELDS (SUBJECT)]", "Subject: s\r\n\r\n", 14);
    expect_end(answer, "c OK");
    cq_buf_fini(&out);
    imap_peer_close(&peer);
}

static void all_fetches_of_a_worker_share_a_limit_and_each_may_have_one_piece(void **state)
{
    (void)state;
    begin();
    f->ahead_octets = FRONT_AHEAD_WORKER_MAX;
    seen.calls = 0;
    f->before_call = look;
    assert_int_equal(send(peer.fd, "c FETCH 1:3 BODY.PEEK[]\r\n", 25, 0), 25);
    imap_fixture_settle(f);
    assert_int_equal(seen.calls, 3); /* records, piece 1, piece 2 */
    struct cq_buf out;
    cq_buf_init(&out, 64u << 20);
    assert_true(imap_peer_until(&peer, "c", &out));
    f->before_call = NULL;
    assert_int_equal(f->ahead_octets, FRONT_AHEAD_WORKER_MAX); /* all that was taken was given back */
    cq_buf_fini(&out);
    imap_peer_close(&peer);
}

static void parts_of_messages_are_cut_as_before(void **state)
{
    (void)state;
    static const struct {
        size_t off, len;
    } rows[] = {{0, 1},         {0, PIECE},   {0, PIECE + 1},       {PIECE - 1, 2},    {PIECE, PIECE},
                {5, 3 * PIECE}, {BIG - 1, 1}, {BIG - 1, 1000000},   {BIG, 1},          {4000000000u, 5},
                {99999, 1},     {100000, 1},  {99990, 4000000000u}, {3 * PIECE, 1000}, {1, BIG}};
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char command[100], item[40];
        struct cq_buf out;
        snprintf(command, sizeof command, "c FETCH 1:3 BODY.PEEK[]<%zu.%zu>\r\n", rows[i].off, rows[i].len);
        snprintf(item, sizeof item, "BODY[]<%zu>", rows[i].off);
        say(command, "c", &out);
        struct cq_slice answer = cq_buf_slice(&out);
        for (unsigned n = 1; n <= 3; n++) {
            size_t size = n == 1 ? BIG : SMALL, off = rows[i].off < size ? rows[i].off : size;
            size_t len = rows[i].len < size - off ? rows[i].len : size - off;
            expect_octets(&answer, n, item, (n == 1 ? big : small) + off, len);
        }
        expect_end(answer, "c OK");
        cq_buf_fini(&out);
    }
    imap_peer_close(&peer);
}

static void several_items_of_one_message_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct cq_buf out;
    char head[100];
    begin();
    say("c UID FETCH 1:2 (BODY.PEEK[]<0.700000> BODY.PEEK[TEXT] BODY.PEEK[]<600000.700000>)\r\n", "c", &out);
    struct cq_slice answer = cq_buf_slice(&out);
    const struct {
        const char *item;
        const char *octets;
        size_t len;
    } rows[] = {{"* 1 FETCH (UID 1 BODY[]<0>", big, 700000}, {" BODY[TEXT]", big + 14, BIG - 14},
                {" BODY[]<600000>", big + 600000, 700000},   {")\r\n* 2 FETCH (UID 2 BODY[]<0>", small, SMALL},
                {" BODY[TEXT]", small + 14, SMALL - 14},     {" BODY[]<600000>", small, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(head, sizeof head, "%s {%zu}\r\n", rows[i].item, rows[i].len);
        expect_end(answer, head);
        answer = cq_slice_skip(answer, strlen(head));
        assert_memory_equal(answer.data, rows[i].octets, rows[i].len);
        answer = cq_slice_skip(answer, rows[i].len);
    }
    expect_end(answer, ")\r\nc OK");
    cq_buf_fini(&out);
    imap_peer_close(&peer);
}

/* ---- What goes wrong ---- */

static void fetch_with_fault(enum cq_rc rc, unsigned after, struct cq_buf *out)
{
    begin();
    f->fault = rc;
    f->fault_method = READ_BODY;
    f->fault_after = after;
    say("c FETCH 1:3 BODY.PEEK[]\r\n", "c", out);
    f->fault = CQ_OK;
    cq_buf_slice_add(out, cq_buf_slice(&peer.in));
}

static void an_error_in_a_later_piece_closes_the_connection_and_nothing_is_padded(void **state)
{
    static const enum cq_rc rcs[] = {CQ_E_CORRUPT, CQ_E_NOT_FOUND, CQ_E_UNAVAILABLE};
    for (size_t i = 0; i < sizeof rcs / sizeof rcs[0]; i++)
        for (unsigned after = 1; after <= 3; after++) {
            struct cq_buf out;
            if (i || after > 1)
                setup(state);
            fetch_with_fault(rcs[i], after, &out);
            struct cq_slice answer = cq_buf_slice(&out);
            char head[60];
            snprintf(head, sizeof head, "* 1 FETCH (BODY[] {%u}\r\n", BIG);
            assert_true(peer.eof);
            if (answer.len) /* what the kernel had not sent is thrown away */
                expect_end(answer, head);
            answer = cq_slice_skip(answer, strlen(head));
            assert_true(answer.len <= (size_t)after * PIECE);
            assert_memory_equal(answer.data, big, answer.len);
            cq_buf_fini(&out);
            imap_peer_close(&peer);
            if (i + 1 < sizeof rcs / sizeof rcs[0] || after < 3)
                teardown(state);
        }
}

static void a_message_that_went_after_it_was_asked_for_is_left_out(void **state)
{
    (void)state;
    struct cq_buf out;
    fetch_with_fault(CQ_E_NOT_FOUND, 7, &out);
    struct cq_slice answer = cq_buf_slice(&out);
    expect_octets(&answer, 1, "BODY[]", big, sizeof big);
    expect_end(answer, "c OK"); /* the fault lasts: 3 too */
    cq_buf_fini(&out);
    imap_peer_close(&peer);
}

static void a_message_that_cannot_be_read_after_others_is_told_in_the_tagged_answer(void **state)
{
    (void)state;
    struct cq_buf out;
    fetch_with_fault(CQ_E_CORRUPT, 8, &out);
    struct cq_slice answer = cq_buf_slice(&out);
    expect_octets(&answer, 1, "BODY[]", big, sizeof big);
    expect_octets(&answer, 2, "BODY[]", small, sizeof small);
    expect_end(answer, "c NO");
    cq_buf_fini(&out);
    say_ok("n NOOP\r\n", "n");
    imap_peer_close(&peer);
}

/* ---- Who goes ---- */

static struct {
    unsigned until_slow; /* calls that are quick */
    unsigned waiting, cancelled;
} slow;

/* The store takes for ever; only a cancel ends it. */
static void wait_for_ever(void *arg)
{
    (void)arg;
    if (slow.until_slow) {
        slow.until_slow--;
        return;
    }
    f->before_call = wait_for_ever; /* of the other fibers too */
    slow.waiting++;
    enum cq_rc rc;
    do
        rc = io_fiber_park(IO_NO_DEADLINE);
    while (rc == CQ_OK);
    slow.waiting--;
    slow.cancelled++;
}

static void a_client_that_goes_while_a_piece_is_under_way_leaves_nothing(void **state)
{
    (void)state;
    begin();
    slow.until_slow = 2; /* the records, piece 1 */
    slow.waiting = slow.cancelled = 0;
    f->before_call = wait_for_ever;
    assert_int_equal(send(peer.fd, "c FETCH 1:3 BODY.PEEK[]\r\n", 25, 0), 25);
    imap_fixture_settle(f);
    assert_int_equal(slow.waiting, AHEAD);
    imap_peer_close(&peer);
    f->before_call = NULL;
    assert_int_equal(slow.waiting, 0);
    assert_int_equal(slow.cancelled, AHEAD);
    assert_int_equal(imap_service_sessions(f->service), 0);
}

static void a_client_that_goes_while_a_piece_waits_for_it_leaves_nothing(void **state)
{
    (void)state;
    begin();
    assert_int_equal(send(peer.fd, "c FETCH 1:3 BODY.PEEK[]\r\n", 25, 0), 25);
    imap_fixture_settle(f);
    imap_peer_close(&peer);
    assert_int_equal(imap_service_sessions(f->service), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_pieces_are_asked_for_before_the_present_one_is_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_next_message_is_asked_for_before_the_present_one_is_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(headers_of_the_next_messages_are_asked_for_together, setup, teardown),
        cmocka_unit_test_setup_teardown(all_fetches_of_a_worker_share_a_limit_and_each_may_have_one_piece, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(parts_of_messages_are_cut_as_before, setup, teardown),
        cmocka_unit_test_setup_teardown(several_items_of_one_message_do_not_disturb_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_in_a_later_piece_closes_the_connection_and_nothing_is_padded, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_message_that_went_after_it_was_asked_for_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_that_cannot_be_read_after_others_is_told_in_the_tagged_answer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_while_a_piece_is_under_way_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_while_a_piece_waits_for_it_leaves_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
