/* Octets of a body that several may hold at once: a connection that sends them, a cache, another worker's session. They
 * never change and live until the last holder lets go, on whichever thread that is. */
#ifndef BODY_PIECE_H
#define BODY_PIECE_H

#include "base/cq_pool.h"

struct body_piece;

/* Takes the pool, in which the octets are. The caller is the first holder. */
struct body_piece *body_piece_new(struct cq_pool **pool, struct cq_slice octets);
struct cq_slice body_piece_octets(const struct body_piece *piece);
size_t body_piece_memory(const struct body_piece *piece); /* bytes that it holds */

struct body_piece *body_piece_ref(struct body_piece *piece);
/* NULL is fine; the pointer becomes NULL. */
void body_piece_unref(struct body_piece **piece);
/* The same, as an io_release_fn. */
void body_piece_release(void *piece);

/* Is the caller, who holds it, the only one? Stays true as long as he gives it to nobody. */
bool body_piece_is_alone(const struct body_piece *piece);

#endif
