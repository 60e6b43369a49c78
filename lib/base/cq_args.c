#include "base/cq_args.h"

#include "base/cq_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cq_arg *find_long(const struct cq_arg *args, size_t count, struct cq_slice name)
{
    for (size_t i = 0; i < count; i++)
        if (cq_slice_eq(name, cq_slice_cstr(args[i].name)))
            return &args[i];
    return NULL;
}

static const struct cq_arg *find_letter(const struct cq_arg *args, size_t count, char letter)
{
    for (size_t i = 0; i < count; i++)
        if (args[i].letter && args[i].letter == letter)
            return &args[i];
    return NULL;
}

static enum cq_rc unknown_option(const struct cq_arg *args, size_t count, struct cq_slice name, struct cq_err *err)
{
    const char *names[64];
    size_t n = count < 64 ? count : 64;
    for (size_t i = 0; i < n; i++)
        names[i] = args[i].name;
    const char *nearest = cq_nearest_word(name, names, n);
    return CQ_FAIL(err, CQ_E_INVALID, "unknown option --%.*s%s%s%s", CQ_SLICE_ARG(cq_slice_sub(name, 0, 64)),
                   nearest ? "; the nearest known one is --" : "", nearest ? nearest : "",
                   nearest ? "" : "; see --help");
}

static enum cq_rc store(const struct cq_arg *arg, const char *value, struct cq_err *err)
{
    if (arg->list) {
        if (arg->list->count == arg->list->max)
            return CQ_FAIL(err, CQ_E_INVALID, "--%s stands more than %zu times", arg->name, arg->list->max);
        arg->list->items[arg->list->count++] = value;
    } else if (arg->text) {
        *arg->text = value;
    } else {
        *arg->flag = true;
    }
    return CQ_OK;
}

/* argv[*i] is an option; *i moves over a value that is a word of its own. */
static enum cq_rc take_option(const struct cq_arg *args, size_t count, int argc, char **argv, int *i,
                              struct cq_err *err)
{
    const char *word = argv[*i];
    const char *value = NULL;
    const struct cq_arg *arg;
    if (word[1] == '-') {
        const char *equal = strchr(word, '=');
        struct cq_slice name = cq_slice_of(word + 2, equal ? (size_t)(equal - word - 2) : strlen(word + 2));
        arg = find_long(args, count, name);
        value = equal ? equal + 1 : NULL;
        if (!arg)
            return unknown_option(args, count, name, err);
    } else {
        arg = find_letter(args, count, word[1]);
        value = word[2] ? word + 2 : NULL;
        if (!arg)
            return CQ_FAIL(err, CQ_E_INVALID, "unknown option -%c; see --help", word[1]);
    }
    if (!arg->value && value)
        return CQ_FAIL(err, CQ_E_INVALID, "--%s takes no value", arg->name);
    if (arg->value && !value) {
        if (*i + 1 >= argc)
            return CQ_FAIL(err, CQ_E_INVALID, "--%s needs a value (%s)", arg->name, arg->value);
        value = argv[++*i];
    }
    return store(arg, value, err);
}

enum cq_rc cq_args_parse(const struct cq_arg *args, size_t count, int argc, char **argv, enum cq_args_mode mode,
                         struct cq_rest *rest_r, struct cq_err *err)
{
    int words = 0; /* moved to the front of argv + 1 */
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && word[0] == '-' && word[1]) {
            enum cq_rc rc = take_option(args, count, argc, argv, &i, err);
            if (rc != CQ_OK)
                return rc;
        } else if (mode == CQ_ARGS_NO_REST) {
            return CQ_FAIL(err, CQ_E_INVALID, "unexpected word \"%.64s\"; see --help", word);
        } else {
            argv[1 + words++] = word;
            only_words = only_words || mode == CQ_ARGS_SUBCOMMAND;
        }
    }
    if (rest_r)
        *rest_r = (struct cq_rest){argv + 1, words};
    return CQ_OK;
}

void cq_args_help(struct cq_buf *out, const char *program, const char *usage, const char *about,
                  const struct cq_arg *args, size_t count)
{
    cq_buf_printf(out, "usage: %s %s\n\n%s\n\n", program, usage, about);
    for (size_t i = 0; i < count; i++) {
        char left[80], letter[] = {'-', args[i].letter, ',', ' ', '\0'};
        snprintf(left, sizeof left, "%s--%s%s%s", args[i].letter ? letter : "    ", args[i].name,
                 args[i].value ? " " : "", args[i].value ? args[i].value : "");
        cq_buf_printf(out, "  %-28s  %s\n", left, args[i].help);
    }
}

/* ---- The usual start of a program ---- */

static void print_out(const struct cq_buf *text)
{
    if (text->len)
        fwrite(text->data, 1, text->len, stdout);
    fflush(stdout);
}

static bool stop(int *status_r, int status)
{
    *status_r = status;
    return false;
}

static bool complain(const char *program, const struct cq_err *err, int *status_r)
{
    fprintf(stderr, "%s: %s\n", program, err->text);
    return stop(status_r, 2);
}

static void print_limits(const struct cq_program *program, struct cq_buf *out)
{
    for (size_t i = 0; i < program->limit_count; i++)
        cq_limits_print_docs(out, program->limits[i].title, program->limits[i].rows, *program->limits[i].count);
}

static bool is_document(const char *what)
{
    return strcmp(what, "settings") == 0 || strcmp(what, "metrics") == 0 || strcmp(what, "limits") == 0;
}

static void print_docs(const struct cq_program *program, const char *what, struct cq_buf *out)
{
    if (strcmp(what, "metrics") == 0)
        cq_metrics_print_docs(out);
    else if (strcmp(what, "limits") == 0)
        print_limits(program, out);
    else
        cq_config_print_docs(out, program->parts, program->part_count);
}

/* What is answered without reading settings. */
static bool answer_only(const struct cq_program *program, const struct cq_common_args *common,
                        const struct cq_arg *args, size_t count, struct cq_buf *out)
{
    if (common->help)
        cq_args_help(out, program->name, "[options]", program->about, args, count);
    else if (common->version)
        cq_buf_printf(out, "%s %s\n", program->name, program->version);
    else if (common->print_docs)
        print_docs(program, common->print_docs, out);
    else
        return false;
    return true;
}

static bool load_settings(const struct cq_program *program, const struct cq_common_args *common, struct cq_pool *pool,
                          struct cq_buf *out, int *status_r)
{
    struct cq_err err = {0};
    enum cq_rc rc = common->config ? cq_config_load(program->parts, program->part_count, common->config, pool, &err)
                                   : cq_config_defaults(program->parts, program->part_count, pool, &err);
    if (rc != CQ_OK)
        return complain(program->name, &err, status_r);
    if (common->print_config)
        cq_config_print(out, program->parts, program->part_count);
    else if (common->check_config)
        cq_buf_printf(out, "%s: settings are right\n", common->config ? common->config : "defaults");
    else
        return true;
    return stop(status_r, 0);
}

bool cq_program_start(const struct cq_program *program, int argc, char **argv, struct cq_pool *pool, int *status_r)
{
    struct cq_common_args common = {0};
    const struct cq_arg shared[] = {CQ_ARGS_COMMON(&common)};
    size_t shared_count = sizeof shared / sizeof *shared, count = shared_count + program->arg_count;
    struct cq_arg *args = cq_pool_calloc(pool, count, sizeof *args);
    if (program->arg_count)
        memcpy(args, program->args, program->arg_count * sizeof *args);
    memcpy(args + program->arg_count, shared, sizeof shared);
    struct cq_err err = {0};
    struct cq_buf out;
    if (cq_args_parse(args, count, argc, argv, CQ_ARGS_NO_REST, NULL, &err) != CQ_OK)
        return complain(program->name, &err, status_r);
    if (common.print_docs && !is_document(common.print_docs)) {
        CQ_FAIL(&err, CQ_E_INVALID, "--print-docs knows \"settings\", \"metrics\" and \"limits\"");
        return complain(program->name, &err, status_r);
    }
    cq_buf_init(&out, 1u << 20);
    bool go_on = answer_only(program, &common, args, count, &out)
                     ? stop(status_r, 0)
                     : load_settings(program, &common, pool, &out, status_r);
    print_out(&out);
    cq_buf_fini(&out);
    return go_on;
}
