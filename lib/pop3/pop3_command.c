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
    s->cr = false;
    if (s->limited && s->in_body && !s->lines_left)
        s->done = true;
}

/* Octets of a line, without its LF. */
static void line_goes_on(struct pop3_stuffer *s, struct cq_slice text)
{
    s->cr = text.data[text.len - 1] == '\r';
    if (text.len > 1 || !s->cr || !s->line_start)
        s->blank = false; /* anything but one CR */
    s->line_start = false;
}

/* What goes out as it is, is copied in one go: up to an octet that must stand before the rest. */
static void insert(struct cq_buf *out, struct cq_slice piece, size_t *from, size_t at, uint8_t octet)
{
    cq_buf_slice_add(out, cq_slice_sub(piece, *from, at - *from));
    cq_buf_byte(out, octet);
    *from = at;
}

void pop3_stuff(struct pop3_stuffer *s, struct cq_slice piece, struct cq_buf *out)
{
    size_t from = 0, at = 0;
    while (at < piece.len && !s->done) {
        size_t len = cq_slice_find(cq_slice_skip(piece, at), '\n');
        if (s->line_start && piece.data[at] == '.')
            insert(out, piece, &from, at, '.');
        if (len)
            line_goes_on(s, cq_slice_sub(piece, at, len));
        at += len;
        if (at == piece.len)
            break;
        if (!s->cr)
            insert(out, piece, &from, at, '\r');
        line_ended(s);
        at++;
    }
    cq_buf_slice_add(out, cq_slice_sub(piece, from, at - from));
}

void pop3_stuff_end(struct pop3_stuffer *s, struct cq_buf *out)
{
    if (!s->line_start && !s->cr)
        cq_buf_byte(out, '\r');
    if (!s->line_start)
        cq_buf_byte(out, '\n');
    cq_buf_add(out, ".\r\n", 3);
}

const struct cq_limit pop3_limit_rows[] = CQ_LIMITS_ROWS(POP3_LIMITS);
const size_t pop3_limit_row_count = sizeof pop3_limit_rows / sizeof *pop3_limit_rows;
