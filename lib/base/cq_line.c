#include "base/cq_line.h"

enum cq_rc cq_line_take(struct cq_slice in, size_t max, struct cq_slice *line_r, size_t *used_r)
{
    size_t lf = cq_slice_find(cq_slice_sub(in, 0, max), '\n');
    if (lf == in.len || lf == max)
        return in.len >= max ? CQ_E_LIMIT : CQ_E_AGAIN;
    *used_r = lf + 1;
    struct cq_slice line = cq_slice_sub(in, 0, lf);
    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    *line_r = line;
    if (cq_slice_find(line, '\0') != line.len || cq_slice_find(line, '\r') != line.len)
        return CQ_E_PROTO;
    return CQ_OK;
}
