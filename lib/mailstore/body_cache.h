/* Bodies that were read a short while ago, in pieces, for all workers of a process. Bodies never change, so a piece
 * that is found is the piece that the shard would send; nothing has to be invalidated, only to be forgotten.
 *
 * It decides nothing about who may read what: whoever asks has a record of the message from its shard
 * (mailstore_body.c, docs/decisions/0068-bodies-in-the-front-end.md).
 *
 * What was read once goes through a short queue (a tenth of the memory once that is full) and leaves it without a trace
 * but its key; what was read again there, or comes back while its key is remembered, goes into the main queue. So a
 * backup that reads each body once takes that tenth and no more (S3-FIFO, Yang et al., SOSP 2023).
 *
 * A piece that somebody holds is never forgotten, for that would free nothing: all that the cache has is below `max`,
 * and what finds no room is simply not kept. All functions may be called from any thread; a cache that is NULL keeps
 * nothing. */
#ifndef BODY_CACHE_H
#define BODY_CACHE_H

#include "base/cq_metrics.h"
#include "mailstore/body_piece.h"

/* What a piece is, so that no two different ones can have the same key. An email id is never given again within one
 * incarnation of its account; `saved` and `size` tell the message apart from one that gets its id after a recovery
 * with loss (that comes later, and has a later save date). */
struct body_key {
    uint64_t account, incarnation, email;
    int64_t saved; /* the record's save date */
    uint32_t size; /* the record's */
    uint32_t index;
};
_Static_assert(sizeof(struct body_key) == 40, "no padding: keys are compared as bytes");

struct body_cache;

/* max: bytes of all pieces and what it takes to find them; 0: NULL. */
struct body_cache *body_cache_new(size_t max);
/* Nobody uses it any more; pieces may still be held. */
void body_cache_free(struct body_cache **cache);

/* The piece, for the octets [from, to) of it, to be let go by body_piece_unref(); NULL: it is not there. A range that
 * begins where the last one ended is one more part of the same reading and makes the piece no more worth keeping. */
struct body_piece *body_cache_get(struct body_cache *cache, const struct body_key *key, uint32_t from, uint32_t to);

/* A part of a piece is not there: is it worth to read the piece whole, because a part was asked for a short while ago?
 * Remembers that it was asked for. */
bool body_cache_asked_before(struct body_cache *cache, const struct body_key *key);

/* Keeps the piece if there is room; it was read for the octets [.., to). The caller's hold stays the caller's. */
void body_cache_put(struct body_cache *cache, const struct body_key *key, struct body_piece *piece, uint32_t to);

/* For tests and for whoever wants to know: bytes in use, pieces, keys that are remembered. */
struct body_cache_state {
    size_t bytes, pieces, remembered;
};
struct body_cache_state body_cache_state(struct body_cache *cache);

enum { BODY_M_REQUESTS, BODY_M_OCTETS, BODY_M_EVICTIONS, BODY_M_BYTES };
enum { BODY_M_HIT, BODY_M_MISS };
extern struct cq_metrics body_cache_metrics;

#endif
