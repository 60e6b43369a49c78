#include "reseed/reseed_copy.h"

#include "base/cq_mem.h"
#include "base/cq_planted.h"

#include <stdlib.h>

struct copy {
    struct reseed_target *target;
    const struct reseed_io *io;
    struct reseed_answer *answer;
    struct store_batch *batch;
    struct cq_buf names;
    uint64_t session;
};

static enum cq_rc ask(struct copy *c, enum reseed_question_kind kind, const struct reseed_cursor *from,
                      struct cq_slice names, struct cq_err *err)
{
    static const struct reseed_cursor beginning;
    cq_buf_reset(&c->answer->page, RESEED_PAGE_MAX);
    c->answer->done = false;
    c->answer->taken = 0;
    const struct reseed_question question = {kind, c->session, from ? from : &beginning, names};
    return c->io->ask(c->io->ctx, &question, c->answer, err);
}

static struct cq_slice page(const struct copy *c)
{
    return cq_buf_slice(&c->answer->page);
}

static enum cq_rc write(struct copy *c, struct cq_err *err)
{
    enum cq_rc rc = c->io->write(c->io->ctx, c->batch, err);
    store_batch_clear(c->batch);
    return rc;
}

/* A page that is not the last must get further. */
static enum cq_rc check_progress(const struct copy *c, const struct reseed_cursor *from, struct cq_err *err)
{
    const struct reseed_answer *a = c->answer;
    if (a->done || cq_slice_cmp(reseed_cursor_slice(&a->next), reseed_cursor_slice(from)) > 0)
        return CQ_OK;
    return CQ_FAIL(err, CQ_E_PROTO, "the source's pages do not get on");
}

/* The part of the names that is behind `count` rows. */
static struct cq_slice names_after(struct cq_slice names, size_t count)
{
    struct reseed_row row;
    while (count-- && reseed_row_next(&names, &row, NULL) == CQ_OK)
        ;
    return names;
}

/* ---- Phase one ---- */

/* Rows that were named; what the source has no more, nobody needs. */
static enum cq_rc fetch_chunks(struct copy *c, struct cq_err *err)
{
    struct cq_slice names = cq_buf_slice(&c->names);
    struct cq_buf none;
    cq_buf_init(&none, RESEED_PAGE_MAX);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && names.len) {
        rc = ask(c, RESEED_ASK_NAMED, NULL, names, err);
        if (rc == CQ_OK && c->answer->taken == 0)
            rc = CQ_FAIL(err, CQ_E_PROTO, "the source's pages do not get on");
        if (rc == CQ_OK)
            rc = reseed_take_chunks(c->target, page(c), c->batch, &none, err);
        if (rc == CQ_OK)
            rc = write(c, err);
        names = names_after(names, c->answer->taken);
    }
    cq_buf_fini(&none);
    return rc;
}

static enum cq_rc chunk_page(struct copy *c, struct cq_err *err)
{
    struct reseed_target *t = c->target;
    struct reseed_cursor from = t->record.cursor, next;
    enum cq_rc rc = ask(c, t->record.suspect ? RESEED_ASK_HASHES : RESEED_ASK_CHUNKS, &from, CQ_SLICE_NONE, err);
    if (rc == CQ_OK)
        rc = check_progress(c, &from, err);
    if (rc != CQ_OK)
        return rc;
    bool done = c->answer->done;
    next = c->answer->next;
    cq_buf_reset(&c->names, RESEED_PAGE_MAX);
    rc = reseed_take_chunks(t, page(c), c->batch, &c->names, err);
    if (rc == CQ_OK)
        rc = fetch_chunks(c, err);
    if (rc != CQ_OK)
        return rc;
    reseed_chunks_end(t, &next, done, c->batch);
    return write(c, err);
}

static enum cq_rc summary_page(struct copy *c, struct cq_err *err)
{
    struct reseed_cursor from = c->target->record.cursor;
    enum cq_rc rc = ask(c, RESEED_ASK_SUMMARIES, &from, CQ_SLICE_NONE, err);
    if (rc == CQ_OK)
        rc = check_progress(c, &from, err);
    if (rc == CQ_OK)
        rc = reseed_take_summaries(c->target, page(c), &c->answer->next, c->answer->done, c->batch, err);
    return rc == CQ_OK ? write(c, err) : rc;
}

static enum cq_rc phase_one(struct copy *c, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && c->target->record.phase != RESEED_STATE)
        rc = c->target->record.phase == RESEED_CHUNKS ? chunk_page(c, err) : summary_page(c, err);
    return rc;
}

/* ---- Phase two ---- */

static enum cq_rc fetch_wanted(struct copy *c, struct cq_err *err)
{
    struct cq_slice names = cq_buf_slice(&c->names);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && names.len) {
        rc = ask(c, RESEED_ASK_NAMED, NULL, names, err);
        if (rc == CQ_OK && c->answer->taken == 0)
            rc = CQ_FAIL(err, CQ_E_PROTO, "the source's pages do not get on");
        if (rc == CQ_OK)
            rc = reseed_take_wanted(c->target, page(c), c->batch, err);
        if (rc == CQ_OK)
            rc = write(c, err);
        names = names_after(names, c->answer->taken);
    }
    if (rc == CQ_OK && c->target->wanted_count)
        rc = CQ_FAIL(err, CQ_E_CORRUPT, "the source's snapshot lacks summaries that it names");
    return rc;
}

static enum cq_rc state_page(struct copy *c, bool *done_r, struct cq_err *err)
{
    struct reseed_cursor from = c->target->state_at;
    enum cq_rc rc = ask(c, RESEED_ASK_STATE, &from, CQ_SLICE_NONE, err);
    if (rc == CQ_OK)
        rc = check_progress(c, &from, err);
    if (rc != CQ_OK)
        return rc;
    *done_r = c->answer->done;
    cq_buf_reset(&c->names, RESEED_PAGE_MAX);
    struct reseed_cursor next = c->answer->next;
    rc = reseed_take_state(c->target, page(c), &next, *done_r, c->batch, &c->names, err);
    if (rc == CQ_OK)
        rc = write(c, err);
    return rc == CQ_OK ? fetch_wanted(c, err) : rc;
}

static enum cq_rc fetch_missing(struct copy *c, struct reseed_walk *walk, struct cq_err *err)
{
    struct cq_slice names = cq_buf_slice(&c->names);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && walk->missing_count) {
        rc = ask(c, RESEED_ASK_NAMED, NULL, names, err);
        if (rc == CQ_OK)
            rc = reseed_take_missing(c->target, walk, page(c), c->answer->taken, c->batch, err);
        if (rc == CQ_OK)
            rc = write(c, err);
        names = names_after(names, c->answer->taken);
    }
    return rc;
}

static enum cq_rc walk_chunks(struct copy *c, struct cq_err *err)
{
    struct reseed_walk *walk = cq_new(struct reseed_walk);
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && !walk->done) {
        cq_buf_reset(&c->names, RESEED_PAGE_MAX);
        rc = reseed_walk_step(c->target, walk, &c->names, err);
        if (rc == CQ_OK)
            rc = fetch_missing(c, walk, err);
    }
    free(walk);
    return rc;
}

static enum cq_rc phase_two(struct copy *c, struct reseed_offer *offer_r, bool *digest_r, struct cq_err *err)
{
    bool done = false;
    enum cq_rc rc = ask(c, RESEED_ASK_OPEN, NULL, CQ_SLICE_NONE, err);
    if (rc != CQ_OK)
        return rc;
    *offer_r = c->answer->offer;
    c->session = offer_r->session;
    rc = reseed_state_begin(c->target, c->batch, err);
    if (rc == CQ_OK)
        rc = write(c, err);
    while (rc == CQ_OK && !done)
        rc = state_page(c, &done, err);
    if (rc != CQ_OK)
        return rc;
    rc = planted(PLANT_FLIP_UNCHECKED) ? CQ_OK : reseed_check(c->target, &offer_r->mark, err);
    *digest_r = rc != CQ_OK;
    return rc == CQ_OK ? walk_chunks(c, err) : rc;
}

enum cq_rc reseed_copy(struct reseed_target *target, const struct reseed_io *io, struct reseed_offer *offer_r,
                       bool *digest_r, struct cq_err *err)
{
    struct copy c = {.target = target, .io = io, .answer = cq_new(struct reseed_answer)};
    c.batch = store_batch_recorder_new();
    cq_buf_init(&c.answer->page, RESEED_PAGE_MAX);
    cq_buf_init(&c.names, RESEED_PAGE_MAX);
    *digest_r = false;
    *offer_r = (struct reseed_offer){0};
    enum cq_rc rc = phase_one(&c, err);
    if (rc == CQ_OK)
        rc = phase_two(&c, offer_r, digest_r, err);
    store_batch_free(&c.batch);
    cq_buf_fini(&c.names);
    cq_buf_fini(&c.answer->page);
    free(c.answer);
    return rc;
}
