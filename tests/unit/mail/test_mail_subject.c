#include "mail/mail_msgid.h"
#include "mail/mail_subject.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *subject, *want;
    bool reply;
} SUBJECTS[] = {
    {"", "", false},
    {"hello", "hello", false},
    {"Re: hello", "hello", true},
    {"RE : hello", "hello", true},
    {"re:re: Fw: FWD: hello", "hello", true},
    {"Re[2]: hello", "hello", true},
    {"Re [2]: hello", "hello", true},
    {"[list] Re: [x] hello", "hello", true},
    {"[list] hello", "hello", false},
    {"[list]", "[list]", false},
    {"Re: [list]", "[list]", true},
    {"[a] [b]", "[b]", false},
    {"hello (fwd)", "hello", true},
    {"hello (FWD)  (fwd) ", "hello", true},
    {"[fwd: hello]", "hello", true},
    {"[Fwd: Re: hello (fwd)]", "hello", true},
    {"[fwd:[fwd:hello]]", "hello", true},
    {"  a \t b ", "a b", false},
    {"Regards: x", "Regards: x", false},
    {"Re", "Re", false},
    {"Re:", "", true},
    {"[unclosed", "[unclosed", false},
    {"[a[b]c", "[a[b]c", false},
    {"(fwd)", "", true},
};

static void the_base_subject_is_that_of_rfc_5256(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(SUBJECTS); i++) {
        struct cq_buf out;
        cq_buf_init(&out, 10000);
        bool reply = mail_base_subject(cq_slice_cstr(SUBJECTS[i].subject), &out);
        assert_row_text(i, text_of(&out), SUBJECTS[i].want);
        if (reply != SUBJECTS[i].reply)
            fail_msg("row %u: reply is %d", i, reply);
        cq_buf_fini(&out);
    }
}

static void a_long_subject_is_cut_between_characters(void **state)
{
    (void)state;
    for (unsigned pad = 0; pad < 4; pad++) {
        struct cq_buf in, out;
        cq_buf_init(&in, 100000);
        cq_buf_init(&out, 100000);
        cq_buf_add(&in, "xxxx", pad);
        for (unsigned i = 0; i < 2000; i++)
            cq_buf_cstr(&in, "\xe2\x82\xac");
        mail_base_subject(cq_buf_slice(&in), &out);
        assert_in_range(out.len, MAIL_SUBJECT_MAX - 6, MAIL_SUBJECT_MAX);
        assert_int_equal((out.len - pad) % 3, 0);
        cq_buf_fini(&in);
        cq_buf_fini(&out);
    }
}

static void message_ids_are_taken_one_by_one(void **state)
{
    (void)state;
    struct cq_slice rest = CQ_SLICE("<a@x>\r\n (comment) <b@y><> word <c <\"d\\\"e\"@z> <f g@h> <i"), id;
    struct cq_buf out;
    cq_buf_init(&out, 1000);
    while (mail_msgid_next(&rest, &id)) {
        cq_buf_byte(&out, '|');
        mail_msgid_write(id, &out);
    }
    assert_row_text(0, text_of(&out), "|a@x|b@y|d\"e@z|fg@h");
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_base_subject_is_that_of_rfc_5256),
        cmocka_unit_test(a_long_subject_is_cut_between_characters),
        cmocka_unit_test(message_ids_are_taken_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
