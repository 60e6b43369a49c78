#include "ctl.h"

#include <string.h>

static const char *synopsis(struct cq_buf *out, const struct admin_command *command)
{
    static const char *const shapes[] = {
        [ADMIN_REQUIRED] = " <%s>",   [ADMIN_OPTIONAL] = " [<%s>]", [ADMIN_REPEATED] = " <%s>...",
        [ADMIN_OPTION] = " [--%s V]", [ADMIN_SWITCH] = " [--%s]",   [ADMIN_SECRET] = " [--%s-stdin]",
    };
    cq_buf_cstr(out, command->name);
    for (size_t i = 0; i < admin_param_count(command); i++) {
        const char *shape = shapes[command->params[i].kind], *hole = strstr(shape, "%s");
        cq_buf_add(out, shape, (size_t)(hole - shape));
        cq_buf_cstr(out, command->params[i].name);
        cq_buf_cstr(out, hole + 2);
    }
    return command->help;
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
    cq_buf_cstr(out,
                "\nexit status: 0 done; 1 refused; 2 the command line or the settings are wrong; 3 nobody answered;\n"
                "4 the answer was lost, and the command may be repeated\n");
}

void ctl_help_group(struct cq_buf *out, struct cq_slice group)
{
    cq_buf_cstr(out, "commands:\n");
    list(out, group);
}

void ctl_help_command(struct cq_buf *out, const struct admin_command *command)
{
    cq_buf_cstr(out, "usage: chasquictl ");
    synopsis(out, command);
    cq_buf_printf(out, "\n\n%s\n", command->help);
    if (admin_param_count(command))
        cq_buf_byte(out, '\n');
    for (size_t i = 0; i < admin_param_count(command); i++) {
        const struct admin_param *param = &command->params[i];
        cq_buf_printf(out, "  %-18s %s%s\n", param->name, param->help,
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
