#include "imap/imap_seqset.h"

static bool parse_seq_number(struct imap_parser *p, uint32_t *n_r)
{
    *n_r = 0;
    if (imap_try_byte(p, '*'))
        return true;
    if (!imap_parse_u32(p, n_r))
        return imap_expected(p, "Expected a sequence set");
    return *n_r > 0 || imap_expected(p, "0 in a sequence set");
}

static bool parse_range(struct imap_parser *p, struct imap_range *range_r)
{
    if (!parse_seq_number(p, &range_r->first))
        return false;
    range_r->last = range_r->first;
    return !imap_try_byte(p, ':') || parse_seq_number(p, &range_r->last);
}

/* Commas tell how many ranges there are at most: one allocation, bounded by the command's size. */
static size_t count_ranges(const struct imap_parser *p)
{
    size_t n = 1;
    for (const uint8_t *c = p->at; c < p->end && (cq_ascii_digit(*c) || *c == ':' || *c == '*' || *c == ','); c++)
        n += *c == ',';
    return n;
}

bool imap_parse_seqset(struct imap_parser *p, struct imap_seqset *set_r)
{
    set_r->ranges = cq_pool_alloc(p->pool, count_ranges(p) * sizeof *set_r->ranges);
    set_r->count = 0;
    do {
        if (!parse_range(p, &set_r->ranges[set_r->count++]))
            return false;
    } while (imap_try_byte(p, ','));
    return true;
}

struct imap_range imap_range_resolve(struct imap_range r, uint32_t star)
{
    uint32_t first = r.first ? r.first : star, last = r.last ? r.last : star;
    return first <= last ? (struct imap_range){first, last} : (struct imap_range){last, first};
}

bool imap_seqset_contains(const struct imap_seqset *set, uint32_t n, uint32_t star)
{
    for (size_t i = 0; i < set->count; i++) {
        struct imap_range r = imap_range_resolve(set->ranges[i], star);
        if (n >= r.first && n <= r.last)
            return true;
    }
    return false;
}
