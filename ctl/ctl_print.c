#include "ctl.h"

#include "base/cq_text.h"

#include <string.h>

void ctl_rows_add(struct ctl *ctl, struct ctl_rows *rows, char **cells)
{
    if (rows->count == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 16;
        char ***next = cq_pool_alloc(ctl->pool, cap * sizeof *next);
        if (rows->count)
            memcpy(next, rows->rows, rows->count * sizeof *next);
        rows->rows = next;
        rows->cap = cap;
    }
    rows->rows[rows->count++] = cells;
}

/* Columns on a terminal: code points, near enough for names and numbers. */
static size_t width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* What peers named may hold control characters: never to a terminal as they are. */
static char *safe(const struct ctl *ctl, const char *text)
{
    struct cq_buf out;
    cq_buf_init(&out, 6 * strlen(text) + 1);
    cq_json_escape(&out, cq_slice_cstr(text));
    char *copy = cq_pool_cstr(ctl->pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return copy;
}

static void cell(struct cq_buf *out, const char *text, size_t to, bool last, bool right)
{
    size_t pad = to > width(text) ? to - width(text) : 0;
    if (right)
        cq_buf_printf(out, "%*s%s", (int)pad, "", text);
    else
        cq_buf_printf(out, "%s%*s", text, last ? 0 : (int)pad, "");
    cq_buf_cstr(out, last ? "\n" : "  ");
}

static void print_table(const struct ctl *ctl, const struct admin_command *command, const struct ctl_rows *rows,
                        struct cq_buf *out)
{
    size_t n = admin_column_count(command), widths[ADMIN_COLUMNS_MAX];
    for (size_t c = 0; c < n; c++) {
        widths[c] = width(command->columns[c].name);
        for (size_t r = 0; r < rows->count; r++) {
            rows->rows[r][c] = safe(ctl, rows->rows[r][c]);
            if (width(rows->rows[r][c]) > widths[c])
                widths[c] = width(rows->rows[r][c]);
        }
    }
    for (size_t c = 0; c < n; c++)
        cell(out, command->columns[c].name, widths[c], c + 1 == n, command->columns[c].type == ADMIN_NUMBER);
    for (size_t r = 0; r < rows->count; r++)
        for (size_t c = 0; c < n; c++)
            cell(out, rows->rows[r][c], widths[c], c + 1 == n, command->columns[c].type == ADMIN_NUMBER);
}

static void json_value(struct cq_buf *out, enum admin_type type, const char *text)
{
    if (type == ADMIN_TEXT)
        cq_json_string(out, cq_slice_cstr(text));
    else
        cq_buf_cstr(out, text[0] ? text : "null");
}

static void json_row(struct cq_buf *out, const struct admin_command *command, char **cells)
{
    cq_buf_byte(out, '{');
    for (size_t c = 0; c < admin_column_count(command); c++) {
        cq_buf_cstr(out, c ? ", " : "");
        cq_json_string(out, cq_slice_cstr(command->columns[c].name));
        cq_buf_cstr(out, ": ");
        json_value(out, command->columns[c].type, cells[c]);
    }
    cq_buf_byte(out, '}');
}

static void print_json(const struct admin_command *command, const struct ctl_rows *rows, struct cq_buf *out)
{
    if (!command->single)
        cq_buf_byte(out, '[');
    for (size_t r = 0; r < rows->count; r++) {
        if (r)
            cq_buf_cstr(out, ",\n ");
        json_row(out, command, rows->rows[r]);
    }
    cq_buf_cstr(out, command->single ? "\n" : "]\n");
}

void ctl_print(const struct ctl *ctl, const struct admin_command *command, const struct ctl_rows *rows,
               struct cq_buf *out)
{
    if (ctl->format == CTL_JSON)
        print_json(command, rows, out);
    else
        print_table(ctl, command, rows, out);
}
