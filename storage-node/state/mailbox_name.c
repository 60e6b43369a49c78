#include "state/mailbox_name.h"

#include "base/cq_text.h"
#include "state/state_key.h"
#include "state/state_limits.h"

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

enum cq_rc mailbox_name_check(struct cq_slice name, struct cq_err *err)
{
    if (name.len == 0 || name.len > STATE_NAME_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "mailbox name of %zu bytes", name.len);
    unsigned levels = 1;
    bool level_empty = true;
    for (size_t at = 0, step; at < name.len; at += step) {
        uint32_t code = cq_utf8_next(cq_slice_skip(name, at), &step);
        if (code == CQ_UTF8_BAD || is_control(code))
            return CQ_FAIL(err, CQ_E_INVALID, "mailbox name with a bad character at byte %zu", at);
        if (code == '/' && level_empty)
            return CQ_FAIL(err, CQ_E_INVALID, "mailbox name with an empty level at byte %zu", at);
        level_empty = code == '/';
        levels += level_empty;
    }
    if (level_empty || levels > STATE_NAME_DEPTH_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "mailbox name of %u levels%s", levels, level_empty ? ", the last empty" : "");
    return CQ_OK;
}

enum cq_rc mailbox_name_take(const char *text, struct cq_pool *pool, struct cq_slice *name_r, struct cq_err *err)
{
    struct cq_slice name = cq_slice_cstr(text);
    enum cq_rc rc = mailbox_name_check(name, err);
    if (rc != CQ_OK)
        return rc;
    char *copy = cq_pool_cstr(pool, name);
    if (cq_slice_caseeq(cq_slice_sub(name, 0, cq_slice_find(name, '/')), CQ_SLICE("INBOX")))
        memcpy(copy, "INBOX", 5);
    *name_r = cq_slice_of(copy, name.len);
    return CQ_OK;
}

bool mailbox_name_is_inbox(struct cq_slice name)
{
    return cq_slice_eq(name, CQ_SLICE("INBOX"));
}

struct cq_slice mailbox_name_parent(struct cq_slice name)
{
    size_t len = name.len;
    while (len > 0 && name.data[len - 1] != '/')
        len--;
    return cq_slice_sub(name, 0, len ? len - 1 : 0);
}

bool mailbox_name_below(struct cq_slice name, struct cq_slice parent)
{
    return name.len > parent.len && cq_slice_starts(name, parent) && name.data[parent.len] == '/';
}
