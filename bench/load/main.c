/* chasqui-load: one scenario against any mail server. bench/run and bench/compare start it; bench/README.md tells what
 * each scenario measures. Standard output has one JSON object a line: "begin" and "end" of the measured time (so that
 * the caller looks at the servers), then "result". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/cq_args.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "io/io_metrics.h"
#include "scenarios.h"

#define COMMANDS_MAX 16
#define ACCOUNT_LINE 512

const struct load_scenario load_scenarios[] = {
    {"delivery", "SMTP or LMTP (--delivery-by-lmtp): messages a second", scenario_delivery, true, true, false},
    {"e2e", "SMTP in until readable in IMAP", scenario_e2e, true, true, false},
    {"mix", "IMAP commands of many clients", scenario_mix, true, true, false},
    {"commands", "the IMAP commands given by --command, in turn", scenario_commands, true, false, false},
    {"login", "connections with TLS and LOGIN", scenario_login, true, false, false},
    {"idle", "sessions that IDLE; memory is measured from outside", scenario_idle, true, false, true},
    {"pop3", "whole POP3 sessions", scenario_pop3, true, false, false},
    {"seed", "APPEND until the mailbox has --operations messages more", scenario_seed, true, true, false},
    {"writes", "LMTP writes that never give up, each acknowledgement printed", scenario_writes, true, true, false},
};
const size_t load_scenario_count = sizeof load_scenarios / sizeof *load_scenarios;

/* The command line as text. */
struct words {
    const char *smtp, *lmtp, *imap, *pop3, *tls, *ca, *name, *accounts, *first_account, *account_count;
    const char *sessions, *seconds, *warmup, *operations, *size, *distinct, *seed, *mailbox, *opening;
    const char *command_items[COMMANDS_MAX];
    struct cq_strings_out commands;
    bool lmtp_delivery, resume, multiappend, help;
};

static enum cq_rc number(const char *what, const char *text, double *value_r, struct cq_err *err)
{
    char *end;
    errno = 0;
    double value = text ? strtod(text, &end) : *value_r;
    if (text && (errno || end == text || *end || value < 0 || value > 1e15))
        return CQ_FAIL(err, CQ_E_INVALID, "--%s: \"%s\" is not a number", what, text);
    *value_r = value;
    return CQ_OK;
}

/* "127.0.0.1:25,127.0.0.1:1025" */
static enum cq_rc endpoint(const char *text, struct load_endpoint *endpoint_r, struct cq_err *err)
{
    struct cq_slice rest = cq_slice_cstr(text);
    while (rest.len) {
        struct cq_slice one = cq_slice_cut(&rest, ',');
        if (endpoint_r->count == LOAD_ADDRESSES_MAX)
            return CQ_FAIL(err, CQ_E_LIMIT, "more than %d addresses", LOAD_ADDRESSES_MAX);
        enum cq_rc rc = io_addr_parse(one, 0, &endpoint_r->addresses[endpoint_r->count], err);
        if (rc != CQ_OK)
            return rc;
        if (!io_addr_is_loopback(&endpoint_r->addresses[endpoint_r->count++]))
            return CQ_FAIL(err, CQ_E_INVALID, "%.*s: load goes to this machine only", CQ_SLICE_ARG(one));
    }
    return CQ_OK;
}

/* What is in clear on its usual port says STARTTLS first, unless --tls no. */
static void choose_tls(struct load_options *o, const char *tls)
{
    bool none = tls && strcmp(tls, "no") == 0;
    o->imap.tls = o->pop3.tls = none ? LOAD_TLS_NONE : LOAD_TLS_IMPLICIT;
    o->smtp.tls = none ? LOAD_TLS_NONE : LOAD_TLS_START;
    o->lmtp.tls = LOAD_TLS_NONE;
}

/* Lines of "address password". */
static enum cq_rc read_accounts(const char *path, struct load_options *o, struct cq_err *err)
{
    char line[ACCOUNT_LINE];
    FILE *file = fopen(path, "r");
    if (!file)
        return CQ_FAIL(err, CQ_E_NOT_FOUND, "%s cannot be read", path);
    o->accounts = cq_calloc(LOAD_ACCOUNTS_MAX, sizeof *o->accounts);
    while (o->account_count < LOAD_ACCOUNTS_MAX && fgets(line, sizeof line, file)) {
        struct cq_slice rest = cq_slice_trim(cq_slice_cstr(line)), address = cq_slice_cut(&rest, ' ');
        if (address.len)
            o->accounts[o->account_count++] = (struct load_account){cq_strndup((const char *)address.data, address.len),
                                                                    cq_strndup((const char *)rest.data, rest.len)};
    }
    fclose(file);
    return CQ_OK;
}

static enum cq_rc choose_accounts(struct load_options *o, const struct words *w, struct cq_err *err)
{
    double first = 0, count = 0;
    enum cq_rc rc = w->accounts ? read_accounts(w->accounts, o, err) : CQ_OK;
    if (rc == CQ_OK)
        rc = number("first-account", w->first_account, &first, err);
    if (rc == CQ_OK)
        rc = number("account-count", w->account_count, &count, err);
    if (rc != CQ_OK)
        return rc;
    if ((size_t)first >= o->account_count)
        return CQ_FAIL(err, CQ_E_INVALID, "there are %zu accounts", o->account_count);
    o->accounts += (size_t)first;
    o->account_count -= (size_t)first;
    if (count > 0 && (size_t)count < o->account_count)
        o->account_count = (size_t)count;
    return CQ_OK;
}

static enum cq_rc read_numbers(struct load_options *o, const struct words *w, struct cq_err *err)
{
    double sessions = 1, operations = 0, size = 0, distinct = 256, seed = 1, opening = 64;
    const struct {
        const char *name, *text;
        double *value;
    } rows[] = {
        {"sessions", w->sessions, &sessions},
        {"seconds", w->seconds, &o->seconds},
        {"warmup", w->warmup, &o->warmup},
        {"operations", w->operations, &operations},
        {"size", w->size, &size},
        {"distinct", w->distinct, &distinct},
        {"seed", w->seed, &seed},
        {"opening", w->opening, &opening},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum cq_rc rc = number(rows[i].name, rows[i].text, rows[i].value, err);
        if (rc != CQ_OK)
            return rc;
    }
    o->sessions = (size_t)sessions;
    o->operations = (uint64_t)operations;
    o->size = (size_t)size;
    o->distinct = (size_t)distinct;
    o->seed = (uint64_t)seed;
    o->opening = (size_t)opening;
    if (!o->sessions || !o->distinct || !o->opening || o->size > (64u << 20))
        return CQ_FAIL(err, CQ_E_INVALID, "--sessions, --distinct and --opening are at least 1, --size at most 64 MiB");
    return CQ_OK;
}

static enum cq_rc read_options(struct load_options *o, const struct words *w, struct cq_err *err)
{
    const struct {
        const char *text;
        struct load_endpoint *endpoint;
    } endpoints[] = {{w->smtp, &o->smtp}, {w->lmtp, &o->lmtp}, {w->imap, &o->imap}, {w->pop3, &o->pop3}};
    o->seconds = 10;
    o->warmup = 1;
    enum cq_rc rc = read_numbers(o, w, err);
    for (size_t i = 0; i < 4 && rc == CQ_OK; i++)
        rc = endpoint(endpoints[i].text, endpoints[i].endpoint, err);
    if (rc != CQ_OK)
        return rc;
    choose_tls(o, w->tls);
    o->ca = w->ca;
    o->server_name = w->name ? w->name : "localhost";
    o->mailbox = w->mailbox ? w->mailbox : "";
    o->commands = w->commands.items;
    o->command_count = w->commands.count;
    o->lmtp_delivery = w->lmtp_delivery;
    o->resume = w->resume;
    o->multiappend = w->multiappend;
    return choose_accounts(o, w, err);
}

/* As many descriptors as the hard limit allows: one a session. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum cq_rc fits(const struct load_scenario *scenario, const struct load_options *o, struct cq_err *err)
{
    if (strcmp(scenario->name, "commands") == 0 && !o->command_count)
        return CQ_FAIL(err, CQ_E_INVALID, "commands needs --command");
    if (strcmp(scenario->name, "seed") == 0 && !o->operations)
        return CQ_FAIL(err, CQ_E_INVALID, "seed needs --operations");
    bool sends = scenario->session == scenario_delivery || scenario->session == scenario_writes;
    const struct load_endpoint *needed = scenario->session == scenario_pop3 ? &o->pop3
                                         : !sends                           ? &o->imap
                                         : o->lmtp_delivery                 ? &o->lmtp
                                                                            : &o->smtp;
    if (!needed->count || (scenario->session == scenario_e2e && !o->smtp.count))
        return CQ_FAIL(err, CQ_E_INVALID, "%s needs the server's address (--smtp, --lmtp, --imap, --pop3)",
                       scenario->name);
    return CQ_OK;
}

static int run(const char *name, const struct words *w)
{
    static struct load_options options;
    struct cq_err err = {0};
    const struct load_scenario *scenario = NULL;
    for (size_t i = 0; i < load_scenario_count; i++)
        if (strcmp(load_scenarios[i].name, name) == 0)
            scenario = &load_scenarios[i];
    if (!scenario) {
        fprintf(stderr, "chasqui-load: no scenario \"%s\"; see --help\n", name);
        return 2;
    }
    options.scenario = name;
    enum cq_rc rc = read_options(&options, w, &err);
    if (rc == CQ_OK)
        rc = fits(scenario, &options, &err);
    if (rc == CQ_OK) {
        raise_limit();
        rc = load_run(scenario, &options, &err);
    }
    if (rc == CQ_OK)
        return 0;
    fprintf(stderr, "chasqui-load: %s\n", err.text);
    return 2;
}

static void help(const struct cq_arg *args, size_t count)
{
    struct cq_buf out;
    cq_buf_init(&out, 64u << 10);
    cq_args_help(&out, "chasqui-load", "SCENARIO [options]", "Load for a mail server on this machine.", args, count);
    cq_buf_cstr(&out, "\nscenarios:\n");
    for (size_t i = 0; i < load_scenario_count; i++)
        cq_buf_printf(&out, "  %-10s %s\n", load_scenarios[i].name, load_scenarios[i].help);
    fwrite(out.data, 1, out.len, stdout);
    cq_buf_fini(&out);
}

int main(int argc, char **argv)
{
    static struct words w;
    w.commands = (struct cq_strings_out){.items = w.command_items, .max = COMMANDS_MAX};
    const struct cq_arg args[] = {
        {.name = "smtp", .value = "ADDRESSES", .text = &w.smtp, .help = "host:port, several with commas (STARTTLS)"},
        {.name = "lmtp", .value = "ADDRESSES", .text = &w.lmtp, .help = "in clear"},
        {.name = "imap", .value = "ADDRESSES", .text = &w.imap, .help = "with TLS from the first octet"},
        {.name = "pop3", .value = "ADDRESSES", .text = &w.pop3, .help = "with TLS from the first octet"},
        {.name = "tls", .value = "no", .text = &w.tls, .help = "\"no\": everything in clear"},
        {.name = "ca", .value = "FILE", .text = &w.ca, .help = "whom to trust"},
        {.name = "name", .value = "HOST", .text = &w.name, .help = "the name in the certificate (localhost)"},
        {.name = "accounts", .value = "FILE", .text = &w.accounts, .help = "lines of: address password"},
        {.name = "first-account", .value = "N", .text = &w.first_account, .help = "skip so many"},
        {.name = "account-count", .value = "N", .text = &w.account_count, .help = "use so many"},
        {.name = "sessions", .value = "N", .text = &w.sessions, .help = "connections (1)"},
        {.name = "seconds", .value = "S", .text = &w.seconds, .help = "measured time (10)"},
        {.name = "warmup", .value = "S", .text = &w.warmup, .help = "before it (1)"},
        {.name = "operations", .value = "N", .text = &w.operations, .help = "end after so many instead"},
        {.name = "size", .value = "OCTETS", .text = &w.size, .help = "of messages; 0: median 16 KiB, tail to 1 MiB"},
        {.name = "distinct", .value = "N", .text = &w.distinct, .help = "different messages (256)"},
        {.name = "seed", .value = "N", .text = &w.seed, .help = "of messages and choices (1)"},
        {.name = "mailbox", .value = "NAME", .text = &w.mailbox, .help = "that is selected or filled"},
        {.name = "command", .value = "TEXT", .list = &w.commands, .help = "an IMAP command; may be repeated"},
        {.name = "opening", .value = "N", .text = &w.opening, .help = "idle: log-ins at a time (64)"},
        {.name = "delivery-by-lmtp", .flag = &w.lmtp_delivery, .help = "delivery and writes: LMTP, not SMTP"},
        {.name = "resume", .flag = &w.resume, .help = "login: resume TLS sessions"},
        {.name = "multiappend", .flag = &w.multiappend, .help = "seed: many messages per APPEND"},
        {.name = "help", .letter = 'h', .flag = &w.help, .help = "print this help and exit"},
    };
    struct cq_rest rest;
    struct cq_err err = {0};
    if (cq_args_parse(args, sizeof args / sizeof *args, argc, argv, CQ_ARGS_REST, &rest, &err) != CQ_OK) {
        fprintf(stderr, "chasqui-load: %s\n", err.text);
        return 2;
    }
    if (w.help || rest.count != 1) {
        help(args, sizeof args / sizeof *args);
        return w.help ? 0 : 2;
    }
    io_metrics_register();
    return run(rest.items[0], &w);
}
