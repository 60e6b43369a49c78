#include "base/cq_config.h"

#include "base/cq_args.h"
#include "base/cq_log.h"
#include "base/cq_yaml.h"
#include "unit/cq_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct listener {
    const char *address;
    int64_t port;
    bool tls;
};

struct config {
    const char *node;
    int64_t workers;
    int64_t offset;
    uint64_t size;
    uint64_t idle_us;
    bool on;
    const char *cert;
    int mode;
    struct cq_strings peers;
    struct cq_maps listeners;
};

static const char *const modes[] = {"slow", "fast", NULL};

static const struct cq_setting listener_rows[] = {
    CQ_SET_STRING(struct listener, address, "address", "127.0.0.1", "Where."),
    CQ_SET_INT(struct listener, port, "port", NULL, 1, 65535, NULL, "Port."),
    CQ_SET_BOOL(struct listener, tls, "tls", "false", "TLS from the first byte."),
};

static const struct cq_setting rows[] = {
    CQ_SET_STRING(struct config, node, "node.name", NULL, "Name of this node."),
    CQ_SET_INT(struct config, workers, "workers", "2", 1, 256, "threads", "Threads."),
    CQ_SET_INT(struct config, offset, "offset", "0", -10, 10, NULL, "Offset."),
    CQ_SET_SIZE(struct config, size, "smtp.mx.size_max", "50MiB", "1KiB", "1GiB", "Size."),
    CQ_SET_DURATION(struct config, idle_us, "smtp.mx.idle", "5m", "1s", "1h", "Idle."),
    CQ_SET_BOOL(struct config, on, "smtp.on", "true", "On."),
    CQ_SET_PATH(struct config, cert, "tls.certificate", "", "Certificate."),
    CQ_SET_CHOICE(struct config, mode, "mode", "fast", modes, "Mode."),
    CQ_SET_STRINGS(struct config, peers, "peers", "a b", 3, "Peers."),
    CQ_SET_MAPS(struct config, listeners, "listeners", "", 2, struct listener, listener_rows, "Listeners."),
};

static struct config config;
static struct cq_log_config log_config;

static struct cq_pool *pool;
static struct cq_err err;

static int setup(void **state)
{
    (void)state;
    pool = cq_pool_new(4096);
    cq_err_clear(&err);
    memset(&config, 0x55, sizeof config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cq_pool_free(&pool);
    return 0;
}

static enum cq_rc parse(const char *text)
{
    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Test", rows, &config), cq_log_config_part(&log_config)};
    return cq_config_parse(parts, 2, "/etc/chasqui/t.yaml", cq_slice_cstr(text), pool, &err);
}

static void defaults_hold_where_the_file_is_silent(void **state)
{
    (void)state;
    assert_int_equal(parse("node: {name: n1}\n"), CQ_OK);
    assert_string_equal(config.node, "n1");
    assert_int_equal(config.workers, 2);
    assert_int_equal(config.offset, 0);
    assert_int_equal(config.size, 50u << 20);
    assert_int_equal(config.idle_us, 300 * 1000000);
    assert_true(config.on);
    assert_string_equal(config.cert, "");
    assert_int_equal(config.mode, 1);
    assert_int_equal(config.peers.count, 2);
    assert_string_equal(config.peers.items[1], "b");
    assert_int_equal(config.listeners.count, 0);
    assert_int_equal(log_config.level, CQ_INFO);
}

static void expect_full(void)
{
    assert_string_equal(config.node, "n 1");
    assert_int_equal(config.workers, 256);
    assert_int_equal(config.offset, -10);
    assert_int_equal(config.size, 1024);
    assert_int_equal(config.idle_us, 90 * 1000000);
    assert_false(config.on);
    assert_string_equal(config.cert, "/etc/chasqui/tls/cert.pem");
    assert_int_equal(config.mode, 0);
    assert_int_equal(config.peers.count, 3);
    assert_string_equal(config.peers.items[0], "h1:1");
    assert_string_equal(config.peers.items[2], "~");
    assert_int_equal(config.listeners.count, 2);
    const struct listener *l = config.listeners.items;
    assert_string_equal(l[0].address, "127.0.0.1");
    assert_int_equal(l[0].port, 25);
    assert_string_equal(l[1].address, "::1");
    assert_true(l[1].tls);
    assert_int_equal(log_config.level, CQ_DEBUG);
}

static const char full_yaml[] = "# a comment\n"
                                "node:\n  name: \"n 1\"\n"
                                "workers: 256\n"
                                "offset: -10\n"
                                "smtp:\n  mx:\n    size_max: 1KiB\n    idle: 90s\n  on: false\n"
                                "tls.certificate: tls/cert.pem\n"
                                "mode: slow\n"
                                "peers: [\"h1:1\", h2, \"~\"]\n"
                                "listeners:\n- port: 25\n- {address: \"::1\", port: 465, tls: true}\n"
                                "log: {level: debug}\n";

static void every_type_is_read(void **state)
{
    (void)state;
    assert_int_equal(parse(full_yaml), CQ_OK);
    expect_full();
}

static void json_is_read_as_well(void **state)
{
    (void)state;
    assert_int_equal(
        parse("{\"node\": {\"name\": \"n 1\"}, \"workers\": 256, \"offset\": -10, \"smtp\": {\"mx\": {\"size_max\": "
              "\"1KiB\", \"idle\": \"90s\"}, \"on\": false}, \"tls\": {\"certificate\": \"tls/cert.pem\"}, \"mode\": "
              "\"slow\", \"peers\": [\"h1:1\", \"h2\", \"~\"], \"listeners\": [{\"port\": 25}, {\"address\": "
              "\"::1\", \"port\": 465, \"tls\": true}], \"log\": {\"level\": \"debug\"}}"),
        CQ_OK);
    expect_full();
}

static void what_is_printed_loads_to_the_same_values(void **state)
{
    (void)state;
    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Test", rows, &config), cq_log_config_part(&log_config)};
    assert_int_equal(parse(full_yaml), CQ_OK);
    struct cq_buf out;
    cq_buf_init(&out, 65536);
    assert_true(cq_config_print(&out, parts, 2));
    cq_buf_byte(&out, '\0');
    memset(&config, 0, sizeof config);
    if (parse((const char *)out.data) != CQ_OK)
        fail_msg("%s in\n%s", err.text, (const char *)out.data);
    expect_full();
    assert_non_null(strstr((const char *)out.data, "smtp.mx.idle: 90s\n"));
    cq_buf_fini(&out);
}

static void each_mistake_is_told_with_line_key_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"node: {name: a}\nsmpt:\n  on: true\n", ":2: smpt: unknown key"},
        {"node: {name: a}\nsmtp:\n  mx:\n    size_mx: 1\n",
         ":4: smtp.mx.size_mx: unknown key; the nearest known one is \"smtp.mx.size_max\""},
        {"node: {name: a}\nwrokers: 1\n", ":2: wrokers: unknown key; the nearest known one is \"workers\""},
        {"node: {name: a}\nentirely_different: 1\n", ":2: entirely_different: unknown key"},
        {"workers: 3\n", ":1: node.name: is required and not given: Name of this node."},
        {"", ":1: node.name: is required and not given"},
        {"node: {name: a}\nworkers: 0\n",
         ":2: workers: \"0\" is wrong; allowed is a whole number from 1 to 256 threads"},
        {"node: {name: a}\nworkers: 257\n", ":2: workers: \"257\" is wrong"},
        {"node: {name: a}\nworkers: two\n", ":2: workers: \"two\" is wrong"},
        {"node: {name: a}\nworkers: [1]\n", ":2: workers: is a list; allowed is a whole number"},
        {"node: {name: a}\nworkers:\n", ": workers: has no value; allowed is a whole number"},
        {"node: {name: a}\noffset: -11\n", ":2: offset: \"-11\" is wrong"},
        {"node: {name: a}\noffset: 99999999999999999999\n", ":2: offset: \"99999999999999999999\" is wrong"},
        {"node: {name: a}\nsmtp: {on: yes}\n", ":2: smtp.on: \"yes\" is wrong; allowed is true or false"},
        {"node: {name: a}\nsmtp:\n  mx: {size_max: 1000}\n",
         ":3: smtp.mx.size_max: \"1000\" is wrong; allowed is a size"},
        {"node: {name: a}\nsmtp:\n  mx: {size_max: 2GiB}\n", "from 1KiB to 1GiB"},
        {"node: {name: a}\nsmtp:\n  mx: {size_max: 99999999999TiB}\n", "from 1KiB to 1GiB"},
        {"node: {name: a}\nsmtp:\n  mx: {idle: 5}\n", ":3: smtp.mx.idle: \"5\" is wrong; allowed is a duration"},
        {"node: {name: a}\nsmtp:\n  mx: {idle: 61m}\n", "from 1s to 1h"},
        {"node: {name: a}\nsmtp: 5\n", ":2: smtp: unknown key"},
        {"node: {name: a}\nmode: warp\n", ":2: mode: \"warp\" is wrong; allowed is one of: slow, fast"},
        {"node: {name: a}\npeers: [1, 2, 3, 4]\n", ":2: peers: is a list; allowed is a list of at most 3 texts"},
        {"node: {name: a}\npeers: [[1]]\n", ":2: peers: is a list"},
        {"node: {name: a}\nlisteners: [{port: 1}, {prot: 2}]\n",
         ":2: listeners[1].prot: unknown key; the nearest known one is \"port\""},
        {"node: {name: a}\nlisteners:\n- {tls: true}\n", ":3: listeners[0].port: is required and not given"},
        {"node: {name: a}\nlisteners: [1]\n", ":2: listeners: \"1\" is wrong; allowed is a list of maps"},
        {"node: {name: a}\nlisteners: [{port: 1}, {port: 1}, {port: 1}]\n",
         ":2: listeners: is a list; allowed is a list of at"},
        {"node: {name: a}\nnode.name: b\n", ":2: node.name: is given again, first in line 1"},
        {"node: {name: a}\nworkers: 1\nworkers: 2\n", ":3: key \"workers\" stands here again, first in line 2"},
        {"node: {name: a}\nworkers: &x 1\n", ":2: anchors"},
        {"node: {name: a}\nworkers: !!int 1\n", ":2: anchors"},
        {"node: {name: a}\nworkers: {a: 1\n", ": not YAML: "},
        {"node: {name: a}\n%\n", ":2: directives"},
        {"%\xd2\x44S", ":1: directives"}, /* a YAML library never came back from this one */
        {"node: {name: a}\n# \xff\n", ":2: has bytes that are not UTF-8"},
        {"- a\n", ":1: is no map of settings"},
        {"text", ":1: is no map of settings"},
        {"node: {name: a}\n---\nworkers: 1\n", ": a second document"},
        {"? [a]\n: 1\n", "a key must be a word"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cq_err_clear(&err);
        assert_int_equal(parse(cases[i].text), CQ_E_CONFIG);
        if (strncmp(err.text, "/etc/chasqui/t.yaml:", 20) || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: got \"%s\", want \"%s\"", i, err.text, cases[i].want);
    }
}

static void hostile_files_are_bounded(void **state)
{
    (void)state;
    size_t size = (2u << 20);
    char *text = malloc(size + 1);
    memset(text, ' ', size);
    text[size] = '\0';
    assert_int_equal(parse(text), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "is over"));

    memset(text, '[', 100000);
    text[100000] = '\0';
    assert_int_equal(parse(text), CQ_E_CONFIG);

    size_t n = 0;
    for (int i = 0; i < 3000; i++)
        n += (size_t)snprintf(text + n, 100000 - n, "k%d: 1\n", i);
    assert_int_equal(parse(text), CQ_E_CONFIG);

    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Test", rows, &config)};
    assert_int_equal(cq_config_parse(parts, 1, "t", cq_slice_of("a\0b", 3), pool, &err), CQ_E_CONFIG);
    assert_non_null(strstr(err.text, "NUL"));
    free(text);
}

static void a_file_is_read_and_a_missing_one_is_named(void **state)
{
    (void)state;
    char path[] = "/tmp/cq_config_XXXXXX";
    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Test", rows, &config)};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, "node.name: x\ntls.certificate: c.pem\n", 36) == 36);
    close(fd);
    assert_int_equal(cq_config_load(parts, 1, path, pool, &err), CQ_OK);
    assert_string_equal(config.cert, "/tmp/c.pem");
    unlink(path);
    assert_int_equal(cq_config_load(parts, 1, path, pool, &err), CQ_E_IO);
    assert_non_null(strstr(err.text, path));
}

static void sizes_and_durations_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool size_ok;
        uint64_t size;
        bool duration_ok;
        uint64_t duration;
    } cases[] = {
        {"0", true, 0, true, 0},
        {"7", true, 7, false, 0},
        {"7B", true, 7, false, 0},
        {"2KiB", true, 2048, false, 0},
        {"2KB", true, 2000, false, 0},
        {"1TiB", true, UINT64_C(1) << 40, false, 0},
        {"3s", false, 0, true, 3000000},
        {"3ms", false, 0, true, 3000},
        {"7d", false, 0, true, UINT64_C(604800000000)},
        {"1us", false, 0, true, 1},
        {"", false, 0, false, 0},
        {"KiB", false, 0, false, 0},
        {"-1s", false, 0, false, 0},
        {"1 s", false, 0, false, 0},
        {"1.5h", false, 0, false, 0},
        {"18446744073709551615", true, UINT64_MAX, false, 0},
        {"18446744073709551615KiB", false, 0, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;
        assert_int_equal(cq_config_size(cq_slice_cstr(cases[i].text), &value), cases[i].size_ok);
        assert_true(!cases[i].size_ok || value == cases[i].size);
        assert_int_equal(cq_config_duration(cq_slice_cstr(cases[i].text), &value), cases[i].duration_ok);
        assert_true(!cases[i].duration_ok || value == cases[i].duration);
    }
}

static void the_nearest_word_is_near(void **state)
{
    (void)state;
    const char *const words[] = {"listen", "workers", "tls"};
    assert_string_equal(cq_nearest_word(CQ_SLICE("lsiten"), words, 3), "listen");
    assert_string_equal(cq_nearest_word(CQ_SLICE("worker"), words, 3), "workers");
    assert_null(cq_nearest_word(CQ_SLICE("zzzzzzzz"), words, 3));
    char longer[CQ_CONFIG_KEY_MAX + 2];
    memset(longer, 'x', sizeof longer);
    assert_null(cq_nearest_word(cq_slice_of(longer, sizeof longer), words, 3));
    assert_null(cq_nearest_word(CQ_SLICE("x"), words, 0));
}

static void documents_come_from_the_rows(void **state)
{
    (void)state;
    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Test", rows, NULL)};
    struct cq_buf out;
    cq_buf_init(&out, 65536);
    assert_true(cq_config_print_docs(&out, parts, 1));
    cq_buf_byte(&out, '\0');
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "| `node.name` | required | a text of at most 4096 bytes | Name of this node. |\n"));
    assert_non_null(strstr(text, "| `workers` | `2` | a whole number from 1 to 256 threads | Threads. |\n"));
    assert_non_null(strstr(text, "### Each map of `listeners`\n"));
    cq_buf_fini(&out);
}

/* ---- Options ---- */

static void options_come_in_all_their_forms(void **state)
{
    (void)state;
    const char *file = NULL, *many[2];
    bool flag = false;
    struct cq_strings_out list = {many, 0, 2};
    const struct cq_arg args[] = {
        {.name = "file", .letter = 'f', .value = "FILE", .text = &file, .help = "a file"},
        {.name = "verbose", .letter = 'v', .flag = &flag, .help = "say more"},
        {.name = "peer", .value = "ADDR", .list = &list, .help = "a peer"},
    };
    struct cq_rest rest;
    char *argv[] = {"p", "one", "--file=a=b", "-v", "--peer", "x", "--peer=y", "two", "-", "--", "--three", NULL};
    assert_int_equal(cq_args_parse(args, 3, 11, argv, CQ_ARGS_REST, &rest, &err), CQ_OK);
    assert_string_equal(file, "a=b");
    assert_true(flag);
    assert_int_equal(list.count, 2);
    assert_int_equal(rest.count, 4);
    assert_string_equal(rest.items[3], "--three");

    char *sub[] = {"p", "-fx", "add", "--verbose", NULL};
    assert_int_equal(cq_args_parse(args, 3, 4, sub, CQ_ARGS_SUBCOMMAND, &rest, &err), CQ_OK);
    assert_string_equal(file, "x");
    assert_int_equal(rest.count, 2);
    assert_string_equal(rest.items[1], "--verbose");
}

static void wrong_options_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *words[4];
        const char *want;
    } cases[] = {
        {{"p", "--fiel", "x"}, "unknown option --fiel; the nearest known one is --file"},
        {{"p", "--qqqqqqq"}, "unknown option --qqqqqqq; see --help"},
        {{"p", "-q"}, "unknown option -q"},
        {{"p", "--file"}, "--file needs a value (FILE)"},
        {{"p", "--verbose=1"}, "--verbose takes no value"},
        {{"p", "word"}, "unexpected word \"word\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *file = NULL;
        bool flag = false;
        const struct cq_arg args[] = {
            {.name = "file", .letter = 'f', .value = "FILE", .text = &file, .help = "a file"},
            {.name = "verbose", .letter = 'v', .flag = &flag, .help = "say more"},
        };
        int argc = 0;
        while (argc < 4 && cases[i].words[argc])
            argc++;
        assert_int_equal(cq_args_parse(args, 2, argc, (char **)cases[i].words, CQ_ARGS_NO_REST, NULL, &err),
                         CQ_E_INVALID);
        if (!strstr(err.text, cases[i].want))
            fail_msg("got \"%s\", want \"%s\"", err.text, cases[i].want);
    }
}

static void help_lists_every_option(void **state)
{
    (void)state;
    struct cq_common_args common = {0};
    const struct cq_arg args[] = {CQ_ARGS_COMMON(&common)};
    struct cq_buf out;
    cq_buf_init(&out, 65536);
    cq_args_help(&out, "chasqui-test", "[options]", "Tests.", args, sizeof args / sizeof *args);
    cq_buf_byte(&out, '\0');
    assert_non_null(strstr((const char *)out.data, "  -c, --config FILE             settings file"));
    assert_non_null(strstr((const char *)out.data, "      --check-config            read the settings"));
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_hold_where_the_file_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(every_type_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(json_is_read_as_well, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_printed_loads_to_the_same_values, setup, teardown),
        cmocka_unit_test_setup_teardown(each_mistake_is_told_with_line_key_and_what_is_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_files_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_is_read_and_a_missing_one_is_named, setup, teardown),
        cmocka_unit_test(sizes_and_durations_have_units),
        cmocka_unit_test(the_nearest_word_is_near),
        cmocka_unit_test(documents_come_from_the_rows),
        cmocka_unit_test_setup_teardown(options_come_in_all_their_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_options_are_explained, setup, teardown),
        cmocka_unit_test(help_lists_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
