#include "pop3/pop3_command.h"

void pop3_split(struct cq_slice line, struct cq_slice *keyword_r, struct cq_slice *rest_r)
{
    *rest_r = line;
    *keyword_r = cq_slice_cut(rest_r, ' ');
}

bool pop3_number(struct cq_slice text, uint32_t max, uint32_t *number_r)
{
    uint64_t value;
    if (!cq_slice_u64(cq_slice_trim(text), max, &value) || value == 0)
        return false;
    *number_r = (uint32_t)value;
    return true;
}

bool pop3_number_and_count(struct cq_slice text, uint32_t max, uint32_t *number_r, uint64_t *lines_r)
{
    text = cq_slice_trim(text);
    struct cq_slice number = cq_slice_cut(&text, ' ');
    return pop3_number(number, max, number_r) && cq_slice_u64(cq_slice_trim(text), UINT32_MAX, lines_r);
}

void pop3_stuffer_init(struct pop3_stuffer *stuffer, bool limited, uint64_t lines)
{
    *stuffer = (struct pop3_stuffer){.line_start = true, .blank = true, .limited = limited, .lines_left = lines};
}

/* A line has ended: are we in the body now, and is that all that TOP wanted? */
static void line_ended(struct pop3_stuffer *s)
{
    if (s->in_body && s->limited && s->lines_left)
        s->lines_left--;
    if (s->blank)
        s->in_body = true;
    s->line_start = s->blank = true;
    if (s->limited && s->in_body && !s->lines_left)
        s->done = true;
}

static void add_newline(struct pop3_stuffer *s, struct cq_buf *out)
{
    if (!s->cr)
        cq_buf_byte(out, '\r');
    cq_buf_byte(out, '\n');
    s->cr = false;
    line_ended(s);
}

void pop3_stuff(struct pop3_stuffer *s, struct cq_slice piece, struct cq_buf *out)
{
    while (piece.len && !s->done) {
        size_t len = cq_slice_find(piece, '\n');
        struct cq_slice text = cq_slice_sub(piece, 0, len);
        if (text.len) {
            if (s->line_start && text.data[0] == '.')
                cq_buf_byte(out, '.');
            cq_buf_slice_add(out, text);
            bool ends_with_cr = text.data[text.len - 1] == '\r';
            if (text.len > 1 || !ends_with_cr || !s->line_start)
                s->blank = false; /* anything but one CR */
            s->line_start = false;
            s->cr = ends_with_cr;
        }
        if (len < piece.len)
            add_newline(s, out);
        piece = cq_slice_skip(piece, len < piece.len ? len + 1 : len);
    }
}

void pop3_stuff_end(struct pop3_stuffer *s, struct cq_buf *out)
{
    if (!s->line_start)
        add_newline(s, out);
    cq_buf_add(out, ".\r\n", 3);
}

const struct cq_limit pop3_limit_rows[] = CQ_LIMITS_ROWS(POP3_LIMITS);
const size_t pop3_limit_row_count = sizeof pop3_limit_rows / sizeof *pop3_limit_rows;
