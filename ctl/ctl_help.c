#include "ctl.h"

#include <stdio.h>
#include <string.h>

const char *const ctl_exit_texts[] = {
#define CTL_EXIT_TEXT(name, text) [name] = text,
    CTL_EXITS(CTL_EXIT_TEXT)
#undef CTL_EXIT_TEXT
};
const size_t ctl_exit_count = sizeof ctl_exit_texts / sizeof *ctl_exit_texts;

static void fill(char *out, size_t size, const char *shape, const char *name)
{
    const char *hole = strstr(shape, "%s");
    snprintf(out, size, "%.*s%s%s", (int)(hole - shape), shape, name, hole + 2);
}

void ctl_synopsis(struct cq_buf *out, const struct admin_command *command)
{
    static const char *const shapes[] = {
        [ADMIN_REQUIRED] = " <%s>",   [ADMIN_OPTIONAL] = " [<%s>]", [ADMIN_REPEATED] = " <%s>...",
        [ADMIN_OPTION] = " [--%s V]", [ADMIN_SWITCH] = " [--%s]",   [ADMIN_SECRET] = " [--%s-stdin]",
    };
    cq_buf_cstr(out, command->name);
    for (size_t i = 0; i < admin_param_count(command); i++) {
        char text[64];
        fill(text, sizeof text, shapes[command->params[i].kind], command->params[i].name);
        cq_buf_cstr(out, text);
    }
}

void ctl_param_text(const struct admin_param *param, char text_r[static 64])
{
    static const char *const shapes[] = {
        [ADMIN_REQUIRED] = "<%s>", [ADMIN_OPTIONAL] = "<%s>", [ADMIN_REPEATED] = "<%s>...",
        [ADMIN_OPTION] = "--%s V", [ADMIN_SWITCH] = "--%s",   [ADMIN_SECRET] = "--%s-stdin",
    };
    fill(text_r, 64, shapes[param->kind], param->name);
}

static void list(struct cq_buf *out, struct cq_slice prefix)
{
    for (size_t i = 0; i < admin_command_count; i++) {
        const struct admin_command *command = &admin_commands[i];
        struct cq_slice name = cq_slice_cstr(command->name);
        if (!cq_slice_starts(name, prefix) || (prefix.len && name.len > prefix.len && name.data[prefix.len] != ' '))
            continue;
        cq_buf_printf(out, "  %-20s %s\n", command->name, command->help);
    }
}

void ctl_help(struct cq_buf *out)
{
    cq_buf_cstr(out, "\ncommands (chasquictl COMMAND --help tells more):\n");
    list(out, CQ_SLICE_NONE);
    cq_buf_cstr(out, "\nSettings are read from --config, else $CHASQUICTL_CONFIG, else " CTL_SETTINGS_PATH ".\n"
                     "\nexit status:\n");
    for (size_t i = 0; i < ctl_exit_count; i++)
        cq_buf_printf(out, "  %zu  %s\n", i, ctl_exit_texts[i]);
}

void ctl_help_group(struct cq_buf *out, struct cq_slice group)
{
    cq_buf_cstr(out, "commands:\n");
    list(out, group);
}

void ctl_help_command(struct cq_buf *out, const struct admin_command *command)
{
    cq_buf_cstr(out, "usage: chasquictl ");
    ctl_synopsis(out, command);
    cq_buf_printf(out, "\n\n%s\n", command->help);
    if (admin_param_count(command))
        cq_buf_byte(out, '\n');
    for (size_t i = 0; i < admin_param_count(command); i++) {
        const struct admin_param *param = &command->params[i];
        char name[64];
        ctl_param_text(param, name);
        cq_buf_printf(out, "  %-20s %s%s\n", name, param->help,
                      param->kind == ADMIN_SECRET ? " (first line of standard input, asked for on a terminal)" : "");
    }
    if (command->octets) {
        cq_buf_cstr(out, "\nThe octets go to standard output as they are stored.\n");
        return;
    }
    cq_buf_cstr(out, "\ncolumns:");
    for (size_t i = 0; i < admin_column_count(command); i++)
        cq_buf_printf(out, " %s", command->columns[i].name);
    cq_buf_byte(out, '\n');
}
