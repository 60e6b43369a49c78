/* SELECT: one read where the node knows names, and the same answer where it does not. */
#include "support/imap_fixture.h"

#include "unit/cq_cmocka.h"

#include <proto/mail.pb-c.h>
#include <stdio.h>
#include <string.h>

static struct imap_fixture *f;
static struct imap_peer peer;
static unsigned calls;

static void say(const char *command, const char *tag, struct cq_buf *out)
{
    cq_buf_init(out, 1u << 20);
    imap_peer_send(&peer, cq_slice_cstr(command), SIZE_MAX);
    assert_true(imap_peer_until(&peer, tag, out));
}

static bool says(const char *command, const char *tag, const char *words)
{
    struct cq_buf out;
    say(command, tag, &out);
    bool found = memmem(out.data, out.len, words, strlen(words));
    cq_buf_fini(&out);
    return found;
}

static int setup(void **state)
{
    (void)state;
    f = imap_fixture_new();
    imap_fixture_deliver(f, CQ_SLICE("Subject: a\r\n\r\nx\r\n"));
    imap_peer_connect(f, &peer);
    assert_true(says("l LOGIN ana secret\r\n", "l", "l OK"));
    assert_true(says("s SELECT INBOX\r\n", "s", "* 1 RECENT")); /* claims it: a call more */
    calls = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    f->before_call = NULL;
    imap_peer_close(&peer);
    imap_fixture_free(&f);
    return 0;
}

static void count(void *arg)
{
    (void)arg;
    calls++;
}

/* As a node of an older build does. */
static void know_no_names(void *arg)
{
    (void)arg;
    f->fault_method = CHASQUI__MAIL__METHOD__OPEN_MAILBOX;
    f->fault = calls++ == 0 ? CQ_E_NO_MAILBOX : CQ_OK;
}

static void a_mailbox_is_selected_by_one_read(void **state)
{
    (void)state;
    f->before_call = count;
    assert_true(says("a SELECT inbox\r\n", "a", "a OK [READ-WRITE]"));
    assert_int_equal(calls, 1);
    assert_true(says("b EXAMINE INBOX\r\n", "b", "b OK [READ-ONLY]"));
    assert_int_equal(calls, 2);
}

static void a_node_that_knows_no_names_opens_it_all_the_same(void **state)
{
    (void)state;
    struct cq_buf by_name, by_id;
    say("a SELECT INBOX\r\n", "a", &by_name);
    f->before_call = know_no_names;
    say("a SELECT INBOX\r\n", "a", &by_id);
    f->before_call = NULL;
    assert_int_equal(calls, 3);
    assert_true(cq_slice_eq(cq_buf_slice(&by_name), cq_buf_slice(&by_id)));
    cq_buf_fini(&by_name);
    cq_buf_fini(&by_id);
}

static void a_mailbox_that_is_not_there_is_said_after_the_list_was_looked_at(void **state)
{
    (void)state;
    f->before_call = count;
    assert_true(says("a SELECT nothing\r\n", "a", "a NO [NONEXISTENT]"));
    assert_true(calls > 1);
    f->before_call = NULL;
    f->fault = CQ_E_UNAVAILABLE;
    f->fault_method = 0;
    assert_true(says("b SELECT nothing\r\n", "b", "b NO [UNAVAILABLE]"));
    f->fault = CQ_OK;
    assert_true(says("c FETCH 1 FLAGS\r\n", "c", "c BAD")); /* nothing is selected any more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_mailbox_is_selected_by_one_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_that_knows_no_names_opens_it_all_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mailbox_that_is_not_there_is_said_after_the_list_was_looked_at, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
