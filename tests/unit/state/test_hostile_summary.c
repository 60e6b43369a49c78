/* From a message's octets over its summary into the state and back: no legal message is refused for its summary. */
#include "unit/cq_cmocka.h"
#include "support/mailstore_local.h"

#include "base/cq_mem.h"
#include "base/cq_pool.h"
#include "mail/mail_build.h"
#include "state/state_limits.h"

#include <stdio.h>
#include <stdlib.h>

#define ACCOUNT UINT64_C(0x1234000000000001)
#define INBOX 1
#define MESSAGE_MAX (50u << 20) /* the default limit of the front-ends */

struct fixture {
    struct mailstore_local *local;
    struct mailstore *store;
    struct mailstore_account account;
    struct cq_pool *pool;
    struct cq_buf message, summary;
    struct cq_err err;
};

static int setup(void **state)
{
    struct fixture *f = cq_new(struct fixture);
    struct mail_limits limits = {.directory_version = 1};
    f->local = mailstore_local_new();
    f->store = mailstore_new(mailstore_local_transport(f->local), (const uint8_t *)"client of a test", 60000);
    f->account.id = ACCOUNT;
    f->pool = cq_pool_new(8192);
    cq_buf_init(&f->message, MESSAGE_MAX);
    cq_buf_init(&f->summary, MAIL_SUMMARY_MAX);
    assert_int_equal(mailstore_create_account(f->store, &f->account, &limits, CQ_SLICE("ana@example.test"), &f->err),
                     CQ_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mailstore_free(&f->store);
    mailstore_local_free(&f->local);
    cq_pool_free(&f->pool);
    cq_buf_fini(&f->message);
    cq_buf_fini(&f->summary);
    free(f);
    return 0;
}

/* ---- messages ---- */

static void put(struct fixture *f, const char *text)
{
    cq_buf_cstr(&f->message, text);
}

static void put_many(struct fixture *f, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(f, text);
}

/* The rest of the 50 MiB. */
static void fill_up(struct fixture *f)
{
    static const char line[] = "fifty octets of a body that nobody looks into...\r\n";
    while (f->message.len + sizeof line <= MESSAGE_MAX)
        cq_buf_add(&f->message, line, sizeof line - 1);
}

/* Names of parts that BODYSTRUCTURE shows twice: as they came, and decoded for sessions with UTF-8. */
static void parts_with_names(struct fixture *f, size_t count)
{
    put(f, "From: a@example.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (size_t i = 0; i < count; i++)
        put(f, "--b\r\nContent-Type: text/plain;\r\n "
               "name*=utf-8''%E2%82%AC%E2%82%AC%E2%82%AC%E2%82%AC%E2%82%AC%E2%82%AC\r\n"
               "Content-Description: =?utf-8?q?=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC?=\r\n\r\nx\r\n");
    put(f, "--b--\r\n");
}

static void write_a_thousand_parts(struct fixture *f)
{
    parts_with_names(f, 1000);
}

static void write_ten_thousand_parts(struct fixture *f)
{
    parts_with_names(f, 10000);
}

static void write_huge_headers(struct fixture *f)
{
    static const char *const lists[] = {"From", "Sender", "Reply-To", "To", "Cc", "Bcc"};
    put(f, "Subject: =?utf-8?q?");
    put_many(f, "=E2=82=AC", 100000);
    put(f, "?=\r\n");
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        put(f, lists[i]);
        put(f, ": ");
        put_many(f, "=?utf-8?q?=E2=82=AC=E2=82=AC?= <somebody@example.test>,\r\n ", 12000);
        put(f, "last@example.test\r\n");
    }
    put(f, "References: ");
    put_many(f, "<one.of.a.thousand.references@example.test>\r\n ", 1000);
    put(f, "<last@example.test>\r\n");
    put_many(f, "X-Other: field\r\n", 20000);
    put(f, "\r\nbody\r\n");
}

/* Both shares full: addresses in ENVELOPE, names in BODYSTRUCTURE. */
static void write_headers_and_parts(struct fixture *f)
{
    put(f, "To: ");
    put_many(f, "=?utf-8?q?=E2=82=AC?= <somebody@example.test>,\r\n ", 1500);
    put(f, "last@example.test\r\n");
    parts_with_names(f, 1200);
}

static void write_deep_nesting(struct fixture *f)
{
    for (size_t i = 0; i < 2000; i++) {
        char part[160];
        snprintf(part, sizeof part, "Content-Type: multipart/mixed; boundary=b%zu\r\n\r\n--b%zu\r\n", i, i);
        put(f, part);
    }
}

/* ---- the way ---- */

static void append(struct fixture *f)
{
    static uint8_t next;
    uint8_t id[16] = {++next};
    struct mail_stage stage;
    struct mail_appended appended;
    mailstore_stage_init(&stage, id);
    for (struct cq_slice rest = cq_buf_slice(&f->message); rest.len;) {
        struct cq_slice piece =
            cq_slice_sub(rest, 0, MAIL_STAGE_PIECE_MAX < rest.len ? MAIL_STAGE_PIECE_MAX : rest.len);
        assert_int_equal(mailstore_stage(f->store, &f->account, &stage, &piece, 1, &f->err), CQ_OK);
        rest = cq_slice_skip(rest, piece.len);
    }
    struct mail_new_message message = {.stage = &stage, .summary = cq_buf_slice(&f->summary)};
    assert_int_equal(mailstore_append(f->store, &f->account, INBOX, &message, 1, &appended, &f->err), CQ_OK);
}

static void expect_summary(struct fixture *f, uint32_t uid)
{
    struct uid_range range = {uid, uid};
    struct mail_records records;
    struct fetch_record record;
    struct mail_summary view;
    assert_int_equal(
        mailstore_fetch(f->store, &f->account, INBOX, &(struct uidset){&range, 1}, true, f->pool, &records, &f->err),
        CQ_OK);
    assert_int_equal(fetch_record_next(&records.records, &record), CQ_OK);
    assert_true(cq_slice_eq(record.summary, cq_buf_slice(&f->summary)));
    assert_int_equal(mail_summary_open(record.summary, &view, &f->err), CQ_OK);
    assert_int_equal(view.size, f->message.len);
    assert_int_equal(view.size, record.size);
}

static void no_legal_message_is_refused_for_its_summary(void **state)
{
    struct fixture *f = *state;
    static const struct {
        void (*write)(struct fixture *f);
        size_t at_least; /* octets of the summary: what the case is for */
    } cases[] = {
        {write_a_thousand_parts, 150u << 10},  {write_ten_thousand_parts, 0}, {write_huge_headers, 100u << 10},
        {write_headers_and_parts, 280u << 10}, {write_deep_nesting, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f->message.len = f->summary.len = 0;
        cases[i].write(f);
        fill_up(f);
        assert_true(cq_buf_ok(&f->message));
        mail_summary_of(cq_buf_slice(&f->message), &f->summary);
        print_message("case %zu: summary of %zu octets\n", i, f->summary.len);
        assert_true(f->summary.len >= cases[i].at_least);
        append(f);
        expect_summary(f, (uint32_t)i + 1);
    }
}

/* Both edges, with any octets: what the state takes is what a front-end may make. */
static void a_summary_has_at_most_512_kibibytes(void **state)
{
    struct fixture *f = *state;
    static uint8_t octets[MAIL_SUMMARY_MAX + 1];
    struct mail_new_message message = {.summary = {octets, MAIL_SUMMARY_MAX}};
    struct mail_delivery delivery = {.recipient = CQ_SLICE("ana@example.test")};
    struct mail_appended appended;
    bool absorbed;
    assert_int_equal(MAIL_SUMMARY_MAX, STATE_SUMMARY_MAX);
    assert_int_equal(mailstore_append(f->store, &f->account, INBOX, &message, 1, &appended, &f->err), CQ_OK);
    assert_int_equal(mailstore_deliver(f->store, &f->account, &message, &delivery, &absorbed, &f->err), CQ_OK);
    message.summary.len++;
    assert_int_equal(mailstore_append(f->store, &f->account, INBOX, &message, 1, &appended, &f->err), CQ_E_TOO_BIG);
    assert_int_equal(mailstore_deliver(f->store, &f->account, &message, &delivery, &absorbed, &f->err), CQ_E_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_legal_message_is_refused_for_its_summary, setup, teardown),
        cmocka_unit_test_setup_teardown(a_summary_has_at_most_512_kibibytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
