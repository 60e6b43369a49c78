/* Large messages, large mailboxes, many sessions: memory stays small and nothing is cut. */
#include "support/imap_fixture.h"

#include "unit/cq_cmocka.h"

#include "base/cq_hash.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "mail/mail_build.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG (20u << 20)
#ifndef MESSAGES
#define MESSAGES 20000u
#endif

static int setup(void **state)
{
    *state = imap_fixture_new();
    return 0;
}

static int teardown(void **state)
{
    struct imap_fixture *f = *state;
    imap_fixture_free(&f);
    return 0;
}

static void talk(struct imap_peer *peer, const char *command, const char *tag, struct cq_buf *out)
{
    cq_buf_init(out, 1u << 28);
    imap_peer_send(peer, cq_slice_cstr(command), SIZE_MAX);
    assert_true(imap_peer_until(peer, tag, out));
}

static void say(struct imap_peer *peer, const char *command, const char *tag)
{
    struct cq_buf out;
    talk(peer, command, tag, &out);
    cq_buf_byte(&out, 0);
    char want[64];
    snprintf(want, sizeof want, "%s OK", tag);
    if (!strstr((const char *)out.data, want))
        fail_msg("%s", out.data);
    cq_buf_fini(&out);
}

static void connect_and_log_in(struct imap_fixture *f, struct imap_peer *peer)
{
    imap_peer_connect(f, peer);
    say(peer, "l LOGIN ana secret\r\n", "l");
}

/* Lines of different length, 8-bit octets among them. */
static struct cq_slice big_message(void)
{
    uint8_t *data = cq_malloc(BIG);
    memcpy(data, "Subject: big\r\n\r\n", 16);
    for (size_t i = 16; i < BIG; i++)
        data[i] = i % 777 == 0 ? '\r' : i % 777 == 1 ? '\n' : (uint8_t)(1 + i * 31 % 255);
    return cq_slice_of(data, BIG);
}

static void count_call(void *arg)
{
    ++*(size_t *)arg;
}

/* Reads slowly, and looks at how much the server holds meanwhile. */
static void a_big_message_goes_in_and_out_in_pieces(void **state)
{
    struct imap_fixture *f = *state;
    struct imap_peer peer;
    struct cq_slice message = big_message();
    char command[100];
    connect_and_log_in(f, &peer);
    size_t before = mallinfo2().uordblks;
    snprintf(command, sizeof command, "a APPEND INBOX {%u+}\r\n", BIG);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(&peer, message, 50000);
    say(&peer, "\r\n", "a");
    /* The shard in memory holds the message itself; the session none of it. */
    assert_true(mallinfo2().uordblks - before < BIG + (BIG / 2));

    say(&peer, "b SELECT INBOX\r\n", "b");
    size_t calls = 0;
    f->before_call = count_call;
    f->before_arg = &calls;
    before = mallinfo2().uordblks;
    assert_int_equal(send(peer.fd, "c FETCH 1 BODY.PEEK[]\r\n", 23, 0), 23);
    struct cq_xxh3 *hash = cq_xxh3_new();
    static uint8_t piece[8192];
    size_t got = 0, most = 0, idle = 0, head = strlen("* 1 FETCH (BODY[] {20971520}\r\n"), skip = head;
    while (got < BIG) {
        ssize_t n = recv(peer.fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n <= 0) {
            if (n == 0 || ++idle > 10000)
                fail_msg("%zu of %u octets came: %.*s", got, BIG, 200, (const char *)piece);
            io_loop_turn(f->loop, false);
            size_t held = mallinfo2().uordblks - before;
            most = held > most ? held : most;
            continue;
        }
        idle = 0;
        struct cq_slice part = cq_slice_of(piece, (size_t)n);
        size_t cut = skip < part.len ? skip : part.len;
        skip -= cut;
        part = cq_slice_sub(part, cut, BIG - got);
        cq_xxh3_update(hash, part);
        got += part.len;
    }
    assert_true(cq_hash128_eq(cq_xxh3_digest128(hash), cq_xxh3_128(message)));
    cq_xxh3_free(&hash);
    print_message("held at most %zu KiB while %u MiB went out\n", most >> 10, BIG >> 20);
    assert_true(most < 4u << 20);
    struct cq_buf rest;
    cq_buf_init(&rest, 1 << 20);
    assert_true(imap_peer_until(&peer, "c", &rest));
    cq_buf_fini(&rest);
    f->before_call = NULL;
    /* Each chunk is read once, though the storage node verifies whole chunks; and the records. */
    assert_in_range(calls, BIG / MAIL_STAGE_PIECE_MAX, BIG / MAIL_STAGE_PIECE_MAX + 3);
    imap_peer_close(&peer);
    free((void *)(uintptr_t)message.data);
}

#define LONG_HEADER (12u << 20)

/* Each section is held until it is written: many of one long header would be many times its memory. */
static void what_is_made_of_a_long_header_is_bounded(void **state)
{
    static const struct {
        const char *command, *want;
    } rows[] = {
        {"c FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (A)] BODY.PEEK[HEADER.FIELDS.NOT (B)])\r\n", "c OK"},
        {"d FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (A)] BODY.PEEK[HEADER.FIELDS.NOT (B)] "
         "BODY.PEEK[HEADER.FIELDS.NOT (C)])\r\n",
         "d NO [LIMIT]"},
        {"e FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\n", "e OK"},
    };
    struct imap_fixture *f = *state;
    struct imap_peer peer;
    struct cq_buf out;
    char command[100];
    char *message = cq_malloc(LONG_HEADER + 1);
    memset(message, 'x', LONG_HEADER);
    for (size_t i = 0; i < LONG_HEADER; i += 1024) {
        memcpy(message + i, "X: ", 3);
        memcpy(message + i + 1022, "\r\n", 2);
    }
    memcpy(message + LONG_HEADER - 1024, "\r\n", 2);
    connect_and_log_in(f, &peer);
    snprintf(command, sizeof command, "a APPEND INBOX {%u+}\r\n", LONG_HEADER);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(&peer, cq_slice_of(message, LONG_HEADER), 50000);
    say(&peer, "\r\n", "a");
    say(&peer, "b SELECT INBOX\r\n", "b");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char tag[2] = {rows[i].command[0], 0};
        talk(&peer, rows[i].command, tag, &out);
        size_t tail = out.len < 300 ? out.len : 300;
        cq_buf_byte(&out, 0);
        if (!strstr((const char *)out.data + out.len - 1 - tail, rows[i].want))
            fail_msg("%s: %s", rows[i].want, out.data + out.len - 1 - tail);
        cq_buf_fini(&out);
    }
    imap_peer_close(&peer);
    free(message);
}

static void a_client_that_goes_in_the_middle_leaves_nothing(void **state)
{
    struct imap_fixture *f = *state;
    struct imap_peer peer;
    struct cq_slice message = big_message();
    char command[100];
    connect_and_log_in(f, &peer);
    snprintf(command, sizeof command, "a APPEND INBOX {%u+}\r\n", BIG);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(&peer, cq_slice_sub(message, 0, BIG / 2), 50000);
    imap_peer_close(&peer);

    connect_and_log_in(f, &peer);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    imap_peer_send(&peer, message, 50000);
    say(&peer, "\r\n", "a");
    say(&peer, "b SELECT INBOX\r\n", "b");
    imap_peer_send(&peer, CQ_SLICE("c FETCH 1 BODY.PEEK[]\r\n"), SIZE_MAX);
    imap_fixture_settle(f);
    imap_peer_close(&peer);
    assert_int_equal(imap_service_sessions(f->service), 0);
    free((void *)(uintptr_t)message.data);
}

/* ---- Many messages ---- */

static void fill(struct imap_fixture *f, uint32_t count)
{
    struct mail_mailbox_list list;
    struct mail_appended appended;
    struct cq_err err = {0};
    struct cq_pool *pool = cq_pool_new(4096);
    struct cq_buf summary;
    struct cq_slice message = CQ_SLICE("From: a@example.test\r\nSubject: one of many\r\n\r\nbody\r\n");
    static struct mail_new_message messages[1000];
    uint64_t inbox = 0;
    cq_buf_init(&summary, MAIL_SUMMARY_MAX);
    mail_summary_of(message, &summary);
    assert_int_equal(mailstore_list(f->store, &f->account, pool, &list, &err), CQ_OK);
    for (size_t i = 0; i < list.count; i++)
        if (list.mailboxes[i].use == MAIL_USE_INBOX)
            inbox = list.mailboxes[i].id;
    for (size_t i = 0; i < 1000; i++)
        messages[i] = (struct mail_new_message){
            .internal_date = 1767225600 + (int64_t)i,
            .flags = i % 10 == 0 ? MAIL_SEEN : 0,
            .summary = cq_buf_slice(&summary),
            .octets = &message,
            .octet_count = 1,
        };
    for (uint32_t done = 0; done < count; done += 1000)
        assert_int_equal(mailstore_append(f->store, &f->account, inbox, messages, 1000, &appended, &err), CQ_OK);
    cq_buf_fini(&summary);
    cq_pool_free(&pool);
}

static size_t count_lines(const struct cq_buf *out, const char *with)
{
    size_t n = 0;
    struct cq_slice rest = cq_buf_slice(out);
    while (rest.len) {
        struct cq_slice line = cq_slice_cut(&rest, '\n');
        n += memmem(line.data, line.len, with, strlen(with)) != NULL;
    }
    return n;
}

static struct cq_buf timed(struct imap_peer *peer, const char *command, const char *tag)
{
    struct cq_buf out;
    uint64_t start = cq_time_mono_us();
    talk(peer, command, tag, &out);
    print_message("%-44.*s %6llu ms, %zu KiB\n", (int)strlen(command) - 2, command,
                  (unsigned long long)((cq_time_mono_us() - start) / 1000), out.len >> 10);
    return out;
}

static void check_lines(struct imap_peer *peer, const char *command, const char *tag, const char *with, size_t want)
{
    struct cq_buf out = timed(peer, command, tag);
    assert_int_equal(count_lines(&out, with), want);
    cq_buf_fini(&out);
}

static void a_large_mailbox_is_selected_searched_and_expunged(void **state)
{
    struct imap_fixture *f = *state;
    struct imap_peer peer, other;
    fill(f, MESSAGES);
    connect_and_log_in(f, &peer);
    connect_and_log_in(f, &other);
    check_lines(&peer, "a SELECT INBOX\r\n", "a", " EXISTS", 1);
    check_lines(&other, "a SELECT INBOX\r\n", "a", " EXISTS", 1);
    check_lines(&peer, "b FETCH 1:* (UID FLAGS)\r\n", "b", " FETCH (", MESSAGES);
    check_lines(&peer, "b2 FETCH 1:* (ENVELOPE)\r\n", "b2", "one of many", MESSAGES);
    struct cq_buf out = timed(&peer, "c SEARCH UNSEEN\r\n", "c");
    size_t numbers = 0;
    for (size_t i = 0; i < out.len && out.data[i] != '\r'; i++)
        numbers += out.data[i] == ' ';
    assert_int_equal(numbers, MESSAGES - MESSAGES / 10 + 1);
    cq_buf_fini(&out);
    check_lines(&peer, "d UID SEARCH SUBJECT nothing\r\n", "d", "* SEARCH\r", 1);
    check_lines(&peer, "d2 UID SEARCH UID 1:3 BODY body\r\n", "d2", "* SEARCH 1 2 3\r", 1);
    check_lines(&peer, "e STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n", "e", "e OK", 1);
    check_lines(&peer, "f EXPUNGE\r\n", "f", " EXPUNGE\r", MESSAGES);
    check_lines(&other, "g NOOP\r\n", "g", " EXPUNGE\r", MESSAGES);
    check_lines(&peer, "h STATUS INBOX (MESSAGES)\r\n", "h", "(MESSAGES 0)", 1);
    imap_peer_close(&peer);
    imap_peer_close(&other);
}

/* More than one log entry takes: all at once for both sessions, one COPYUID. */
#define MOVED 12000

static void a_large_copy_move_and_rename_of_inbox_are_one_command_each(void **state)
{
    struct imap_fixture *f = *state;
    struct imap_peer peer, other;
    fill(f, MOVED);
    connect_and_log_in(f, &peer);
    connect_and_log_in(f, &other);
    check_lines(&peer, "a SELECT INBOX\r\n", "a", " EXISTS", 1);
    check_lines(&other, "a SELECT INBOX\r\n", "a", " EXISTS", 1);
    check_lines(&peer, "b COPY 1:* Archive\r\n", "b", " 1:12000 1:12000] ", 1);
    check_lines(&other, "b NOOP\r\n", "b", "*", 0);
    check_lines(&peer, "c STATUS Archive (MESSAGES UIDNEXT)\r\n", "c", "(MESSAGES 12000 UIDNEXT 12001)", 1);
    struct cq_buf out = timed(&peer, "d MOVE 1:* Archive\r\n", "d");
    assert_int_equal(count_lines(&out, " 1:12000 12001:24000] "), 1);
    assert_int_equal(count_lines(&out, " EXPUNGE\r"), MOVED);
    cq_buf_fini(&out);
    check_lines(&other, "d NOOP\r\n", "d", " EXPUNGE\r", MOVED);
    check_lines(&other, "e STATUS Archive (MESSAGES UIDNEXT)\r\n", "e", "(MESSAGES 24000 UIDNEXT 24001)", 1);
    fill(f, MOVED);
    check_lines(&other, "f NOOP\r\n", "f", "* 12000 EXISTS", 1);
    check_lines(&peer, "g RENAME INBOX old/mail\r\n", "g", "g OK", 1);
    check_lines(&other, "h NOOP\r\n", "h", " EXPUNGE\r", MOVED);
    check_lines(&peer, "i STATUS old/mail (MESSAGES)\r\n", "i", "(MESSAGES 12000)", 1);
    check_lines(&peer, "j STATUS INBOX (MESSAGES UIDNEXT)\r\n", "j", "(MESSAGES 0 UIDNEXT 24001)", 1);
    imap_peer_close(&peer);
    imap_peer_close(&other);
}

/* ---- Many sessions ---- */

#define IDLERS 100

static void an_idle_session_is_small(void **state)
{
    struct imap_fixture *f = *state;
    static struct imap_peer peers[IDLERS];
    fill(f, 5000);
    size_t before = 0;
    for (size_t i = 0; i < IDLERS; i++) {
        if (i == 10) /* what is made once is made by now */
            before = mallinfo2().uordblks;
        connect_and_log_in(f, &peers[i]);
        say(&peers[i], "a SELECT INBOX\r\n", "a");
        say(&peers[i], "b FETCH 1:500 (FLAGS UID INTERNALDATE)\r\n", "b");
        struct cq_pool *pool = cq_pool_new(256);
        struct cq_slice line;
        imap_peer_send(&peers[i], CQ_SLICE("c IDLE\r\n"), SIZE_MAX);
        assert_true(imap_peer_line(&peers[i], pool, &line));
        cq_pool_free(&pool);
        cq_buf_fini(&peers[i].in);
    }
    size_t each = (mallinfo2().uordblks - before) / (IDLERS - 10);
    print_message("an idling session of 5000 messages: %zu bytes of heap, connection and watch included\n", each);
#ifndef __SANITIZE_ADDRESS__
    assert_true(each < 8192);
#endif
    for (size_t i = 0; i < IDLERS; i++)
        imap_peer_close(&peers[i]);
}

int main(void)
{
    cq_log_set_level(CQ_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_big_message_goes_in_and_out_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_made_of_a_long_header_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_goes_in_the_middle_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_mailbox_is_selected_searched_and_expunged, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_copy_move_and_rename_of_inbox_are_one_command_each, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_session_is_small, setup, teardown),
    };
    return cmocka_run_group_tests_name("imap_large", tests, NULL, NULL);
}
