/* The operator's commands, one row each: what chasquictl understands and shows, and what the admin role carries out.
 * Help, argument checks, tables and JSON come from the rows. */
#ifndef ADMIN_COMMANDS_H
#define ADMIN_COMMANDS_H

#include "base/cq_slice.h"

#define ADMIN_PARAMS_MAX 10
#define ADMIN_COLUMNS_MAX 16

enum admin_target {
    ADMIN_TARGET_ADMIN,     /* the admin role of one front-end */
    ADMIN_TARGET_ALL_ADMIN, /* every front-end: what each knows of itself (sessions) */
    ADMIN_TARGET_STORAGE,   /* a storage node: the cluster's own state */
    ADMIN_TARGET_ALL_STORAGE
};

enum admin_param_kind {
    ADMIN_REQUIRED, /* a word, in the order of the rows */
    ADMIN_OPTIONAL, /* a word that may be missing */
    ADMIN_REPEATED, /* all words that are left, at least one */
    ADMIN_OPTION,   /* --name VALUE */
    ADMIN_SWITCH,   /* --name */
    ADMIN_SECRET,   /* --name-stdin: the first line of standard input; asked for on a terminal without it */
};
struct admin_param {
    const char *name;
    enum admin_param_kind kind;
    const char *help;
};

enum admin_type { ADMIN_TEXT, ADMIN_NUMBER, ADMIN_BOOL };
struct admin_column {
    const char *name;
    enum admin_type type;
};

struct admin_command {
    const char *name; /* "account add" */
    enum admin_target target;
    bool single; /* JSON: an object instead of a list */
    bool octets; /* the answer is raw octets, written to standard output as they are */
    const char *help;
    struct admin_param params[ADMIN_PARAMS_MAX];
    struct admin_column columns[ADMIN_COLUMNS_MAX];
};

extern const struct admin_command admin_commands[];
extern const size_t admin_command_count;

/* The row of a name, or NULL. */
const struct admin_command *admin_command_find(struct cq_slice name);
size_t admin_param_count(const struct admin_command *command);
size_t admin_column_count(const struct admin_command *command);

#endif
