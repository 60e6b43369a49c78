#include "mail/mail_msgid.h"

bool mail_msgid_next(struct cq_slice *rest, struct cq_slice *id_r)
{
    while (rest->len) {
        *rest = cq_slice_skip(*rest, cq_slice_find(*rest, '<'));
        struct cq_slice inside = cq_slice_skip(*rest, 1);
        size_t n = 0;
        while (n < inside.len && inside.data[n] != '>' && inside.data[n] != '<')
            n++;
        bool whole = n < inside.len && inside.data[n] == '>';
        struct cq_slice id = cq_slice_trim(cq_slice_sub(inside, 0, n));
        *rest = cq_slice_skip(inside, whole ? n + 1 : n);
        if (whole && id.len) {
            *id_r = id;
            return true;
        }
    }
    return false;
}

void mail_msgid_write(struct cq_slice id, struct cq_buf *out)
{
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.data[i];
        if (c <= 32 || c == '"')
            continue;
        if (c == '\\' && i + 1 < id.len)
            c = id.data[++i];
        cq_buf_byte(out, c);
    }
}
