#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define SECRET_MAX 1024

/* The longest command name that the words begin with: "account add" takes two, a future "x" one. */
static const struct admin_command *match(int count, char **words, int *used_r)
{
    for (int n = count < 3 ? count : 3; n > 0; n--) {
        char name[128] = "";
        for (int i = 0; i < n; i++) {
            size_t at = strlen(name);
            snprintf(name + at, sizeof name - at, "%s%s", i ? " " : "", words[i]);
        }
        const struct admin_command *command = admin_command_find(cq_slice_cstr(name));
        if (command) {
            *used_r = n;
            return command;
        }
    }
    return NULL;
}

/* "account" alone, or "account ad": the verbs that there are. */
static enum cq_rc unknown_verb(const char *noun, const char *verb, struct cq_err *err)
{
    struct cq_buf verbs;
    cq_buf_init(&verbs, 512);
    for (size_t i = 0; i < admin_command_count; i++) {
        struct cq_slice rest = cq_slice_cstr(admin_commands[i].name);
        if (cq_slice_eq(cq_slice_cut(&rest, ' '), cq_slice_cstr(noun)))
            cq_buf_printf(&verbs, "%s%.*s", verbs.len ? ", " : "", CQ_SLICE_ARG(rest));
    }
    enum cq_rc rc = verbs.len == 0 ? CQ_OK
                    : verb         ? CQ_FAIL(err, CQ_E_INVALID, "%s has no command \"%s\", but %.*s", noun, verb,
                                             CQ_SLICE_ARG(cq_buf_slice(&verbs)))
                                   : CQ_FAIL(err, CQ_E_INVALID, "%s needs one of %.*s; see chasquictl %s --help", noun,
                                             CQ_SLICE_ARG(cq_buf_slice(&verbs)), noun);
    cq_buf_fini(&verbs);
    return rc;
}

static enum cq_rc unknown_command(int count, char **words, struct cq_err *err)
{
    enum cq_rc rc = unknown_verb(words[0], count > 1 ? words[1] : NULL, err);
    if (rc != CQ_OK)
        return rc;
    const char *names[64];
    char typed[256];
    size_t n = 0;
    for (size_t i = 0; i < admin_command_count && n < sizeof names / sizeof *names; i++)
        names[n++] = admin_commands[i].name;
    snprintf(typed, sizeof typed, "%s%s%s", words[0], count > 1 ? " " : "", count > 1 ? words[1] : "");
    const char *near = cq_nearest_word(cq_slice_cstr(typed), names, n);
    if (near)
        return CQ_FAIL(err, CQ_E_INVALID, "there is no command \"%s\"; did you mean \"%s\"?", typed, near);
    return CQ_FAIL(err, CQ_E_INVALID, "there is no command \"%s\"; see chasquictl --help", typed);
}

static const struct admin_param *find_param(const struct admin_command *command, struct cq_slice name)
{
    for (size_t i = 0; i < admin_param_count(command); i++)
        if (cq_slice_eq(name, cq_slice_cstr(command->params[i].name)))
            return &command->params[i];
    return NULL;
}

static void add_field(struct ctl_request *request, const char *name, struct cq_slice value)
{
    request->fields[request->field_count++] = (struct ctl_field){name, value};
}

bool ctl_field(const struct ctl_request *request, const char *name, struct cq_slice *value_r)
{
    *value_r = CQ_SLICE_NONE;
    for (size_t i = 0; i < request->field_count; i++)
        if (strcmp(request->fields[i].name, name) == 0) {
            *value_r = request->fields[i].value;
            return true;
        }
    return false;
}

/* A line from standard input; on a terminal without echo. */
static enum cq_rc read_secret(struct ctl *ctl, const char *what, struct cq_slice *value_r, struct cq_err *err)
{
    char line[SECRET_MAX + 2];
    struct termios old, silent;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    if (terminal) {
        fprintf(stderr, "%s: ", what);
        silent = old;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    bool ok = fgets(line, sizeof line, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        fputc('\n', stderr);
    }
    if (!ok || !strchr(line, '\n'))
        return CQ_FAIL(err, CQ_E_INVALID, "a %s is one line of at most %d bytes on standard input", what, SECRET_MAX);
    *value_r = cq_pool_slice(ctl->pool, cq_slice_of(line, strcspn(line, "\r\n")));
    explicit_bzero(line, sizeof line);
    return CQ_OK;
}

/* --name VALUE, --name=VALUE, --name, --name-stdin */
static enum cq_rc parse_option(struct ctl_request *request, char **words, int count, int *at, struct cq_err *err)
{
    struct cq_slice rest = cq_slice_cstr(words[*at] + 2), name = cq_slice_cut(&rest, '=');
    bool has_value = name.len < strlen(words[*at] + 2);
    const struct admin_param *param = find_param(request->command, name);
    if (!param && name.len > 6 && cq_slice_eq(cq_slice_skip(name, name.len - 6), CQ_SLICE("-stdin"))) {
        param = find_param(request->command, cq_slice_sub(name, 0, name.len - 6));
        if (param && param->kind == ADMIN_SECRET && !has_value)
            return CQ_OK; /* where secrets come from anyway */
        param = NULL;
    }
    if (param && param->kind == ADMIN_SECRET)
        return CQ_FAIL(err, CQ_E_INVALID,
                       "a %s on the command line can be seen by others: give it on standard input (--%s-stdin)",
                       param->name, param->name);
    if (!param || (param->kind != ADMIN_OPTION && param->kind != ADMIN_SWITCH))
        return CQ_FAIL(err, CQ_E_INVALID, "%s has no option %s; see chasquictl %s --help", request->command->name,
                       words[*at], request->command->name);
    if (param->kind == ADMIN_SWITCH) {
        add_field(request, param->name, CQ_SLICE("yes"));
        return CQ_OK;
    }
    if (!has_value && *at + 1 >= count)
        return CQ_FAIL(err, CQ_E_INVALID, "%s takes a value", words[*at]);
    add_field(request, param->name, has_value ? rest : cq_slice_cstr(words[++*at]));
    return CQ_OK;
}

/* The next parameter that takes a word, from *next on; a repeated one stays. */
static const struct admin_param *word_param(const struct admin_command *command, size_t *next)
{
    for (; *next < admin_param_count(command); ++*next) {
        const struct admin_param *param = &command->params[*next];
        if (param->kind == ADMIN_REPEATED)
            return param;
        if (param->kind == ADMIN_REQUIRED || param->kind == ADMIN_OPTIONAL) {
            ++*next;
            return param;
        }
    }
    return NULL;
}

/* What is missing, and the secrets, which come last so that a mistake shows before anybody types one. */
static enum cq_rc complete(struct ctl *ctl, struct ctl_request *request, struct cq_err *err)
{
    const struct admin_command *command = request->command;
    struct cq_slice value;
    for (size_t i = 0; i < admin_param_count(command); i++) {
        enum admin_param_kind kind = command->params[i].kind;
        if ((kind == ADMIN_REQUIRED || kind == ADMIN_REPEATED) && !ctl_field(request, command->params[i].name, &value))
            return CQ_FAIL(err, CQ_E_INVALID, "%s needs %s: %s", command->name, command->params[i].name,
                           command->params[i].help);
    }
    for (size_t i = 0; i < admin_param_count(command); i++) {
        if (command->params[i].kind != ADMIN_SECRET)
            continue;
        enum cq_rc rc = read_secret(ctl, command->params[i].name, &value, err);
        if (rc != CQ_OK)
            return rc;
        add_field(request, command->params[i].name, value);
    }
    return CQ_OK;
}

enum cq_rc ctl_parse(struct ctl *ctl, int count, char **words, struct ctl_request *request_r, struct cq_err *err)
{
    int at = 0;
    size_t next = 0;
    bool options = true;
    const struct admin_command *command = match(count, words, &at);
    if (!command)
        return unknown_command(count, words, err);
    *request_r = (struct ctl_request){.command = command};
    request_r->fields = cq_pool_alloc(ctl->pool, ((size_t)count + ADMIN_PARAMS_MAX) * sizeof *request_r->fields);
    for (; at < count; at++) {
        if (options && strcmp(words[at], "--") == 0) {
            options = false;
            continue;
        }
        if (options && strncmp(words[at], "--", 2) == 0) {
            enum cq_rc rc = parse_option(request_r, words, count, &at, err);
            if (rc != CQ_OK)
                return rc;
            continue;
        }
        const struct admin_param *param = word_param(command, &next);
        if (!param)
            return CQ_FAIL(err, CQ_E_INVALID, "%s takes no further word \"%s\"; see chasquictl %s --help",
                           command->name, words[at], command->name);
        add_field(request_r, param->name, cq_slice_cstr(words[at]));
    }
    return complete(ctl, request_r, err);
}

/* "-o json", "--output json" and "--output=json" at words[*at]: the option's value; NULL: it is no such option. */
static const char *option_value(int count, char **words, int *at, const char *letter, const char *name)
{
    char *word = words[*at];
    size_t len = strlen(name);
    if (strncmp(word, name, len) == 0 && word[len] == '=')
        return word + len + 1;
    if ((strcmp(word, letter) == 0 || strcmp(word, name) == 0) && *at + 1 < count)
        return words[++*at];
    return NULL;
}

int ctl_take_options(int count, char **words, const char **config, const char **output)
{
    int kept = 0, at = 0;
    for (; at < count && strcmp(words[at], "--") != 0; at++) {
        char *word = words[at];
        const char *value = option_value(count, words, &at, "-c", "--config");
        if (value) {
            *config = value;
            continue;
        }
        value = option_value(count, words, &at, "-o", "--output");
        if (value)
            *output = value;
        else
            words[kept++] = word;
    }
    while (at < count)
        words[kept++] = words[at++];
    return kept;
}
