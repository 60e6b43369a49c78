#include "smtp/smtp_data.h"

void smtp_data_init(struct smtp_data *data)
{
    *data = (struct smtp_data){.inside_line = false};
}

static enum cq_rc give(struct smtp_data *data, struct cq_slice in, size_t len, size_t *used_r, struct cq_slice *out_r)
{
    *out_r = cq_slice_sub(in, 0, len);
    *used_r = len;
    data->size += len;
    return CQ_OK;
}

/* At the start of a line that begins with a dot: the end, a stuffed dot, or not enough to tell. */
static enum cq_rc after_dot(struct smtp_data *data, struct cq_slice in, size_t *used_r)
{
    if (in.len == 1 || (in.len == 2 && in.data[1] == '\r'))
        return CQ_E_AGAIN;
    if (in.data[1] == '\r' && in.data[2] == '\n') {
        *used_r = 3;
        data->done = true;
        return CQ_E_EOF;
    }
    *used_r = 1; /* RFC 5321 4.5.2: the dot is removed, whatever follows it */
    data->inside_line = true;
    return CQ_OK;
}

/* How much of `in` (not empty, no dot to judge at its front) can be given out: up to and with the last CR LF before a
 * line that begins with a dot; a CR at the very end is kept back. Looks at every line end on the way. */
static size_t scan(struct smtp_data *data, struct cq_slice in)
{
    size_t at = 0;
    while (at < in.len) {
        struct cq_slice rest = cq_slice_skip(in, at);
        size_t lf = cq_slice_find(rest, '\n');
        size_t cr = cq_slice_find(cq_slice_sub(rest, 0, lf), '\r');
        if (lf == rest.len) {
            size_t held = rest.data[rest.len - 1] == '\r'; /* a CR whose LF may still come */
            if (cr < rest.len - held)
                data->bare = true;
            size_t end = in.len - held;
            if (end > at)
                data->inside_line = true;
            return end;
        }
        bool crlf = lf > 0 && rest.data[lf - 1] == '\r';
        if (!crlf || cr != lf - 1)
            data->bare = true;
        data->inside_line = !crlf;
        at += lf + 1;
        if (crlf && at < in.len && in.data[at] == '.')
            return at;
    }
    return at;
}

enum cq_rc smtp_data_next(struct smtp_data *data, struct cq_slice in, size_t *used_r, struct cq_slice *out_r)
{
    *out_r = CQ_SLICE_NONE;
    *used_r = 0;
    if (data->done)
        return CQ_E_EOF;
    if (in.len == 0)
        return CQ_E_AGAIN;
    if (!data->inside_line && in.data[0] == '.')
        return after_dot(data, in, used_r);
    size_t len = scan(data, in);
    if (len == 0)
        return CQ_E_AGAIN;
    if (!data->nul && cq_slice_find(cq_slice_sub(in, 0, len), '\0') != len)
        data->nul = true;
    return give(data, in, len, used_r, out_r);
}
