#include "mail/mail_match.h"

#include "mail/mail_header.h"
#include "mail/mail_param.h"
#include "mail/mail_text_part.h"
#include "mail/mail_word.h"

#include "base/cq_mem.h"

#include <stdlib.h>

#define HEADER_OCTETS_MAX (1u << 20) /* of one part's header that are searched */
#define PIECE_MAX 4096
#define DECODED_GROWTH 8 /* how much longer decoded header text may be */

/* File names hide in RFC 2231 parameters, where the raw field does not show them. */
static bool params_contain(const struct mail_header_field *field, const struct mail_needle *needle)
{
    static const char *const NAMES[] = {"filename", "name"};
    bool disposition = cq_slice_caseeq(field->name, CQ_SLICE("Content-Disposition")), found = false;
    if (!disposition && !cq_slice_caseeq(field->name, CQ_SLICE("Content-Type")))
        return false;
    struct cq_pool *pool = cq_pool_new(1024);
    struct mail_params params;
    struct cq_buf value;
    cq_buf_init(&value, DECODED_GROWTH * field->value.len + 64);
    mail_params_parse(field->value, !disposition, mail_parse_limits_default().params, pool, &params);
    for (size_t i = 0; i < 2 && !found; i++) {
        cq_buf_reset(&value, SIZE_MAX);
        found =
            mail_params_get(&params, cq_slice_cstr(NAMES[i]), &value) && mail_needle_in(needle, cq_buf_slice(&value));
    }
    cq_buf_fini(&value);
    cq_pool_free(&pool);
    return found;
}

/* Is it in the field's decoded value, with "name: " before it when with_name? */
static bool field_contains(const struct mail_header_field *field, bool with_name, const struct mail_needle *needle)
{
    struct cq_buf text;
    cq_buf_init(&text, DECODED_GROWTH * field->raw.len + 64);
    if (with_name && field->name.len) {
        cq_buf_slice_add(&text, field->name);
        cq_buf_cstr(&text, ": ");
    }
    mail_word_decode(field->value, &text);
    bool found = mail_needle_in(needle, cq_buf_slice(&text));
    cq_buf_fini(&text);
    return found || params_contain(field, needle);
}

bool mail_match_header(struct cq_slice header, struct cq_slice name, const struct mail_needle *needle)
{
    struct mail_header_iter iter;
    struct mail_header_field field;
    mail_header_iter_init(&iter, header);
    while (mail_header_next(&iter, &field))
        if (field.name.len && cq_slice_caseeq(field.name, name) && field_contains(&field, false, needle))
            return true;
    return false;
}

static bool any_field_contains(struct cq_slice header, const struct mail_needle *needle)
{
    struct mail_header_iter iter;
    struct mail_header_field field;
    mail_header_iter_init(&iter, header);
    while (mail_header_next(&iter, &field))
        if (field_contains(&field, true, needle))
            return true;
    return false;
}

struct mail_matcher {
    const struct mail_needle *needle;
    enum mail_match_scope scope;
    struct mail_summary_parts iter;
    struct mail_summary_part part;
    bool body_due; /* the part's header is done, its body is next */
    bool in_body;  /* which range it is */
    uint64_t off, left;
    struct cq_buf header;
    struct mail_text_part *text;
    struct mail_finder finder;
    bool found, done;
};

static bool wants_header(const struct mail_matcher *m)
{
    return m->part.number > 0 || m->scope == MAIL_MATCH_TEXT;
}

static void set_range(struct mail_matcher *m, uint64_t from, uint64_t to, bool body)
{
    m->off = from;
    m->left = to - from;
    m->in_body = body;
    if (body)
        m->text = mail_text_part_new(m->part.encoding, m->part.charset, m->part.media == MAIL_MEDIA_HTML);
    else if (m->left > HEADER_OCTETS_MAX)
        m->left = HEADER_OCTETS_MAX;
}

/* To the next range that is not empty, or done. */
static void next_range(struct mail_matcher *m)
{
    while (m->left == 0 && !m->done) {
        bool text = m->part.media == MAIL_MEDIA_TEXT || m->part.media == MAIL_MEDIA_HTML;
        if (m->body_due) {
            m->body_due = false;
            if (text && m->part.end_off > m->part.body_off)
                set_range(m, m->part.body_off, m->part.end_off, true);
            continue;
        }
        m->done = !mail_summary_parts_next(&m->iter, &m->part);
        m->body_due = !m->done;
        if (!m->done && wants_header(m))
            set_range(m, m->part.header_off, m->part.body_off, false);
    }
}

struct mail_matcher *mail_matcher_new(const struct mail_summary *s, const struct mail_needle *needle,
                                      enum mail_match_scope scope)
{
    struct mail_matcher *m = cq_new(struct mail_matcher);
    m->needle = needle;
    m->scope = scope;
    cq_buf_init(&m->header, HEADER_OCTETS_MAX);
    mail_finder_init(&m->finder, needle);
    mail_summary_parts_init(&m->iter, s);
    m->found = m->finder.found;
    m->done = m->found;
    next_range(m);
    return m;
}

void mail_matcher_free(struct mail_matcher **matcher)
{
    struct mail_matcher *m = *matcher;
    if (!m)
        return;
    cq_buf_fini(&m->header);
    mail_text_part_free(&m->text);
    mail_finder_fini(&m->finder);
    free(m);
    *matcher = NULL;
}

bool mail_matcher_want(const struct mail_matcher *m, uint64_t *off_r, uint64_t *len_r)
{
    *off_r = m->off;
    *len_r = m->left;
    return !m->done;
}

static void end_range(struct mail_matcher *m)
{
    if (m->in_body) {
        m->found |= mail_finder_feed(&m->finder, mail_text_part_finish(m->text));
        mail_text_part_free(&m->text);
        mail_finder_restart(&m->finder);
    } else {
        m->found |= any_field_contains(cq_buf_slice(&m->header), m->needle);
        cq_buf_reset(&m->header, PIECE_MAX);
    }
}

void mail_matcher_feed(struct mail_matcher *m, struct cq_slice octets)
{
    octets = cq_slice_sub(octets, 0, m->left < SIZE_MAX ? (size_t)m->left : SIZE_MAX);
    while (octets.len && !m->done) {
        struct cq_slice piece = cq_slice_sub(octets, 0, PIECE_MAX);
        if (m->in_body)
            m->found |= mail_finder_feed(&m->finder, mail_text_part_feed(m->text, piece));
        else
            cq_buf_slice_add(&m->header, piece);
        m->off += piece.len;
        m->left -= piece.len;
        octets = cq_slice_skip(octets, piece.len);
        if (m->left == 0 && !m->found)
            end_range(m);
        m->done = m->found;
    }
    next_range(m);
}

enum cq_rc mail_matcher_result(const struct mail_matcher *m, bool *found_r)
{
    *found_r = m->found;
    return m->iter.corrupt ? CQ_E_CORRUPT : CQ_OK;
}

enum cq_rc mail_match_message(const struct mail_summary *s, struct cq_slice message, const struct mail_needle *needle,
                              enum mail_match_scope scope, bool *found_r)
{
    struct mail_matcher *m = mail_matcher_new(s, needle, scope);
    uint64_t off, len;
    while (mail_matcher_want(m, &off, &len)) {
        struct cq_slice octets = cq_slice_sub(message, (size_t)off, (size_t)len);
        if (octets.len == 0)
            break; /* the summary is of another message */
        mail_matcher_feed(m, octets);
    }
    enum cq_rc rc = mail_matcher_result(m, found_r);
    mail_matcher_free(&m);
    return rc;
}
