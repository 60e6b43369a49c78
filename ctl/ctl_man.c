/* The manual page, in man(7) macros, from the same tables as the help. */
#include "ctl.h"

#include <string.h>

/* A text of ours in roff: no line begins with a control character, "-" and "\" are themselves. */
static void text(struct cq_buf *out, const char *words)
{
    for (; *words; words++) {
        if (*words == '\\')
            cq_buf_cstr(out, "\\e");
        else if (*words == '-')
            cq_buf_cstr(out, "\\-");
        else
            cq_buf_byte(out, (uint8_t)*words);
    }
}

static void line(struct cq_buf *out, const char *macro, const char *words)
{
    cq_buf_printf(out, "%s%s", macro, macro[0] ? " " : "");
    text(out, words);
    cq_buf_byte(out, '\n');
}

static void parameters(struct cq_buf *out, const struct admin_command *command)
{
    for (size_t i = 0; i < admin_param_count(command); i++) {
        char name[64];
        ctl_param_text(&command->params[i], name);
        line(out, ".TP\n.B", name);
        line(out, "", command->params[i].help);
    }
}

static void columns(struct cq_buf *out, const struct admin_command *command)
{
    if (command->octets) {
        cq_buf_cstr(out, ".PP\n");
        line(out, "", "Writes the octets as they are stored.");
        return;
    }
    cq_buf_cstr(out, ".PP\nColumns:");
    for (size_t i = 0; i < admin_column_count(command); i++) {
        cq_buf_cstr(out, i ? ", " : " ");
        text(out, command->columns[i].name);
    }
    cq_buf_cstr(out, ".\n");
}

static void one_command(struct cq_buf *out, const struct admin_command *command)
{
    struct cq_buf synopsis;
    cq_buf_init(&synopsis, CTL_SYNOPSIS_MAX);
    ctl_synopsis(&synopsis, command);
    cq_buf_byte(&synopsis, '\0');
    line(out, ".SS", (const char *)synopsis.data);
    cq_buf_fini(&synopsis);
    line(out, "", command->help);
    parameters(out, command);
    columns(out, command);
}

void ctl_man(struct cq_buf *out, const struct cq_arg *options, size_t option_count)
{
    cq_buf_cstr(out, ".TH CHASQUICTL 1 \"\" \"Chasqui\" \"User commands\"\n.SH NAME\n"
                     "chasquictl \\- operates a Chasqui cluster\n"
                     ".SH SYNOPSIS\n.B chasquictl\n[options] COMMAND ...\n.SH DESCRIPTION\n");
    line(out, "",
         "Asks the front-ends' role admin (accounts, aliases, mailboxes, sessions) and the storage nodes (nodes, "
         "shards) "
         "with an operator's certificate; never a database. A command whose answer was lost may be repeated; only "
         "app-password add makes one more each time.");
    cq_buf_cstr(out, ".SH OPTIONS\nBefore or after the command.\n");
    for (size_t i = 0; i < option_count; i++) {
        cq_buf_printf(out, ".TP\n.BR \\-%c \", \" \\-\\-%s", options[i].letter, options[i].name);
        cq_buf_cstr(out, options[i].value ? " \" \" " : "");
        line(out, "", options[i].value ? options[i].value : "");
        line(out, "", options[i].help);
    }
    cq_buf_cstr(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < admin_command_count; i++)
        one_command(out, &admin_commands[i]);
    cq_buf_cstr(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < ctl_exit_count; i++) {
        cq_buf_printf(out, ".TP\n.B %zu\n", i);
        line(out, "", ctl_exit_texts[i]);
    }
    cq_buf_cstr(out, ".SH ENVIRONMENT\n.TP\n.B CHASQUICTL_CONFIG\n");
    line(out, "", "the settings file, when --config is not given");
    line(out, ".SH FILES\n.TP\n.I", CTL_SETTINGS_PATH);
    line(out, "", "the settings file, when neither is given; its keys are in docs/reference/settings.md");
    cq_buf_cstr(out, ".SH EXAMPLES\n.nf\n");
    static const char *const examples[] = {
        "chasquictl domain add example.org",
        "chasquictl account add ana@example.org",
        "printf '%s\\n' \"$PASSWORD\" | chasquictl account add ben@example.org --password-stdin --quota 10GiB",
        "chasquictl account list --state creating",
        "chasquictl app-password add ana@example.org --label phone --services imap,smtp",
        "chasquictl session kick ana@example.org",
        "chasquictl events replay --dry-run",
        "chasquictl events replay /var/lib/chasqui/events.ndjson --rotated --since 6h --topic mail.delivery",
        "chasquictl shard list -o json",
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        line(out, "", examples[i]);
    cq_buf_cstr(out, ".fi\n");
}
