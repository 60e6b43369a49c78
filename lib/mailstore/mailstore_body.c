#include "mailstore/mailstore_private.h"

#include "base/cq_assert.h"

/* *size_r: of the whole body. */
static enum cq_rc read_octets(struct mailstore *store, struct mailstore_account *account, uint64_t email,
                              uint64_t offset, uint32_t length, struct cq_pool *pool, struct cq_slice *octets_r,
                              uint64_t *size_r, struct cq_err *err)
{
    Chasqui__Mail__ReadBody message = CHASQUI__MAIL__READ_BODY__INIT;
    message.email = email;
    message.offset = offset;
    message.length = length;
    const struct mailstore_request request = {
        .method = CHASQUI__MAIL__METHOD__READ_BODY,
        .message = &message.base,
        .reply_type = &chasqui__mail__read_body_reply__descriptor,
    };
    ProtobufCMessage *base;
    enum cq_rc rc = mailstore_roundtrip(store, account, &request, pool, &base, octets_r, err);
    *size_r = rc == CQ_OK ? ((const Chasqui__Mail__ReadBodyReply *)base)->size : 0;
    return rc;
}

enum cq_rc mailstore_read_body(struct mailstore *store, struct mailstore_account *account, uint64_t email,
                               uint64_t offset, uint32_t length, struct cq_pool *pool, struct cq_slice *octets_r,
                               struct cq_err *err)
{
    uint64_t size;
    return read_octets(store, account, email, offset, length, pool, octets_r, &size, err);
}

/* ---- Pieces ---- */

/* What is asked for, and the piece that it is a part of. */
struct wanted {
    struct body_cache *cache; /* NULL: it is left alone */
    struct body_key key;
    uint64_t start; /* of the piece in the body */
    uint32_t whole; /* octets of the piece */
    uint32_t from, to;
};

static struct wanted wanted_of(const struct mailstore *store, const struct mailstore_account *account,
                               const struct mail_body *body, uint64_t off, uint32_t len)
{
    uint32_t index = (uint32_t)(off / MAIL_BODY_PIECE), from = (uint32_t)(off % MAIL_BODY_PIECE);
    uint64_t start = (uint64_t)index * MAIL_BODY_PIECE;
    uint64_t rest = start < body->size ? body->size - start : 0;
    bool known = body->saved && account->incarnation && off + len <= body->size;
    CQ_ASSERT(len && len <= MAIL_BODY_PIECE - from);
    return (struct wanted){
        .cache = known ? mailstore_body_cache_of(store) : NULL,
        .key = {account->id, account->incarnation, body->email, body->saved, body->size, index},
        .start = start,
        .whole = rest < MAIL_BODY_PIECE ? (uint32_t)rest : MAIL_BODY_PIECE,
        .from = from,
        .to = from + len,
    };
}

/* A part of a piece is enough, unless it is worth more: a small part never is. */
static bool read_whole(const struct wanted *w)
{
    uint32_t len = w->to - w->from;
    return w->cache && (len == w->whole || (len >= w->whole / 8 && body_cache_asked_before(w->cache, &w->key)));
}

bool mailstore_body_cached(struct mailstore *store, const struct mailstore_account *account,
                           const struct mail_body *body, uint64_t off, uint32_t len, struct body_piece **piece_r,
                           struct cq_slice *octets_r)
{
    const struct wanted w = wanted_of(store, account, body, off, len);
    *octets_r = CQ_SLICE_NONE;
    *piece_r = body_cache_get(w.cache, &w.key, w.from, w.to);
    if (*piece_r)
        *octets_r = cq_slice_sub(body_piece_octets(*piece_r), w.from, len);
    return *piece_r;
}

/* What came, as a piece; kept when it is one of the cache's and of the incarnation that its key says. */
static struct body_piece *take(const struct wanted *w, const struct mailstore_account *account, uint64_t size,
                               bool whole, struct cq_pool **pool, struct cq_slice *octets)
{
    struct body_piece *piece = body_piece_new(pool, *octets);
    if (!whole)
        return piece;
    if (octets->len == w->whole && size == w->key.size && account->incarnation == w->key.incarnation)
        body_cache_put(w->cache, &w->key, piece, w->to);
    *octets = cq_slice_sub(*octets, w->from, w->to - w->from);
    return piece;
}

enum cq_rc mailstore_body(struct mailstore *store, struct mailstore_account *account, const struct mail_body *body,
                          uint64_t off, uint32_t len, struct body_piece **piece_r, struct cq_slice *octets_r,
                          struct cq_err *err)
{
    const struct wanted w = wanted_of(store, account, body, off, len);
    uint64_t size;
    bool whole = read_whole(&w);
    *piece_r = NULL;
    struct cq_pool *pool = cq_pool_new(1024);
    enum cq_rc rc = read_octets(store, account, body->email, whole ? w.start : off, whole ? w.whole : len, pool,
                                octets_r, &size, err);
    if (rc == CQ_OK)
        *piece_r = take(&w, account, size, whole, &pool, octets_r);
    cq_pool_free(&pool);
    if (rc == CQ_OK && (octets_r->len == 0 || octets_r->len > len)) {
        body_piece_unref(piece_r);
        return CQ_FAIL(err, CQ_E_CORRUPT, "message %llx has no octets at %llu", (unsigned long long)body->email,
                       (unsigned long long)off);
    }
    return rc;
}
