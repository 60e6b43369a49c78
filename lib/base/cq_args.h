/* Command line options from a table; the help text comes from the same table.
 *
 *     struct cq_common_args common = {0};
 *     const struct cq_arg args[] = {CQ_ARGS_COMMON(&common), {.name = "node", .value = "NAME", .text = &node, .help =
 * "..."}}; rc = cq_args_parse(args, n, argc, argv, CQ_ARGS_NO_REST, &rest, &err);    // CQ_E_INVALID: print err, exit
 * status 2
 *
 * GNU style: --name VALUE, --name=VALUE, -n VALUE, flags without a value; "--" ends options. Unknown: an error with the
 * nearest known name. */
#ifndef CQ_ARGS_H
#define CQ_ARGS_H

#include "base/cq_buf.h"
#include "base/cq_config.h"
#include "base/cq_err.h"
#include "base/cq_limits.h"

struct cq_arg {
    const char *name;            /* long name without dashes */
    char letter;                 /* short name or 0 */
    const char *value;           /* what the value is called in the help ("FILE"); NULL: a flag */
    const char *help;            /* one line */
    bool *flag;                  /* set to true when a flag is seen */
    const char **text;           /* set to the value (borrowed from argv); a repeated option: the last one counts */
    struct cq_strings_out *list; /* or collected, when it may be repeated */
};

/* Collects a repeated option; `items` has room for `max` pointers. One more is an error. */
struct cq_strings_out {
    const char **items;
    size_t count;
    size_t max;
};

struct cq_rest { /* what follows the options, borrowed from argv */
    char **items;
    int count;
};

enum cq_args_mode {
    CQ_ARGS_NO_REST,   /* anything that is no option is an error */
    CQ_ARGS_REST,      /* options and words in any order */
    CQ_ARGS_SUBCOMMAND /* the first word ends the options: it and all after it are the rest */
};

/* CQ_E_INVALID with a text for people. argv is reordered in mode CQ_ARGS_REST (options first). */
enum cq_rc cq_args_parse(const struct cq_arg *args, size_t count, int argc, char **argv, enum cq_args_mode mode,
                         struct cq_rest *rest_r, struct cq_err *err);

/* "usage: ..." and one line per option, aligned. `usage` is what follows the program's name. */
void cq_args_help(struct cq_buf *out, const char *program, const char *usage, const char *about,
                  const struct cq_arg *args, size_t count);

/* What every program understands. */
struct cq_common_args {
    bool help;
    bool version;
    const char *config;
    bool check_config;
    bool print_config;
    const char *print_docs; /* "settings", "metrics" or "limits" */
};

#define CQ_ARGS_COMMON(common)                                                                                         \
    {.name = "config",                                                                                                 \
     .letter = 'c',                                                                                                    \
     .value = "FILE",                                                                                                  \
     .text = &(common)->config,                                                                                        \
     .help = "settings file (YAML or JSON)"},                                                                          \
        {.name = "check-config", .flag = &(common)->check_config, .help = "read the settings, report, and exit"},      \
        {.name = "print-config", .flag = &(common)->print_config, .help = "print the settings in force and exit"},     \
        {.name = "print-docs",                                                                                         \
         .value = "WHAT",                                                                                              \
         .text = &(common)->print_docs,                                                                                \
         .help = "print reference documents (settings, metrics or limits) and exit"},                                  \
        {.name = "version", .letter = 'V', .flag = &(common)->version, .help = "print the version and exit"},          \
    {                                                                                                                  \
        .name = "help", .letter = 'h', .flag = &(common)->help, .help = "print this help and exit"                     \
    }

/* The usual start of a program: parses, answers --help, --version, --print-docs, --check-config and --print-config on
 * stdout, loads the settings. Returns true when the program goes on; false: exit with *status_r (0, or 2 when the
 * command line or the settings are wrong; the reason is on stderr). Metrics must be registered before the call. */
struct cq_program {
    const char *name;
    const char *version;
    const char *about;         /* one line */
    const struct cq_arg *args; /* in addition to the common ones; may be NULL */
    size_t arg_count;
    const struct cq_config_part *parts;
    size_t part_count;
    const struct cq_limit_table *limits; /* what the reference page tells of constants; may be NULL */
    size_t limit_count;
};

bool cq_program_start(const struct cq_program *program, int argc, char **argv, struct cq_pool *pool, int *status_r);

#endif
