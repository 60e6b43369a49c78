#include "mail/mail_subject.h"

#include "base/cq_mem.h"

#include <stdlib.h>

static bool is_wsp(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct cq_slice skip_wsp(struct cq_slice s)
{
    while (s.len && is_wsp(s.data[0]))
        s = cq_slice_skip(s, 1);
    return s;
}

static struct cq_slice trim_end(struct cq_slice s)
{
    while (s.len && is_wsp(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* subj-blob = "[" *BLOBCHAR "]" *WSP; returns its length or 0. */
static size_t blob_length(struct cq_slice s)
{
    size_t n = 1;
    if (s.len == 0 || s.data[0] != '[')
        return 0;
    while (n < s.len && s.data[n] != '[' && s.data[n] != ']')
        n++;
    if (n == s.len || s.data[n] != ']')
        return 0;
    struct cq_slice rest = skip_wsp(cq_slice_skip(s, n + 1));
    return s.len - rest.len;
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static size_t refwd_length(struct cq_slice s)
{
    static const char *const WORDS[] = {"re", "fwd", "fw"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        struct cq_slice word = cq_slice_cstr(WORDS[i]);
        if (!cq_slice_casestarts(s, word))
            continue;
        struct cq_slice rest = skip_wsp(cq_slice_skip(s, word.len));
        rest = cq_slice_skip(rest, blob_length(rest));
        if (rest.len && rest.data[0] == ':')
            return s.len - rest.len + 1;
    }
    return 0;
}

/* subj-leader = (*subj-blob subj-refwd) / WSP */
static size_t leader_length(struct cq_slice s, bool *reply)
{
    if (s.len && is_wsp(s.data[0]))
        return 1;
    struct cq_slice rest = s;
    for (size_t n; (n = blob_length(rest)) > 0;)
        rest = cq_slice_skip(rest, n);
    size_t n = refwd_length(rest);
    if (n == 0)
        return 0;
    *reply = true;
    return s.len - rest.len + n;
}

/* Step 2: subj-trailer = "(fwd)" / WSP */
static struct cq_slice cut_trailers(struct cq_slice s, bool *reply)
{
    const struct cq_slice fwd = CQ_SLICE("(fwd)");
    for (;;) {
        s = trim_end(s);
        if (s.len < fwd.len || !cq_slice_caseeq(cq_slice_skip(s, s.len - fwd.len), fwd))
            return s;
        s.len -= fwd.len;
        *reply = true;
    }
}

/* Steps 3 to 5: leaders, and blobs that leave something behind. */
static struct cq_slice cut_leaders(struct cq_slice s, bool *reply)
{
    for (;;) {
        size_t n = leader_length(s, reply);
        if (n == 0) {
            n = blob_length(s);
            if (n == s.len)
                n = 0;
        }
        if (n == 0)
            return s;
        s = cq_slice_skip(s, n);
    }
}

/* Step 6: "[fwd: " ... "]" */
static bool cut_wrapper(struct cq_slice *s)
{
    const struct cq_slice head = CQ_SLICE("[fwd:");
    if (s->len <= head.len || !cq_slice_casestarts(*s, head) || s->data[s->len - 1] != ']')
        return false;
    *s = cq_slice_sub(*s, head.len, s->len - head.len - 1);
    return true;
}

/* Step 1: runs of blanks become one. */
static struct cq_slice squeeze(struct cq_slice s, uint8_t *to)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        if (!is_wsp(s.data[i]) || n == 0 || to[n - 1] != ' ')
            to[n++] = is_wsp(s.data[i]) ? ' ' : s.data[i];
    return cq_slice_of(to, n);
}

bool mail_base_subject(struct cq_slice subject, struct cq_buf *out)
{
    bool reply = false;
    if (subject.len > MAIL_SUBJECT_MAX) { /* between characters */
        size_t n = MAIL_SUBJECT_MAX;
        while (n > MAIL_SUBJECT_MAX - 4 && (subject.data[n] & 0xc0) == 0x80)
            n--;
        subject.len = n;
    }
    uint8_t *copy = cq_malloc(MAIL_SUBJECT_MAX);
    struct cq_slice s = squeeze(subject, copy);
    do {
        s = cut_trailers(s, &reply);
        s = cut_leaders(s, &reply);
    } while (cut_wrapper(&s) && (reply = true));
    cq_buf_slice_add(out, s);
    free(copy);
    return reply;
}
