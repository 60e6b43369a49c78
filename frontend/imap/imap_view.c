#include "imap/imap_view.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>

static void add_ranges(roaring_bitmap_t *bitmap, const struct uidset *set)
{
    for (size_t i = 0; i < set->count; i++)
        roaring_bitmap_add_range_closed(bitmap, set->ranges[i].first, set->ranges[i].last);
}

struct imap_view *imap_view_new(const struct mail_open *open, bool read_only)
{
    struct imap_view *view = cq_new(struct imap_view);
    *view = (struct imap_view){
        .mailbox = open->mailbox.id,
        .uidvalidity = open->mailbox.uidvalidity,
        .uidnext = open->mailbox.uidnext,
        .modseq = open->mailbox.highest_modseq,
        .read_only = read_only,
        .keyword_count = (uint16_t)open->mailbox.keyword_count,
        .uids = roaring_bitmap_create(),
    };
    add_ranges(view->uids, &open->uids);
    roaring_bitmap_run_optimize(view->uids);
    return view;
}

static void free_bitmap(roaring_bitmap_t **bitmap)
{
    if (*bitmap)
        roaring_bitmap_free(*bitmap);
    *bitmap = NULL;
}

void imap_view_free(struct imap_view **view)
{
    if (!*view)
        return;
    free_bitmap(&(*view)->uids);
    free_bitmap(&(*view)->gone);
    free_bitmap(&(*view)->recent);
    imap_known_free(&(*view)->known);
    free(*view);
    *view = NULL;
}

/* ---- Numbers ---- */

uint32_t imap_view_exists(const struct imap_view *view)
{
    return (uint32_t)roaring_bitmap_get_cardinality(view->uids);
}

uint32_t imap_view_recent_count(const struct imap_view *view)
{
    return view->recent ? (uint32_t)roaring_bitmap_and_cardinality(view->recent, view->uids) : 0;
}

uint32_t imap_view_last_uid(const struct imap_view *view)
{
    return roaring_bitmap_is_empty(view->uids) ? 0 : roaring_bitmap_maximum(view->uids);
}

uint32_t imap_view_seq(const struct imap_view *view, uint32_t uid)
{
    return roaring_bitmap_contains(view->uids, uid) ? (uint32_t)roaring_bitmap_rank(view->uids, uid) : 0;
}

uint32_t imap_view_uid(const struct imap_view *view, uint32_t seq)
{
    uint32_t uid = 0;
    CQ_ASSERT(seq > 0 && roaring_bitmap_select(view->uids, seq - 1, &uid));
    return uid;
}

bool imap_view_is_gone(const struct imap_view *view, uint32_t uid)
{
    return view->gone && roaring_bitmap_contains(view->gone, uid);
}

bool imap_view_is_recent(const struct imap_view *view, uint32_t uid)
{
    return view->recent && roaring_bitmap_contains(view->recent, uid);
}

/* ---- Sets ---- */

/* A number that is written must be there; "*" is the last one, whatever it is (RFC 3501 seq-number). */
static bool resolve_numbers(const struct imap_view *view, struct imap_range written, struct uidset_builder *out)
{
    uint32_t exists = imap_view_exists(view);
    bool star = written.first == 0 || written.last == 0;
    struct imap_range range = imap_range_resolve(written, exists);
    if (star && exists == 0)
        return true;
    if (star && range.last > exists)
        range.last = exists;
    if (range.last > exists || range.first > exists)
        return false;
    uidset_builder_add(out, imap_view_uid(view, range.first), imap_view_uid(view, range.last));
    return true;
}

/* Messages that the client has not been told of are not meant. */
static void resolve_uids(const struct imap_view *view, struct imap_range written, struct uidset_builder *out)
{
    uint32_t last_uid = imap_view_last_uid(view);
    struct imap_range range = imap_range_resolve(written, last_uid);
    if (range.last > last_uid)
        range.last = last_uid;
    if (range.first > 0 && range.first <= range.last)
        uidset_builder_add(out, range.first, range.last);
}

bool imap_view_resolve(const struct imap_view *view, const struct imap_seqset *set, bool is_uids, struct cq_pool *pool,
                       struct uidset *uids_r)
{
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    for (size_t i = 0; i < set->count; i++) {
        if (is_uids)
            resolve_uids(view, set->ranges[i], &builder);
        else if (!resolve_numbers(view, set->ranges[i], &builder))
            return false;
    }
    *uids_r = uidset_builder_finish(&builder);
    return true;
}

struct uidset imap_view_piece(const struct imap_view *view, const struct uidset *uids, uint32_t from, uint32_t max,
                              struct cq_pool *pool, uint32_t *next_r)
{
    struct uidset_builder builder;
    uidset_builder_init(&builder, pool);
    *next_r = 0;
    for (size_t i = 0; i < uids->count; i++) {
        struct uid_range range = uids->ranges[i];
        if (range.last < from)
            continue;
        if (range.first < from)
            range.first = from;
        uint64_t before = roaring_bitmap_rank(view->uids, range.first - 1);
        uint64_t known = roaring_bitmap_rank(view->uids, range.last) - before;
        if (max == 0 && known) {
            *next_r = range.first;
            break;
        }
        if (known > max) {
            uint32_t last = imap_view_uid(view, (uint32_t)before + max);
            uidset_builder_add(&builder, range.first, last);
            *next_r = last + 1;
            break;
        }
        if (known)
            uidset_builder_add(&builder, range.first, range.last);
        max -= (uint32_t)known;
    }
    return uidset_builder_finish(&builder);
}

static bool add_uid(uint32_t uid, void *builder)
{
    uidset_builder_add(builder, uid, uid);
    return true;
}

struct uidset imap_view_existing(const struct imap_view *view, const struct uidset *uids, struct cq_pool *pool)
{
    struct uidset_builder builder;
    roaring_bitmap_t *wanted = roaring_bitmap_create();
    uidset_builder_init(&builder, pool);
    add_ranges(wanted, uids);
    roaring_bitmap_and_inplace(wanted, view->uids);
    if (view->gone)
        roaring_bitmap_andnot_inplace(wanted, view->gone);
    roaring_iterate(wanted, add_uid, &builder);
    roaring_bitmap_free(wanted);
    return uidset_builder_finish(&builder);
}

/* ---- News ---- */

void imap_view_vanish(struct imap_view *view, const struct uidset *uids)
{
    if (uids->count == 0)
        return;
    roaring_bitmap_t *gone = roaring_bitmap_create();
    add_ranges(gone, uids);
    roaring_bitmap_and_inplace(gone, view->uids);
    if (view->gone) {
        roaring_bitmap_or_inplace(view->gone, gone);
        roaring_bitmap_free(gone);
    } else if (roaring_bitmap_is_empty(gone)) {
        roaring_bitmap_free(gone);
    } else {
        view->gone = gone;
    }
}

void imap_view_claim(struct imap_view *view, uint32_t from, uint32_t to)
{
    if (from == 0 || from >= to)
        return;
    if (!view->recent)
        view->recent = roaring_bitmap_create();
    roaring_bitmap_add_range_closed(view->recent, from, to - 1);
    roaring_bitmap_run_optimize(view->recent);
}

void imap_view_add(struct imap_view *view, const roaring_bitmap_t *fresh, uint32_t uidnext)
{
    if (!roaring_bitmap_is_empty(fresh)) {
        CQ_ASSERT(roaring_bitmap_minimum(fresh) >= view->uidnext);
        roaring_bitmap_or_inplace(view->uids, fresh);
        roaring_bitmap_run_optimize(view->uids);
    }
    if (uidnext > view->uidnext)
        view->uidnext = uidnext;
}

void imap_view_tell_gone(struct imap_view *view, void (*tell)(void *arg, uint32_t seq), void *arg)
{
    if (!view->gone)
        return;
    /* From the end, so that a number is not changed by those told before it. */
    size_t count = roaring_bitmap_get_cardinality(view->gone);
    uint32_t *uids = cq_malloc(count * sizeof *uids);
    roaring_bitmap_to_uint32_array(view->gone, uids);
    while (count > 0)
        tell(arg, imap_view_seq(view, uids[--count]));
    free(uids);
    roaring_bitmap_andnot_inplace(view->uids, view->gone);
    roaring_bitmap_run_optimize(view->uids);
    free_bitmap(&view->gone);
}
