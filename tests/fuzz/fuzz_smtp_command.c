/* Command lines, MAIL and RCPT: a path that was accepted is accepted again as it is written. */
#include "smtp/smtp_command.h"

#include "base/cq_assert.h"
#include "base/cq_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const struct smtp_path *path, struct cq_pool *pool)
{
    struct smtp_path again;
    struct cq_slice text = smtp_path_text(path, pool);
    struct cq_slice bracketed = cq_slice_cstr(cq_pool_printf(pool, "<%.*s>", CQ_SLICE_ARG(text)));
    if (cq_slice_find(text, '\0') != text.len)
        return;
    CQ_ASSERT(smtp_path_take(&bracketed, true, pool, &again));
    CQ_ASSERT(again.null == path->null && cq_slice_eq(again.local, path->local) &&
              cq_slice_eq(again.domain, path->domain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct cq_slice in = cq_slice_of(data, size), line, verb, rest, param;
    size_t used;
    while (cq_line_take(in, SMTP_LINE_MAX, &line, &used) == CQ_OK) {
        struct smtp_mail mail;
        struct smtp_rcpt rcpt;
        smtp_split(line, &verb, &rest);
        if (smtp_parse_mail(rest, pool, &mail, &param) == SMTP_PARSE_OK)
            check_path(&mail.from, pool);
        if (smtp_parse_rcpt(rest, pool, &rcpt, &param) == SMTP_PARSE_OK)
            check_path(&rcpt.to, pool);
        in = cq_slice_skip(in, used);
    }
    cq_pool_free(&pool);
    return 0;
}
