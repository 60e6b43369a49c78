#include "mail/mail_fold.h"

#include "mail_utf8_private.h"

#include "base/cq_mem.h"

#include <stdlib.h>
#include <unicase.h>
#include <uninorm.h>

#define WINDOW_MAX (16u << 10) /* octets of folded text kept for the search, beside the needle's length */
#define PIECE_MAX 512          /* octets of text folded at a time */
#define STACK_MAX (UC_DECOMPOSITION_MAX_LENGTH + 8)

/* Decomposes fully (UnicodeData field 5, compatibility mappings included), in order. Mappings are at most four deep in
 * Unicode; the stack is bounded all the same. */
static void add_decomposed(uint32_t cp, struct cq_buf *out)
{
    ucs4_t stack[STACK_MAX], parts[UC_DECOMPOSITION_MAX_LENGTH];
    size_t depth = 1;
    stack[0] = cp;
    while (depth) {
        ucs4_t c = stack[--depth];
        int tag, n = uc_decomposition(c, &tag, parts);
        if (n > 0 && depth + (size_t)n <= STACK_MAX) {
            while (n > 0)
                stack[depth++] = parts[--n];
            continue;
        }
        uint8_t utf8[4];
        cq_buf_add(out, utf8, mail_utf8_put(c, utf8));
    }
}

static void fold_other(uint32_t cp, struct cq_buf *out)
{
    if (cp == MAIL_UTF8_BAD)
        cq_buf_cstr(out, MAIL_REPLACEMENT);
    else
        add_decomposed(uc_totitle(cp), out);
}

void mail_fold(struct cq_slice utf8, struct cq_buf *out)
{
    size_t at = 0;
    while (at < utf8.len) {
        size_t n = 0;
        while (at + n < utf8.len && utf8.data[at + n] < 0x80)
            n++;
        uint8_t *to = n ? cq_buf_reserve(out, n) : NULL;
        for (size_t i = 0; to && i < n; i++)
            to[i] = cq_ascii_upper(utf8.data[at + i]);
        if (to)
            cq_buf_commit(out, n);
        at += n;
        if (at == utf8.len)
            return;
        uint32_t cp;
        n = mail_utf8_take(cq_slice_skip(utf8, at), &cp);
        fold_other(cp, out);
        at += n ? n : 1;
    }
}

struct mail_needle {
    size_t len;
    uint8_t folded[];
};

struct mail_needle *mail_needle_new(struct cq_slice text)
{
    struct cq_buf folded;
    if (text.len > MAIL_NEEDLE_MAX)
        return NULL;
    cq_buf_init(&folded, MAIL_FOLD_GROWTH * text.len + 1);
    mail_fold(text, &folded);
    struct mail_needle *needle = cq_malloc(sizeof *needle + folded.len);
    needle->len = folded.len;
    if (folded.len)
        memcpy(needle->folded, folded.data, folded.len);
    cq_buf_fini(&folded);
    return needle;
}

void mail_needle_free(struct mail_needle **needle)
{
    free(*needle);
    *needle = NULL;
}

bool mail_needle_in(const struct mail_needle *needle, struct cq_slice utf8)
{
    struct mail_finder f;
    mail_finder_init(&f, needle);
    bool found = mail_finder_feed(&f, utf8);
    mail_finder_fini(&f);
    return found;
}

void mail_finder_init(struct mail_finder *f, const struct mail_needle *needle)
{
    f->needle = needle;
    f->found = needle->len == 0;
    cq_buf_init(&f->window, needle->len + WINDOW_MAX + MAIL_FOLD_GROWTH * PIECE_MAX);
}

void mail_finder_fini(struct mail_finder *f)
{
    cq_buf_fini(&f->window);
}

void mail_finder_restart(struct mail_finder *f)
{
    cq_buf_reset(&f->window, SIZE_MAX);
}

/* Looks through the window and keeps what may be the beginning of a match. `from`: where the text not looked at yet
 * starts. */
static void look(struct mail_finder *f, size_t from)
{
    size_t before = f->needle->len - 1;
    size_t start = from > before ? from - before : 0;
    /* glibc's memmem is the two-way algorithm: linear. */
    f->found =
        f->window.len && memmem(f->window.data + start, f->window.len - start, f->needle->folded, f->needle->len);
    if (f->window.len > before + WINDOW_MAX)
        cq_buf_consume(&f->window, f->window.len - before);
}

bool mail_finder_feed(struct mail_finder *f, struct cq_slice utf8)
{
    while (utf8.len && !f->found) {
        size_t n = utf8.len < PIECE_MAX ? utf8.len : PIECE_MAX, from = f->window.len;
        while (n < utf8.len && n > PIECE_MAX - 4 && (utf8.data[n] & 0xc0) == 0x80)
            n--; /* not in the middle of a character */
        mail_fold(cq_slice_sub(utf8, 0, n), &f->window);
        utf8 = cq_slice_skip(utf8, n);
        look(f, from);
    }
    return f->found;
}
