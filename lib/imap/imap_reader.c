#include "imap/imap_reader.h"

#include "base/cq_assert.h"
#include "imap/imap_command.h"

#define KEEP_MAX 512 /* bytes of buffer that an idle reader keeps */

enum phase { LINE, LITERAL, SWALLOW_LINE, SWALLOW_LITERAL, APPEND_HEADER, ENDED, LOST };

const struct imap_reader_limits imap_reader_preauth = {
    .command_max = IMAP_COMMAND_PREAUTH_MAX,
    .authenticate_max = IMAP_AUTHENTICATE_MAX,
    .literal_max = IMAP_LITERAL_PREAUTH_MAX,
    .literal_plus_max = IMAP_LITERAL_PREAUTH_MAX,
    .swallow_max = IMAP_SWALLOW_PREAUTH_MAX,
};

const struct imap_reader_limits imap_reader_auth = {
    .command_max = IMAP_COMMAND_MAX,
    .authenticate_max = IMAP_AUTHENTICATE_MAX,
    .literal_max = IMAP_COMMAND_MAX,
    .literal_plus_max = IMAP_COMMAND_MAX,
    .swallow_max = IMAP_SWALLOW_MAX,
    .append = true,
};

void imap_reader_init(struct imap_reader *r, const struct imap_reader_limits *limits)
{
    *r = (struct imap_reader){.phase = LINE};
    imap_reader_set_limits(r, limits);
}

void imap_reader_fini(struct imap_reader *r)
{
    cq_buf_fini(&r->text);
}

void imap_reader_set_limits(struct imap_reader *r, const struct imap_reader_limits *limits)
{
    size_t max = limits->command_max > limits->authenticate_max ? limits->command_max : limits->authenticate_max;
    r->limits = limits;
    if (!r->text.data)
        cq_buf_init(&r->text, max);
    r->text.max = max;
}

static void start(struct imap_reader *r, bool plain)
{
    cq_buf_reset(&r->text, KEEP_MAX);
    r->problem = NULL;
    r->left = r->swallowed = 0;
    r->tail_len = 0;
    r->line_start = 0;
    r->phase = LINE;
    r->plain = plain;
    r->quoted = r->escaped = false;
}

void imap_reader_next(struct imap_reader *r)
{
    start(r, false);
}

void imap_reader_next_line(struct imap_reader *r)
{
    start(r, true);
}

bool imap_reader_at_start(const struct imap_reader *r)
{
    return r->phase == LINE && r->text.len == 0;
}

struct cq_slice imap_reader_tag(const struct imap_reader *r)
{
    struct imap_head head;
    imap_command_head(cq_buf_slice(&r->text), &head);
    return r->plain || head.tag.len == 0 ? CQ_SLICE("*") : head.tag;
}

/* ---- Literal headers ---- */

struct header {
    uint64_t size;
    bool found;
    bool plus;
    bool too_long; /* more digits than any limit has */
};

/* "{" digits ["+"] "}" at the very end of a line. `cut`: what came before these bytes is gone. */
static struct header find_header(struct cq_slice line, bool cut)
{
    struct header h = {0};
    size_t at = line.len;
    if (at == 0 || line.data[--at] != '}')
        return h;
    if (at && line.data[at - 1] == '+') {
        h.plus = true;
        at--;
    }
    size_t end = at;
    while (at && cq_ascii_digit(line.data[at - 1]))
        at--;
    h.too_long = at == 0 && cut; /* nothing but digits is left of it */
    h.found = at < end && (h.too_long || (at && line.data[at - 1] == '{'));
    if (h.found && !h.too_long)
        h.too_long = !cq_slice_u64(cq_slice_sub(line, at, end - at), UINT32_MAX, &h.size);
    return h;
}

/* ---- Throwing away ---- */

static enum imap_read bad(struct imap_reader *r)
{
    r->phase = ENDED;
    return IMAP_READ_BAD;
}

static enum imap_read cannot_follow(struct imap_reader *r, const char *problem)
{
    r->problem = problem;
    r->too_big = true;
    r->phase = LOST;
    return IMAP_READ_CLOSE;
}

static enum imap_read swallow_header(struct imap_reader *r, struct header h)
{
    if (!h.found || !h.plus) /* a synchronising literal is never sent once the answer is BAD */
        return bad(r);
    if (h.too_long || h.size > r->limits->swallow_max - r->swallowed)
        return cannot_follow(r, "Literal too big");
    r->left = h.size;
    r->phase = h.size ? SWALLOW_LITERAL : SWALLOW_LINE;
    r->tail_len = 0;
    return IMAP_READ_MORE;
}

static struct cq_slice present_line(const struct imap_reader *r)
{
    return cq_slice_skip(cq_buf_slice(&r->text), r->line_start);
}

/* Keeps the last bytes of the line that is thrown away. */
static void keep_tail(struct imap_reader *r, struct cq_slice more)
{
    more = cq_slice_skip(more, more.len > sizeof r->tail ? more.len - sizeof r->tail : 0);
    size_t keep = sizeof r->tail - more.len;
    if (keep > r->tail_len)
        keep = r->tail_len;
    memmove(r->tail, r->tail + r->tail_len - keep, keep);
    if (more.len)
        memcpy(r->tail + keep, more.data, more.len);
    r->tail_len = (uint8_t)(keep + more.len);
}

/* The rest of this line, and the literals after it, are not kept. What was kept stays: the tag is in it. */
static void give_up(struct imap_reader *r, const char *problem)
{
    if (!r->problem)
        r->problem = problem;
    r->phase = r->left ? SWALLOW_LITERAL : SWALLOW_LINE;
    if (r->phase == SWALLOW_LINE)
        keep_tail(r, present_line(r));
}

static bool swallow_count(struct imap_reader *r, size_t n)
{
    r->swallowed += n;
    return r->swallowed <= r->limits->swallow_max;
}

static struct cq_slice without_cr(struct cq_slice line)
{
    return line.len && line.data[line.len - 1] == '\r' ? cq_slice_sub(line, 0, line.len - 1) : line;
}

static enum imap_read swallow_line(struct imap_reader *r, struct cq_slice in, size_t *used)
{
    size_t n = cq_slice_find(in, '\n');
    keep_tail(r, cq_slice_sub(in, 0, n));
    *used = n < in.len ? n + 1 : n;
    if (!swallow_count(r, *used))
        return cannot_follow(r, "Command too long");
    if (n == in.len)
        return IMAP_READ_MORE;
    struct header h = {0};
    if (!r->plain)
        h = find_header(without_cr(cq_slice_of(r->tail, r->tail_len)), r->tail_len == sizeof r->tail);
    return swallow_header(r, h);
}

static enum imap_read swallow_literal(struct imap_reader *r, struct cq_slice in, size_t *used)
{
    *used = in.len < r->left ? in.len : (size_t)r->left;
    r->left -= *used;
    if (!swallow_count(r, *used))
        return cannot_follow(r, "Literal too big");
    if (r->left == 0)
        r->phase = SWALLOW_LINE;
    return IMAP_READ_MORE;
}

/* ---- Collecting ---- */

static size_t command_max(const struct imap_reader *r)
{
    size_t command = r->limits->command_max, authenticate = r->limits->authenticate_max;
    if (authenticate <= command)
        return command;
    if (r->plain)
        return authenticate;
    struct imap_head head;
    imap_command_head(cq_buf_slice(&r->text), &head);
    return head.verb == IMAP_AUTHENTICATE ? authenticate : command;
}

/* Adds what fits to the command; how many bytes did. AUTHENTICATE is recognised as soon as it matters. */
static size_t keep_part(struct imap_reader *r, struct cq_slice part)
{
    size_t kept = 0;
    for (int i = 0; i < 2; i++) {
        size_t max = i ? command_max(r) : r->limits->command_max;
        struct cq_slice fits = cq_slice_sub(part, kept, max > r->text.len ? max - r->text.len : 0);
        cq_buf_slice_add(&r->text, fits);
        kept += fits.len;
    }
    return kept;
}

/* Follows quoted strings, so that {5} inside one is not taken for a literal. */
static void follow_quotes(struct imap_reader *r, struct cq_slice part)
{
    for (size_t i = 0; i < part.len; i++) {
        uint8_t c = part.data[i];
        if (r->escaped)
            r->escaped = false;
        else if (c == '"')
            r->quoted = !r->quoted;
        else if (c == '\\' && r->quoted)
            r->escaped = true;
    }
}

static enum imap_read message_literal(struct imap_reader *r, struct header h)
{
    r->append_size = (uint32_t)h.size;
    r->append_plus = h.plus;
    r->phase = APPEND_HEADER;
    return IMAP_READ_APPEND;
}

static enum imap_read refuse_literal(struct imap_reader *r, struct header h, const char *problem)
{
    if (!r->problem)
        r->problem = problem;
    return swallow_header(r, h);
}

static enum imap_read accept_literal(struct imap_reader *r, struct header h)
{
    cq_buf_add(&r->text, "\r\n", 2);
    r->line_start = r->text.len + (size_t)h.size;
    r->left = h.size;
    r->phase = h.size ? LITERAL : LINE;
    r->quoted = r->escaped = false;
    return h.plus ? IMAP_READ_MORE : IMAP_READ_CONTINUE;
}

static enum imap_read literal_header(struct imap_reader *r, struct header h)
{
    const struct imap_reader_limits *limits = r->limits;
    if (r->text.len > limits->command_max)
        return refuse_literal(r, h, "Command too long"); /* AUTHENTICATE has no literals of use */
    if (!h.too_long && limits->append && imap_command_awaits_message(cq_buf_slice(&r->text)))
        return message_literal(r, h);
    if (h.plus && (h.too_long || h.size > limits->literal_plus_max) && !limits->append)
        return cannot_follow(r, "Literal too big"); /* before login nothing is thrown away for a stranger */
    if (h.too_long || h.size > (h.plus ? limits->literal_plus_max : limits->literal_max))
        return refuse_literal(r, h, "Literal too big");
    if (h.size + 2 > limits->command_max - r->text.len)
        return refuse_literal(r, h, "Command too long");
    return accept_literal(r, h);
}

static enum imap_read line_ended(struct imap_reader *r)
{
    struct cq_slice line = without_cr(present_line(r));
    r->text.len = r->line_start + line.len;
    if (cq_slice_find(line, '\r') < line.len && !r->problem)
        r->problem = "CR without LF";
    struct header h = {0};
    if (!r->plain)
        h = find_header(line, false);
    if (h.found && h.plus && r->quoted) { /* is it a literal or not? */
        cannot_follow(r, "Quoted string without end");
        r->too_big = false;
        return IMAP_READ_CLOSE;
    }
    if (h.found && !r->quoted)
        return r->problem ? swallow_header(r, h) : literal_header(r, h);
    if (r->problem)
        return bad(r);
    r->phase = ENDED;
    return IMAP_READ_COMMAND;
}

static enum imap_read read_line(struct imap_reader *r, struct cq_slice in, size_t *used)
{
    size_t n = cq_slice_find(in, '\n');
    struct cq_slice part = cq_slice_sub(in, 0, n);
    size_t clean = cq_slice_find(part, 0);
    size_t kept = keep_part(r, cq_slice_sub(part, 0, clean));
    *used = kept;
    if (kept < part.len) {
        give_up(r, kept == clean ? "NUL in command" : "Command too long");
        return IMAP_READ_MORE; /* the other bytes are thrown away */
    }
    follow_quotes(r, part);
    if (n == in.len)
        return IMAP_READ_MORE;
    *used = n + 1;
    return line_ended(r);
}

static enum imap_read read_literal(struct imap_reader *r, struct cq_slice in, size_t *used)
{
    struct cq_slice part = cq_slice_sub(in, 0, r->left < in.len ? (size_t)r->left : in.len);
    if (cq_slice_find(part, 0) < part.len) {
        give_up(r, "NUL in literal");
        return IMAP_READ_MORE;
    }
    cq_buf_slice_add(&r->text, part); /* room was checked with its header */
    r->left -= part.len;
    *used = part.len;
    if (r->left == 0)
        r->phase = LINE;
    return IMAP_READ_MORE;
}

/* One step; IMAP_READ_MORE may leave input. */
static enum imap_read step(struct imap_reader *r, struct cq_slice in, size_t *used)
{
    static enum imap_read (*const phases[])(struct imap_reader *, struct cq_slice, size_t *) = {
        [LINE] = read_line,
        [LITERAL] = read_literal,
        [SWALLOW_LINE] = swallow_line,
        [SWALLOW_LITERAL] = swallow_literal,
    };
    return phases[r->phase](r, in, used);
}

enum imap_read imap_reader_feed(struct imap_reader *r, struct cq_slice in, size_t *used_r)
{
    enum imap_read event = IMAP_READ_MORE;
    size_t used = 0;
    *used_r = 0;
    CQ_ASSERT(r->phase != APPEND_HEADER);
    if (r->phase == ENDED || r->phase == LOST) /* after refuse_append */
        return r->phase == LOST ? IMAP_READ_CLOSE : IMAP_READ_BAD;
    while (event == IMAP_READ_MORE && *used_r < in.len) {
        used = 0;
        event = step(r, cq_slice_skip(in, *used_r), &used);
        *used_r += used;
    }
    return event;
}

bool imap_reader_awaits_append(const struct imap_reader *r)
{
    return r->phase == APPEND_HEADER;
}

void imap_reader_stream_append(struct imap_reader *r)
{
    CQ_ASSERT(r->phase == APPEND_HEADER);
    start(r, false);
}

void imap_reader_refuse_append(struct imap_reader *r)
{
    CQ_ASSERT(r->phase == APPEND_HEADER);
    r->problem = "";
    swallow_header(r, (struct header){.found = true, .plus = r->append_plus, .size = r->append_size});
}
