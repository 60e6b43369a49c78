/* Random bytes from the kernel. Pure modules get their randomness as an argument and never call this. */
#ifndef CQ_RAND_H
#define CQ_RAND_H

#include <stddef.h>
#include <stdint.h>

/* Fills all of it, of cryptographic quality; ends the process when the kernel has none (it always has). */
void cq_rand_bytes(void *out, size_t len);
uint64_t cq_rand_u64(void);

/* Uniform in [0, bound), bound > 0. */
uint64_t cq_rand_below(uint64_t bound);

/* A fast reproducible generator (SplitMix64) for jitter, simulations and tests: never for secrets. */
struct cq_prng {
    uint64_t state;
};

static inline uint64_t cq_prng_next(struct cq_prng *prng)
{
    uint64_t z = (prng->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [0, bound), bound > 0; the bias of the multiplication is below 2^-32 for bounds below 2^32. */
static inline uint32_t cq_prng_below(struct cq_prng *prng, uint32_t bound)
{
    return (uint32_t)(((cq_prng_next(prng) >> 32) * bound) >> 32);
}

#endif
