#include "load_scan.h"

/* ---- Lines ---- */

void load_line_clear(struct load_line *line)
{
    line->head_len = line->tail_len = line->len = 0;
    line->head[0] = 0;
}

static void keep_head(struct load_line *line, struct cq_slice piece)
{
    size_t room = LOAD_HEAD_MAX - line->head_len;
    size_t n = piece.len < room ? piece.len : room;
    if (!n)
        return;
    memcpy(line->head + line->head_len, piece.data, n);
    line->head_len += n;
    line->head[line->head_len] = 0;
}

static void keep_tail(struct load_line *line, struct cq_slice piece)
{
    if (!piece.len)
        return;
    if (piece.len >= LOAD_TAIL_MAX) {
        memcpy(line->tail, piece.data + piece.len - LOAD_TAIL_MAX, LOAD_TAIL_MAX);
        line->tail_len = LOAD_TAIL_MAX;
        return;
    }
    size_t over = line->tail_len + piece.len > LOAD_TAIL_MAX ? line->tail_len + piece.len - LOAD_TAIL_MAX : 0;
    memmove(line->tail, line->tail + over, line->tail_len - over);
    memcpy(line->tail + line->tail_len - over, piece.data, piece.len);
    line->tail_len += piece.len - over;
}

static void drop_cr(struct load_line *line)
{
    if (!line->tail_len || line->tail[line->tail_len - 1] != '\r')
        return;
    line->tail_len--;
    if (line->head_len == line->len)
        line->head[--line->head_len] = 0;
    line->len--;
}

size_t load_line_feed(struct load_line *line, struct cq_slice data, bool *complete_r)
{
    size_t end = cq_slice_find(data, '\n');
    struct cq_slice piece = cq_slice_sub(data, 0, end);
    keep_head(line, piece);
    keep_tail(line, piece);
    line->len += piece.len;
    *complete_r = end < data.len;
    if (!*complete_r)
        return end;
    drop_cr(line);
    return end + 1;
}

static struct cq_slice head_of(const struct load_line *line)
{
    return cq_slice_of(line->head, line->head_len);
}

/* ---- IMAP ---- */

void load_imap_begin(struct load_imap *imap, const char *tag)
{
    imap->tag = tag;
    imap->status = LOAD_PENDING;
    imap->octets = imap->literal_octets = imap->fetches = imap->expunges = 0;
    imap->captured = 0;
}

/* "...{123}" at the end of a line (RFC 3501 4.3). */
static bool literal_follows(const struct load_line *line, uint64_t *n_r)
{
    struct cq_slice tail = cq_slice_of(line->tail, line->tail_len);
    if (!tail.len || tail.data[tail.len - 1] != '}')
        return false;
    size_t open = tail.len - 1;
    while (open && tail.data[open] != '{')
        open--;
    return tail.data[open] == '{' && cq_slice_u64(cq_slice_sub(tail, open + 1, tail.len - open - 2), UINT32_MAX, n_r);
}

static enum load_status status_word(struct cq_slice text)
{
    static const struct {
        const char *word;
        enum load_status status;
    } words[] = {{"OK", LOAD_OK}, {"NO", LOAD_NO}, {"BAD", LOAD_BAD}};
    struct cq_slice word = cq_slice_cut(&text, ' ');
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (cq_slice_caseeq(word, cq_slice_cstr(words[i].word)))
            return words[i].status;
    return LOAD_BAD;
}

/* "12 EXISTS", "12 FETCH (...", "12 EXPUNGE" */
static void numbered(struct load_imap *imap, struct cq_slice rest)
{
    uint64_t number;
    struct cq_slice first = cq_slice_cut(&rest, ' '), name = cq_slice_cut(&rest, ' ');
    if (!cq_slice_u64(first, UINT32_MAX, &number))
        return;
    if (cq_slice_caseeq(name, CQ_SLICE("FETCH")))
        imap->fetches++;
    else if (cq_slice_caseeq(name, CQ_SLICE("EXISTS")))
        imap->exists = number;
    else if (cq_slice_caseeq(name, CQ_SLICE("EXPUNGE")))
        imap->expunges++, imap->exists -= imap->exists > 0;
}

static void untagged(struct load_imap *imap, struct cq_slice rest)
{
    if (!*imap->tag)
        imap->status = cq_slice_casestarts(rest, CQ_SLICE("BYE")) ? LOAD_BYE : LOAD_GREETING;
    else if (cq_slice_casestarts(rest, CQ_SLICE("BYE")))
        imap->status = LOAD_BYE;
    else
        numbered(imap, rest);
}

static void response_begins(struct load_imap *imap)
{
    struct cq_slice head = head_of(&imap->line), tag = cq_slice_cstr(imap->tag);
    if (cq_slice_starts(head, CQ_SLICE("* ")))
        untagged(imap, cq_slice_skip(head, 2));
    else if (cq_slice_starts(head, CQ_SLICE("+")))
        imap->status = LOAD_CONTINUE;
    else if (tag.len && cq_slice_starts(head, tag) && head.len > tag.len && head.data[tag.len] == ' ')
        imap->status = status_word(cq_slice_skip(head, tag.len + 1));
    else
        imap->status = LOAD_BAD;
}

static size_t take_literal(struct load_imap *imap, struct cq_slice data)
{
    size_t n = imap->literal_left < data.len ? (size_t)imap->literal_left : data.len;
    size_t room = imap->capture ? imap->capture_max - imap->captured : 0, keep = n < room ? n : room;
    if (keep)
        memcpy(imap->capture + imap->captured, data.data, keep);
    imap->captured += keep;
    imap->literal_left -= n;
    imap->literal_octets += n;
    return n;
}

static size_t take_line(struct load_imap *imap, struct cq_slice data)
{
    bool complete;
    size_t n = load_line_feed(&imap->line, data, &complete);
    if (!complete)
        return n;
    bool begins = !imap->inside;
    imap->inside = literal_follows(&imap->line, &imap->literal_left);
    if (begins)
        response_begins(imap);
    if (imap->status == LOAD_PENDING)
        load_line_clear(&imap->line);
    return n;
}

size_t load_imap_feed(struct load_imap *imap, struct cq_slice data)
{
    size_t at = 0;
    if (imap->status == LOAD_PENDING && !imap->octets && !imap->inside)
        load_line_clear(&imap->line);
    while (imap->status == LOAD_PENDING && at < data.len) {
        struct cq_slice rest = cq_slice_skip(data, at);
        size_t n = imap->literal_left ? take_literal(imap, rest) : take_line(imap, rest);
        at += n;
        imap->octets += n;
    }
    return at;
}

/* ---- SMTP ---- */

size_t load_reply_feed(struct load_reply *reply, struct cq_slice data)
{
    size_t at = 0;
    bool complete;
    while (!reply->code && at < data.len) {
        at += load_line_feed(&reply->line, cq_slice_skip(data, at), &complete);
        if (!complete)
            break;
        uint64_t code;
        struct cq_slice head = head_of(&reply->line);
        if (!cq_slice_u64(cq_slice_sub(head, 0, 3), 599, &code) || code < 200)
            reply->code = -1;
        else if (head.len == 3 || head.data[3] == ' ')
            reply->code = (int)code;
        else
            load_line_clear(&reply->line);
    }
    return at;
}

/* ---- POP3 ---- */

void load_pop_begin(struct load_pop *pop, bool multi)
{
    load_line_clear(&pop->line);
    pop->multi = multi;
    pop->body = false;
    pop->status = LOAD_PENDING;
    pop->octets = 0;
}

static void pop_line(struct load_pop *pop)
{
    struct cq_slice head = head_of(&pop->line);
    if (!pop->body) {
        bool ok = cq_slice_starts(head, CQ_SLICE("+OK"));
        pop->body = ok && pop->multi;
        pop->status = pop->body ? LOAD_PENDING : ok ? LOAD_OK : LOAD_NO;
    } else if (pop->line.len == 1 && head.data[0] == '.') {
        pop->status = LOAD_OK;
    } else {
        pop->octets += pop->line.len + 2 - (pop->line.len && head.data[0] == '.');
    }
}

size_t load_pop_feed(struct load_pop *pop, struct cq_slice data)
{
    size_t at = 0;
    bool complete;
    while (pop->status == LOAD_PENDING && at < data.len) {
        at += load_line_feed(&pop->line, cq_slice_skip(data, at), &complete);
        if (!complete)
            break;
        pop_line(pop);
        if (pop->status == LOAD_PENDING)
            load_line_clear(&pop->line);
    }
    return at;
}
