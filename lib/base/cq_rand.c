#include "base/cq_rand.h"

#include "base/cq_assert.h"

#include <errno.h>
#include <sys/random.h>

void cq_rand_bytes(void *out, size_t len)
{
    uint8_t *at = out;
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        CQ_ASSERT(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

uint64_t cq_rand_u64(void)
{
    uint64_t value;
    cq_rand_bytes(&value, sizeof value);
    return value;
}

/* Rejects the last, incomplete run of `bound` values, so that every result is equally likely. */
uint64_t cq_rand_below(uint64_t bound)
{
    CQ_ASSERT(bound > 0);
    uint64_t rest = (UINT64_MAX % bound + 1) % bound;
    uint64_t value;
    do
        value = cq_rand_u64();
    while (value > UINT64_MAX - rest);
    return value % bound;
}
