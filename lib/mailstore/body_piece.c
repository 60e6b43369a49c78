#include "mailstore/body_piece.h"

#include "base/cq_mem.h"

#include <stdatomic.h>
#include <stdlib.h>

struct body_piece {
    atomic_uint holders;
    struct cq_pool *pool;
    struct cq_slice octets;
};

struct body_piece *body_piece_new(struct cq_pool **pool, struct cq_slice octets)
{
    struct body_piece *piece = cq_new(struct body_piece);
    atomic_init(&piece->holders, 1);
    piece->pool = *pool;
    piece->octets = octets;
    *pool = NULL;
    return piece;
}

struct cq_slice body_piece_octets(const struct body_piece *piece)
{
    return piece->octets;
}

size_t body_piece_memory(const struct body_piece *piece)
{
    return sizeof *piece + cq_pool_held(piece->pool);
}

struct body_piece *body_piece_ref(struct body_piece *piece)
{
    atomic_fetch_add_explicit(&piece->holders, 1, memory_order_relaxed);
    return piece;
}

void body_piece_release(void *arg)
{
    struct body_piece *piece = arg;
    if (!piece || atomic_fetch_sub_explicit(&piece->holders, 1, memory_order_acq_rel) > 1)
        return;
    cq_pool_free(&piece->pool);
    free(piece);
}

void body_piece_unref(struct body_piece **piece)
{
    body_piece_release(*piece);
    *piece = NULL;
}

bool body_piece_is_alone(const struct body_piece *piece)
{
    return atomic_load_explicit(&piece->holders, memory_order_acquire) == 1;
}
