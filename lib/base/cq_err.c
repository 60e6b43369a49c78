#include "base/cq_err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    bool retryable;
} rows[CQ_RC_COUNT] = {
#define CQ_RC_ROW(name, retry, text) [name] = {#name, text, retry},
    CQ_RC_LIST(CQ_RC_ROW)
#undef CQ_RC_ROW
};

static bool known(enum cq_rc rc)
{
    return (int)rc >= 0 && rc < CQ_RC_COUNT;
}

const char *cq_rc_name(enum cq_rc rc)
{
    return known(rc) ? rows[rc].name : "CQ_E_?";
}

const char *cq_rc_text(enum cq_rc rc)
{
    return known(rc) ? rows[rc].text : "a result code that this version does not know";
}

bool cq_rc_retryable(enum cq_rc rc)
{
    return known(rc) && rows[rc].retryable;
}

enum cq_rc cq_err_set(struct cq_err *err, enum cq_rc rc, const char *fmt, ...)
{
    if (!err)
        return rc;
    err->rc = rc;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return rc;
}

enum cq_rc cq_err_context(struct cq_err *err, const char *fmt, ...)
{
    if (!err)
        return CQ_E_INTERNAL;
    char old[CQ_ERR_TEXT_SIZE];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof err->text)
        return err->rc;
    snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", old);
    return err->rc;
}

void cq_err_clear(struct cq_err *err)
{
    if (!err)
        return;
    err->rc = CQ_OK;
    err->text[0] = '\0';
}
