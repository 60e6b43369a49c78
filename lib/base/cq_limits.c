#include "base/cq_limits.h"

bool cq_limits_print_docs(struct cq_buf *out, const char *title, const struct cq_limit *rows, size_t count)
{
    cq_buf_printf(out, "## %s\n\n| limit | value | what it bounds | answer when it is reached |\n|---|---|---|---|\n",
                  title);
    for (size_t i = 0; i < count; i++)
        cq_buf_printf(out, "| `%s` | %llu %s | %s | %s |\n", rows[i].name, (unsigned long long)rows[i].value,
                      rows[i].unit, rows[i].help, rows[i].answer);
    return cq_buf_cstr(out, "\n") && cq_buf_ok(out);
}
