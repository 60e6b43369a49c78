/* chasquictl: what its files share. It holds nothing but an operator's certificate: everything is asked of the admin
 * role of the front-ends or of the storage nodes. Answers go to standard output, words for people to standard error. */
#ifndef CTL_H
#define CTL_H

#include "admin/admin_commands.h"
#include "base/cq_args.h"
#include "base/cq_buf.h"
#include "base/cq_config.h"
#include "base/cq_pool.h"
#include "io/io_pool.h"
#include "io/io_tls.h"
#include "rpc/rpc_client.h"

#define CTL_OUTPUT_MAX (256u << 20)

#define CTL_SETTINGS_PATH "/etc/chasqui/chasquictl.yaml"
#define CTL_SYNOPSIS_MAX 1024

/* Exit statuses: X(name, what --help and the manual say). Their numbers are promised. */
#define CTL_EXITS(X)                                                                                                   \
    X(CTL_DONE, "done")                                                                                                \
    X(CTL_REFUSED, "refused, or verify found damage; the message says why and what to do")                             \
    X(CTL_USAGE, "the command line or the settings are wrong; nothing was asked")                                      \
    X(CTL_UNREACHABLE, "nobody answered; nothing has happened")                                                        \
    X(CTL_UNKNOWN, "the answer was lost; it may have happened, and the command may be repeated")                       \
    X(CTL_LATER, "not now: something is unavailable or overloaded; repeat the command")

enum ctl_exit {
#define CTL_EXIT_ENUM(name, text) name,
    CTL_EXITS(CTL_EXIT_ENUM)
#undef CTL_EXIT_ENUM
};
extern const char *const ctl_exit_texts[];
extern const size_t ctl_exit_count;

struct ctl_settings {
    const char *cluster;
    const char *ca, *cert, *key;
    struct cq_strings admin;   /* host:port of the front-ends' admin role */
    struct cq_strings storage; /* host:port of storage nodes */
    uint64_t timeout_us;
};

enum ctl_format { CTL_TABLE, CTL_JSON };

struct ctl {
    struct ctl_settings settings;
    enum ctl_format format;
    struct cq_pool *pool;
    struct io_loop *loop;
    struct io_pool *resolver;
    struct io_tls *tls;
    struct rpc_hello hello;
    bool told_of_election; /* that it waits for one: said once */
};

/* A parsed command line: the row and a value for each of its parameters. */
struct ctl_field {
    const char *name;
    struct cq_slice value;
};
struct ctl_request {
    const struct admin_command *command;
    struct ctl_field *fields;
    size_t field_count;
};

/* The words after the global options. CQ_E_INVALID: err says what to write instead. */
enum cq_rc ctl_parse(struct ctl *ctl, int count, char **words, struct ctl_request *request_r, struct cq_err *err);
/* --config and --output are understood after the command too: takes them out of the words and tells how many are left.
 * Nothing behind "--" is an option. */
int ctl_take_options(int count, char **words, const char **config, const char **output);
/* Value of a field; an empty slice and false when it was not given. */
bool ctl_field(const struct ctl_request *request, const char *name, struct cq_slice *value_r);

void ctl_help(struct cq_buf *out);                              /* all commands */
void ctl_help_group(struct cq_buf *out, struct cq_slice group); /* "account": those that begin so */
void ctl_help_command(struct cq_buf *out, const struct admin_command *command);
void ctl_synopsis(struct cq_buf *out, const struct admin_command *command);   /* "account list [<domain>]" */
void ctl_param_text(const struct admin_param *param, char text_r[static 64]); /* "<domain>", "--quota V" */
void ctl_man(struct cq_buf *out, const struct cq_arg *options, size_t option_count);

/* Rows of cells, in the order of the command's columns. */
struct ctl_rows {
    char ***rows;
    size_t count, cap;
};
void ctl_rows_add(struct ctl *ctl, struct ctl_rows *rows, char **cells);
void ctl_print(const struct ctl *ctl, const struct admin_command *command, const struct ctl_rows *rows,
               struct cq_buf *out);

/* One call to one address, on a fiber. */
struct ctl_call {
    const char *address;
    uint32_t peer_roles;
    uint16_t method;
    bool command;
    uint32_t group;
    struct cq_slice message;
    struct cq_slice raw;
};
enum rpc_fate ctl_rpc(struct ctl *ctl, const struct ctl_call *call, struct rpc_reply_in *reply_r, struct cq_err *err);
/* What a fate and result code mean to the shell. */
enum ctl_exit ctl_exit_of(enum rpc_fate fate, enum cq_rc rc);

/* Carry a request out, on a fiber; print its answer. */
enum ctl_exit ctl_run_admin(struct ctl *ctl, const struct ctl_request *request);
enum ctl_exit ctl_run_storage(struct ctl *ctl, const struct ctl_request *request);
enum ctl_exit ctl_replay(struct ctl *ctl, const struct ctl_request *request); /* "events replay" */

#endif
