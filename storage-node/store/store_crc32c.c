#include "store/store_crc32c.h"

#if defined(__x86_64__)

#include <dlfcn.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/cq_assert.h"
#include "base/cq_endian.h"

#define EXTEND "_ZN7rocksdb6crc32c6ExtendEjPKcm" /* rocksdb::crc32c::Extend(unsigned, char const*, unsigned long) */

/* Three runs of a block's length side by side hide the instruction's latency of three cycles. */
#define LONG_BLOCK 1024
#define SHORT_BLOCK 128

/* x^(8n - 33) modulo the polynomial, reflected. The carry-less product of a sum with it, summed once more, is the sum
 * with n zero bytes behind it: the last step adds 32 to the power, and a product of reflected numbers lacks one. */
#define LONG_ONCE 0x170076fau
#define LONG_TWICE 0xa51b6135u
#define SHORT_ONCE 0x0d3b6092u
#define SHORT_TWICE 0xb9e02b86u

#define FAST __attribute__((target("sse4.2,pclmul")))

typedef uint32_t extend_fn(uint32_t crc, const char *data, size_t n);

FAST static uint32_t with_zeros(uint64_t crc, uint32_t power)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128(power), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

FAST static inline uint32_t three(uint32_t crc, const uint8_t *data, size_t block, uint32_t once, uint32_t twice)
{
    uint64_t a = crc, b = 0, c = 0;
    for (const uint8_t *end = data + block; data < end; data += 8) {
        a = _mm_crc32_u64(a, cq_get_le64(data));
        b = _mm_crc32_u64(b, cq_get_le64(data + block));
        c = _mm_crc32_u64(c, cq_get_le64(data + 2 * block));
    }
    return with_zeros(a, twice) ^ with_zeros(b, once) ^ (uint32_t)c;
}

FAST static uint32_t extend_fast(uint32_t crc, const char *chars, size_t n)
{
    const uint8_t *data = (const uint8_t *)chars;
    crc = ~crc;
    for (; n >= 3 * LONG_BLOCK; n -= 3 * LONG_BLOCK, data += 3 * LONG_BLOCK)
        crc = three(crc, data, LONG_BLOCK, LONG_ONCE, LONG_TWICE);
    for (; n >= 3 * SHORT_BLOCK; n -= 3 * SHORT_BLOCK, data += 3 * SHORT_BLOCK)
        crc = three(crc, data, SHORT_BLOCK, SHORT_ONCE, SHORT_TWICE);
    for (; n >= 8; n -= 8, data += 8)
        crc = (uint32_t)_mm_crc32_u64(crc, cq_get_le64(data));
    for (; n; n--, data++)
        crc = _mm_crc32_u8(crc, *data);
    return ~crc;
}

bool store_crc32c_is_fast(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

static extend_fn *chosen;

/* An older processor goes on with the library's own. It may be called before any constructor of ours has run. */
static void choose(void)
{
    void *theirs = store_crc32c_is_fast() ? NULL : dlsym(RTLD_NEXT, EXTEND);
    chosen = extend_fast;
    if (!store_crc32c_is_fast()) {
        CQ_ASSERT(theirs);
        memcpy(&chosen, &theirs, sizeof chosen);
    }
}

extern extend_fn store_crc32c_extend __asm__(EXTEND);

__attribute__((visibility("default"))) uint32_t store_crc32c_extend(uint32_t crc, const char *data, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return chosen(crc, data, n);
}

#else

bool store_crc32c_is_fast(void)
{
    return false;
}

#endif
