#include "ctl.h"

#include "base/cq_log.h"
#include "io/io_fiber.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POOL_SIZE (64u << 10)
#define HELP_MAX (64u << 10)

static const struct cq_setting rows[] = {
    CQ_SET_STRING(struct ctl_settings, cluster, "cluster", NULL, "Id of the cluster."),
    CQ_SET_PATH(struct ctl_settings, ca, "tls.ca", NULL, "The cluster's CA (PEM)."),
    CQ_SET_PATH(struct ctl_settings, cert, "tls.cert", NULL, "The operator's certificate (PEM)."),
    CQ_SET_PATH(struct ctl_settings, key, "tls.key", NULL, "Its key (PEM)."),
    CQ_SET_STRINGS(struct ctl_settings, admin, "admin", "", 64, "host:port of the front-ends' admin role."),
    CQ_SET_STRINGS(struct ctl_settings, storage, "storage", "", 64, "host:port of storage nodes."),
    CQ_SET_DURATION(struct ctl_settings, timeout_us, "timeout", "30s", "1s", "1h", "How long to wait for an answer."),
};

struct job {
    struct ctl *ctl;
    const struct ctl_request *request;
    enum ctl_exit status;
};

static void run(void *arg)
{
    struct job *job = arg;
    enum admin_target target = job->request->command->target;
    bool storage = target == ADMIN_TARGET_STORAGE || target == ADMIN_TARGET_ALL_STORAGE;
    job->status = storage ? ctl_run_storage(job->ctl, job->request) : ctl_run_admin(job->ctl, job->request);
    io_loop_stop(job->ctl->loop);
}

static enum ctl_exit talk(struct ctl *ctl, const struct ctl_request *request)
{
    const struct io_tls_client_options tls = {
        .ca_file = ctl->settings.ca, .cert_file = ctl->settings.cert, .key_file = ctl->settings.key};
    struct job job = {.ctl = ctl, .request = request, .status = CTL_UNREACHABLE};
    struct cq_err err = {0};
    if (io_tls_client_new(&tls, &ctl->tls, &err) != CQ_OK) {
        fprintf(stderr, "chasquictl: %s\n", err.text);
        return CTL_USAGE;
    }
    RPC_HELLO_SET(ctl->hello.cluster, ctl->settings.cluster);
    RPC_HELLO_SET(ctl->hello.program, "chasquictl");
    ctl->loop = io_loop_new(NULL);
    ctl->resolver = io_pool_new("resolver", 1, 16);
    io_fiber_spawn(ctl->loop, run, &job, NULL);
    io_loop_run(ctl->loop);
    io_pool_free(&ctl->resolver);
    io_loop_free(&ctl->loop);
    io_tls_free(&ctl->tls);
    return job.status;
}

static void show(void (*write)(struct cq_buf *out, const void *what), const void *what)
{
    struct cq_buf out;
    cq_buf_init(&out, HELP_MAX);
    write(&out, what);
    fwrite(out.data, 1, out.len, stdout);
    cq_buf_fini(&out);
}

static void write_command_help(struct cq_buf *out, const void *command)
{
    ctl_help_command(out, command);
}

static void write_group_help(struct cq_buf *out, const void *group)
{
    ctl_help_group(out, cq_slice_cstr(group));
}

/* "account add --help", "account --help" */
static bool wants_help(const struct cq_rest *rest)
{
    bool asked = false;
    for (int i = 0; i < rest->count; i++)
        asked = asked || strcmp(rest->items[i], "--help") == 0 || strcmp(rest->items[i], "-h") == 0;
    if (!asked)
        return false;
    char name[128];
    snprintf(name, sizeof name, "%s %s", rest->items[0], rest->count > 1 ? rest->items[1] : "");
    const struct admin_command *command = admin_command_find(cq_slice_cstr(name));
    if (command)
        show(write_command_help, command);
    else
        show(write_group_help, rest->items[0]);
    return true;
}

struct options {
    bool help, version;
    const char *config, *output, *print_docs;
};

#define OPTIONS_COUNT 4 /* that --help tells of, and */
#define OPTIONS_ALL 5

struct help_of {
    const struct cq_arg *args;
};

static void write_help(struct cq_buf *out, const void *what)
{
    const struct help_of *help = what;
    cq_args_help(out, "chasquictl", "[options] COMMAND ...", "Operates a Chasqui cluster.", help->args, OPTIONS_COUNT);
    ctl_help(out);
}

static void write_man(struct cq_buf *out, const void *what)
{
    const struct help_of *help = what;
    ctl_man(out, help->args, OPTIONS_COUNT);
}

static void write_settings(struct cq_buf *out, const void *what)
{
    struct ctl_settings values = {0};
    const struct cq_config_part part = CQ_CONFIG_PART("chasquictl", rows, &values);
    (void)what;
    cq_config_print_docs(out, &part, 1);
}

/* For docs/reference: the manual page and the settings; there are no metrics. */
static enum ctl_exit print_docs(const char *what, const struct help_of *help)
{
    if (strcmp(what, "man") == 0)
        show(write_man, help);
    else if (strcmp(what, "settings") == 0)
        show(write_settings, help);
    else if (strcmp(what, "metrics") != 0)
        return CTL_USAGE;
    return CTL_DONE;
}

static enum ctl_exit usage(const struct cq_err *err)
{
    fprintf(stderr, "chasquictl: %s\n", err->text);
    return CTL_USAGE;
}

static enum ctl_exit command_line(struct ctl *ctl, const struct options *options, const struct cq_rest *rest)
{
    struct cq_err err = {0};
    struct ctl_request request;
    const struct cq_config_part part = CQ_CONFIG_PART("chasquictl", rows, &ctl->settings);
    const char *config = options->config ? options->config : getenv("CHASQUICTL_CONFIG");
    if (options->output && strcmp(options->output, "json") == 0)
        ctl->format = CTL_JSON;
    else if (options->output && strcmp(options->output, "table") != 0) {
        cq_err_set(&err, CQ_E_INVALID, "-o is table or json");
        return usage(&err);
    }
    if (ctl_parse(ctl, rest->count, rest->items, &request, &err) != CQ_OK)
        return usage(&err);
    if (!config && access(CTL_SETTINGS_PATH, F_OK) != 0) {
        cq_err_set(&err, CQ_E_CONFIG,
                   "there is no " CTL_SETTINGS_PATH "; name the settings with --config FILE or in "
                   "CHASQUICTL_CONFIG (deploy/quickstart prints its own)");
        return usage(&err);
    }
    if (cq_config_load(&part, 1, config ? config : CTL_SETTINGS_PATH, ctl->pool, &err) != CQ_OK)
        return usage(&err);
    return talk(ctl, &request);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct cq_rest rest;
    struct cq_err err = {0};
    const struct cq_arg args[OPTIONS_ALL] = {
        {.name = "config", .letter = 'c', .value = "FILE", .text = &options.config, .help = "settings file"},
        {.name = "output",
         .letter = 'o',
         .value = "FORMAT",
         .text = &options.output,
         .help = "table (default) or json"},
        {.name = "version", .letter = 'V', .flag = &options.version, .help = "print the version and exit"},
        {.name = "help", .letter = 'h', .flag = &options.help, .help = "print this help and exit"},
        {.name = "print-docs", .value = "WHAT", .text = &options.print_docs, .help = "man, settings"},
    };
    const struct cq_log_options quiet = {.level = CQ_ERROR};
    cq_log_init(&quiet);
    if (cq_args_parse(args, OPTIONS_ALL, argc, argv, CQ_ARGS_SUBCOMMAND, &rest, &err) != CQ_OK)
        return (int)usage(&err);
    if (options.version) {
        puts("chasquictl " CHASQUI_VERSION);
        return CTL_DONE;
    }
    const struct help_of help = {args};
    if (options.print_docs)
        return (int)print_docs(options.print_docs, &help);
    rest.count = ctl_take_options(rest.count, rest.items, &options.config, &options.output);
    if (options.help || rest.count == 0) {
        show(write_help, &help);
        return options.help ? CTL_DONE : CTL_USAGE;
    }
    if (wants_help(&rest))
        return CTL_DONE;
    struct ctl ctl = {.pool = cq_pool_new(POOL_SIZE)};
    enum ctl_exit status = command_line(&ctl, &options, &rest);
    cq_pool_free(&ctl.pool);
    return (int)status;
}
