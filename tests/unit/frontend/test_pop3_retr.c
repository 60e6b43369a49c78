/* RETR of messages of several pieces: read ahead up to the limits; and whatever goes wrong meanwhile, no octet is
 * missing, doubled or made up, and nothing is left behind. */
#include "core/front_ahead.h"
#include "io/io_fiber.h"
#include "pop3/pop3_service.h"
#include "unit/cq_cmocka.h"
#include "unit/frontend/front_bench.h"

#include <proto/mail.pb-c.h>

#include <stdio.h>
#include <unistd.h>

static const struct pop3_service plain = {.idle_ms = 60000, .auth_without_tls = true};

#define LOGIN "C: USER ana@example.test", "S: +OK", "C: PASS " BENCH_PASSWORD, "S: +OK *"

#define SUBJECT "Subject: 64 octets with both line ends and the empty line..."
#define LINES 49999u
#define LINE_SIZE 64u /* with CRLF: 3.2 million octets with the header */
#define PIECES 7u
#define AHEAD (FRONT_AHEAD_MAX / MAIL_BODY_PIECE)

/* Every seventh begins with a dot. */
static void text_of_line(unsigned i, char text[static LINE_SIZE])
{
    snprintf(text, LINE_SIZE, "%s%07u %-*s", i % 7 ? "" : ".", i, (int)(LINE_SIZE - 2 - 8 - !(i % 7)),
             "of a large message");
}

static uint64_t append_large(struct front_bench *bench)
{
    struct mailstore_account account = {.id = bench->ana};
    struct cq_pool *pool = cq_pool_new(1000);
    struct mail_mailbox inbox;
    struct mail_appended appended;
    struct cq_err err = {0};
    struct cq_buf octets;
    cq_buf_init(&octets, 4u << 20);
    cq_buf_cstr(&octets, SUBJECT "\r\n\r\n");
    assert_int_equal(octets.len, LINE_SIZE);
    for (unsigned i = 0; i < LINES; i++) {
        char text[LINE_SIZE];
        text_of_line(i, text);
        cq_buf_printf(&octets, "%s\r\n", text);
    }
    assert_int_equal(octets.len / MAIL_BODY_PIECE, PIECES - 1);
    const struct cq_slice slice = cq_buf_slice(&octets);
    const struct mail_new_message message = {.octets = &slice, .octet_count = 1};
    assert_int_equal(mailstore_find(bench->worker.mailstore, &account, CQ_SLICE("INBOX"), pool, &inbox, &err), CQ_OK);
    assert_int_equal(mailstore_append(bench->worker.mailstore, &account, inbox.id, &message, 1, &appended, &err),
                     CQ_OK);
    cq_buf_fini(&octets);
    cq_pool_free(&pool);
    return inbox.id;
}

static void expunge_all(struct front_bench *bench, uint64_t mailbox)
{
    struct mailstore_account account = {.id = bench->ana};
    struct cq_pool *pool = cq_pool_new(1000);
    struct uid_range all = {1, 1000};
    const struct uidset uids = {&all, 1};
    const struct mail_store store = {.mailbox = mailbox, .uids = &uids, .mode = MAIL_STORE_ADD, .flags = MAIL_DELETED};
    struct cq_err err = {0};
    uint64_t modseq;
    struct uidset gone;
    assert_int_equal(mailstore_store(bench->worker.mailstore, &account, &store, pool, &gone, &modseq, &err), CQ_OK);
    assert_int_equal(mailstore_expunge(bench->worker.mailstore, &account, mailbox, NULL, pool, &gone, &err), CQ_OK);
    cq_pool_free(&pool);
}

/* ---- The store as the sessions see it ---- */

static struct {
    unsigned reads;          /* so far */
    unsigned good;           /* reads before the first that fails or hangs */
    enum cq_rc rc;           /* of the others; CQ_OK: they hang until they are cancelled */
    unsigned hanging, ended; /* by a cancel */
} seen;

static void hang(void)
{
    seen.hanging++;
    while (io_fiber_park(IO_NO_DEADLINE) == CQ_OK)
        ;
    seen.hanging--;
    seen.ended++;
}

static enum cq_rc look(void *ctx, const struct mailstore_call *call, bool applied)
{
    (void)ctx;
    if (applied || call->method != CHASQUI__MAIL__METHOD__READ_BODY || seen.reads++ < seen.good)
        return CQ_OK;
    if (seen.rc == CQ_OK)
        hang();
    return seen.rc == CQ_OK ? CQ_E_CANCELLED : seen.rc;
}

/* Ana is logged in; her INBOX has the large message alone. `good` and `rc`: of the reads from now on. */
static uint64_t begin(struct front_bench *bench, struct bench_client *c, unsigned good, enum cq_rc rc)
{
    uint64_t inbox = append_large(bench);
    pop3_session_start(&bench->worker, &plain, bench_connect(bench, c));
    TALK(c, "S: +OK mx.example.test POP3 *", LOGIN);
    memset(&seen, 0, sizeof seen);
    seen.good = good;
    seen.rc = rc;
    mailstore_local_set_fault(bench->local, look, NULL);
    return inbox;
}

static void end(struct front_bench *bench, uint64_t inbox)
{
    mailstore_local_set_fault(bench->local, NULL, NULL);
    expunge_all(bench, inbox);
}

/* Says RETR and does not read. */
static void ask(struct front_bench *bench, struct bench_client *c)
{
    assert_int_equal(write(c->fd, "RETR 1\r\n", 8), 8);
    for (int i = 0; i < 1000; i++)
        io_loop_turn(bench->worker.loop, false);
}

static void goes(struct front_bench *bench, struct bench_client *c)
{
    close(c->fd);
    for (int i = 0; i < 1000; i++)
        io_loop_turn(bench->worker.loop, false);
    cq_buf_fini(&c->got);
    assert_true(cq_list_empty(&bench->worker.sessions));
}

/* ---- */

static void a_large_message_comes_whole_and_each_piece_is_read_once(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    uint64_t inbox = begin(bench, &c, UINT32_MAX, CQ_OK);
    for (int round = 0; round < 2; round++) {
        TALK(&c, "C: RETR 1", "S: +OK 3200000 octets", "S: " SUBJECT, "S:");
        for (unsigned i = 0; i < LINES; i++) {
            char line[LINE_SIZE + 8] = "S: .";
            text_of_line(i, line + (i % 7 ? 3 : 4));
            TALK(&c, line);
        }
        TALK(&c, "S: .");
    }
    assert_int_equal(seen.reads, 2 * PIECES);
    assert_int_equal(bench->worker.ahead_octets, 0);
    end(bench, inbox); /* by another session */
    TALK(&c, "C: RETR 1", "S: -ERR *", "C: NOOP", "S: +OK*");
    bench_disconnect(&c);
}

static void top_reads_no_more_than_it_needs(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c;
    uint64_t inbox = begin(bench, &c, UINT32_MAX, CQ_OK);
    TALK(&c, "C: TOP 1 0", "S: +OK *", "S: " SUBJECT, "S:", "S: .");
    assert_int_equal(seen.reads, 1);
    TALK(&c, "C: TOP 1 100000", "S: +OK *", "S: " SUBJECT, "S+ .");
    assert_int_equal(seen.reads, 1 + PIECES);
    bench_disconnect(&c);
    end(bench, inbox);
}

static void a_worker_reads_ahead_as_far_as_its_limits_allow(void **state)
{
    struct front_bench *bench = *state;
    static const struct {
        size_t others; /* octets that other sessions have asked for */
        unsigned reads;
    } rows[] = {{0, AHEAD},
                {FRONT_AHEAD_WORKER_MAX - AHEAD * MAIL_BODY_PIECE, AHEAD},
                {FRONT_AHEAD_WORKER_MAX - AHEAD * MAIL_BODY_PIECE + 1, AHEAD - 1},
                {FRONT_AHEAD_WORKER_MAX - MAIL_BODY_PIECE, 1},
                {FRONT_AHEAD_WORKER_MAX, 1},
                {FRONT_AHEAD_WORKER_MAX + MAIL_BODY_PIECE, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench_client c;
        uint64_t inbox = begin(bench, &c, UINT32_MAX, CQ_OK);
        bench->worker.ahead_octets = rows[i].others;
        ask(bench, &c);
        assert_int_equal(seen.reads, rows[i].reads);
        TALK(&c, "S: +OK 3200000 octets", "S+ .");
        assert_int_equal(seen.reads, PIECES);
        assert_int_equal(bench->worker.ahead_octets, rows[i].others);
        bench->worker.ahead_octets = 0;
        bench_disconnect(&c);
        end(bench, inbox);
    }
}

static void others_are_answered_while_a_client_does_not_read(void **state)
{
    struct front_bench *bench = *state;
    struct bench_client c, other;
    uint64_t inbox = begin(bench, &c, UINT32_MAX, CQ_OK);
    ask(bench, &c);
    pop3_session_start(&bench->worker, &plain, bench_connect(bench, &other));
    TALK(&other, "S: +OK *", LOGIN, "C: RETR 1", "S: +OK 3200000 octets", "S+ .", "C: QUIT", "S: +OK *", "S.");
    close(other.fd);
    cq_buf_fini(&other.got);
    assert_int_equal(seen.reads, AHEAD + PIECES);
    goes(bench, &c);
    assert_int_equal(bench->worker.ahead_octets, 0);
    end(bench, inbox);
}

static void an_error_in_the_first_piece_is_told_and_in_a_later_one_closes_the_connection(void **state)
{
    struct front_bench *bench = *state;
    static const enum cq_rc rcs[] = {CQ_E_CORRUPT, CQ_E_NOT_FOUND, CQ_E_UNAVAILABLE};
    for (unsigned i = 0; i < 3 * PIECES; i++) {
        struct bench_client c;
        unsigned good = i / 3;
        uint64_t inbox = begin(bench, &c, good, rcs[i % 3]);
        TALK(&c, "C: RETR 1");
        if (good == 0) {
            TALK(&c, "S: -ERR *", "C: NOOP", "S: +OK*");
        } else {
            unsigned lines = (unsigned)(good * MAIL_BODY_PIECE / LINE_SIZE); /* a piece ends where a line ends */
            TALK(&c, "S: +OK 3200000 octets", "S: " SUBJECT);
            for (unsigned n = 0; n < lines; n++)
                TALK(&c, "S: *");
            TALK(&c, "S.");
        }
        bench_disconnect(&c);
        assert_int_equal(bench->worker.ahead_octets, 0);
        end(bench, inbox);
    }
}

static void a_client_that_goes_leaves_nothing(void **state)
{
    struct front_bench *bench = *state;
    for (unsigned good = 1; good <= AHEAD; good++) { /* the others are under way */
        struct bench_client c;
        uint64_t inbox = begin(bench, &c, good, CQ_OK);
        ask(bench, &c);
        assert_int_equal(seen.hanging, AHEAD - good);
        goes(bench, &c);
        assert_int_equal(seen.hanging, 0);
        assert_int_equal(seen.ended, AHEAD - good);
        assert_int_equal(bench->worker.ahead_octets, 0);
        end(bench, inbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_message_comes_whole_and_each_piece_is_read_once),
        cmocka_unit_test(top_reads_no_more_than_it_needs),
        cmocka_unit_test(a_worker_reads_ahead_as_far_as_its_limits_allow),
        cmocka_unit_test(others_are_answered_while_a_client_does_not_read),
        cmocka_unit_test(an_error_in_the_first_piece_is_told_and_in_a_later_one_closes_the_connection),
        cmocka_unit_test(a_client_that_goes_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
