/* What people type, and what chasquictl makes of it. */
#include "ctl.h"

#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 16

static struct ctl ctl;
static struct cq_err err;

static int setup(void **state)
{
    (void)state;
    ctl.pool = cq_pool_new(4096);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&ctl.pool);
    return 0;
}

/* Splits at spaces; '' is an empty word. */
static int split(const char *line, char **words)
{
    int count = 0;
    for (struct cq_slice rest = cq_slice_cstr(line); rest.len;) {
        struct cq_slice word = cq_slice_cut(&rest, ' ');
        words[count++] = cq_pool_cstr(ctl.pool, cq_slice_eq(word, CQ_SLICE("''")) ? CQ_SLICE_NONE : word);
    }
    return count;
}

static enum cq_rc parse(const char *line, struct ctl_request *request)
{
    char *words[WORDS_MAX];
    int count = split(line, words);
    cq_err_clear(&err);
    return ctl_parse(&ctl, count, words, request, &err);
}

/* The request as text: "account list domain=x state=y". */
static const char *shown(const struct ctl_request *request)
{
    struct cq_buf out;
    cq_buf_init(&out, 1024);
    cq_buf_cstr(&out, request->command->name);
    for (size_t i = 0; i < request->field_count; i++)
        cq_buf_printf(&out, " %s=%.*s", request->fields[i].name, CQ_SLICE_ARG(request->fields[i].value));
    const char *text = cq_pool_cstr(ctl.pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return text;
}

static void words_become_fields(void **state)
{
    (void)state;
    static const struct {
        const char *line, *fields;
    } cases[] = {
        {"account list", "account list"},
        {"account list a.test", "account list domain=a.test"},
        {"account list --state creating a.test", "account list state=creating domain=a.test"},
        {"account list --state=creating", "account list state=creating"},
        {"account set x@a.test --services ''", "account set address=x@a.test services="},
        {"account set x@a.test --services= --enabled no", "account set address=x@a.test services= enabled=no"},
        {"alias remove i@a.test", "alias remove alias=i@a.test"},
        {"alias remove i@a.test x@a.test", "alias remove alias=i@a.test account=x@a.test"},
        {"cluster init a:1 b:2 c:3 --shards 8", "cluster init address=a:1 address=b:2 address=c:3 shards=8"},
        {"account show -- --strange", "account show address=--strange"},
        {"session kick 01ABC", "session kick who=01ABC"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ctl_request request;
        if (parse(cases[i].line, &request) != CQ_OK)
            fail_msg("%s: %s", cases[i].line, err.text);
        assert_string_equal(shown(&request), cases[i].fields);
    }
}

static void mistakes_are_told_with_what_to_write_instead(void **state)
{
    (void)state;
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"acount list", "did you mean \"account list\"?"},
        {"accounts list", "did you mean \"account list\"?"},
        {"account", "needs one of add, list, show, set, password, remove"},
        {"account ad", "has no command \"ad\", but add, list"},
        {"xyzzy", "see chasquictl --help"},
        {"account show", "account show needs address: its address"},
        {"account show a b", "takes no further word \"b\""},
        {"account list --stat x", "has no option --stat; see chasquictl account list --help"},
        {"account list --state", "--state takes a value"},
        {"account add x@a.test --password secret", "(--password-stdin)"},
        {"account add x@a.test --password=secret", "(--password-stdin)"},
        {"cluster init", "needs address"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ctl_request request;
        assert_int_equal(parse(cases[i].line, &request), CQ_E_INVALID);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].line, err.text, cases[i].text);
    }
}

static void global_options_are_found_anywhere_before_two_dashes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *left, *config, *output;
    } cases[] = {
        {"account list", "account list", NULL, NULL},
        {"account list -o json", "account list", NULL, "json"},
        {"account list --output json a.test", "account list a.test", NULL, "json"},
        {"account list --output=json", "account list", NULL, "json"},
        {"account -c /x list --config=/y", "account list", "/y", NULL},
        {"account show -- -o", "account show -- -o", NULL, NULL},
        {"account list -o", "account list -o", NULL, NULL}, /* no value: left for the complaint */
        {"account list --outputs=x", "account list --outputs=x", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *words[WORDS_MAX];
        const char *config = NULL, *output = NULL;
        char left[256] = "";
        int count = ctl_take_options(split(cases[i].line, words), words, &config, &output);
        for (int w = 0; w < count; w++)
            snprintf(left + strlen(left), sizeof left - strlen(left), "%s%s", w ? " " : "", words[w]);
        assert_string_equal(left, cases[i].left);
        assert_string_equal(config ? config : "", cases[i].config ? cases[i].config : "");
        assert_string_equal(output ? output : "", cases[i].output ? cases[i].output : "");
    }
}

/* A command that the table has and the help or the manual does not would be found by nobody. */
static void every_command_has_its_help_and_its_place_in_the_manual(void **state)
{
    (void)state;
    struct cq_buf man;
    cq_buf_init(&man, 1u << 20);
    ctl_man(&man, NULL, 0);
    for (size_t i = 0; i < admin_command_count; i++) {
        const struct admin_command *command = &admin_commands[i];
        struct cq_buf help;
        cq_buf_init(&help, 1u << 16);
        ctl_help_command(&help, command);
        cq_buf_byte(&help, '\0');
        assert_true(help.len > 0 && command->help && command->help[0]);
        for (size_t p = 0; p < admin_param_count(command); p++) {
            assert_true(command->params[p].help && command->params[p].help[0]);
            assert_non_null(strstr((const char *)help.data, command->params[p].name));
        }
        assert_true(command->octets || admin_column_count(command) > 0);
        cq_buf_fini(&help);
    }
    cq_buf_byte(&man, '\0');
    assert_non_null(strstr((const char *)man.data, ".SS account add <address> [\\-\\-password\\-stdin]"));
    for (size_t i = 0; i < ctl_exit_count; i++)
        assert_non_null(ctl_exit_texts[i]);
    cq_buf_fini(&man);
}

static void results_become_exit_statuses(void **state)
{
    (void)state;
    static const struct {
        enum rpc_fate fate;
        enum cq_rc rc;
        enum ctl_exit status;
    } cases[] = {
        {RPC_ANSWERED, CQ_OK, CTL_DONE},
        {RPC_ANSWERED, CQ_E_EXISTS, CTL_REFUSED},
        {RPC_ANSWERED, CQ_E_NOT_FOUND, CTL_REFUSED},
        {RPC_ANSWERED, CQ_E_UNAVAILABLE, CTL_LATER},
        {RPC_ANSWERED, CQ_E_OVERLOADED, CTL_LATER},
        {RPC_ANSWERED, CQ_E_UNKNOWN_OUTCOME, CTL_UNKNOWN},
        {RPC_NOT_SENT, CQ_E_UNAVAILABLE, CTL_UNREACHABLE},
        {RPC_SENT, CQ_E_IO, CTL_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ctl_exit_of(cases[i].fate, cases[i].rc), cases[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words_become_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_told_with_what_to_write_instead, setup, teardown),
        cmocka_unit_test_setup_teardown(global_options_are_found_anywhere_before_two_dashes, setup, teardown),
        cmocka_unit_test_setup_teardown(every_command_has_its_help_and_its_place_in_the_manual, setup, teardown),
        cmocka_unit_test_setup_teardown(results_become_exit_statuses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
