#include "load_histogram.h"

#include <math.h>
#include <stddef.h>

#define SUB_BITS 7

/* Values below SUB have a step each; above, the SUB_BITS bits after the highest one choose the step. */
static size_t step_of(uint64_t value)
{
    if (value < LOAD_HISTOGRAM_SUB)
        return (size_t)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (shift + 1) * LOAD_HISTOGRAM_SUB + ((size_t)(value >> shift) - LOAD_HISTOGRAM_SUB);
}

static uint64_t middle_of(size_t step)
{
    if (step < LOAD_HISTOGRAM_SUB)
        return step;
    unsigned shift = (unsigned)(step / LOAD_HISTOGRAM_SUB) - 1;
    uint64_t low = (uint64_t)(LOAD_HISTOGRAM_SUB + step % LOAD_HISTOGRAM_SUB) << shift;
    return low + (UINT64_C(1) << shift) / 2;
}

void load_histogram_record(struct load_histogram *h, uint64_t value)
{
    if (value > LOAD_HISTOGRAM_MAX)
        value = LOAD_HISTOGRAM_MAX;
    h->steps[step_of(value)]++;
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
}

uint64_t load_histogram_percentile(const struct load_histogram *h, double part)
{
    if (!h->count)
        return 0;
    uint64_t wanted = (uint64_t)ceil(part * (double)h->count), seen = 0;
    size_t step = 0;
    for (seen = h->steps[0]; seen < wanted && seen < h->count; seen += h->steps[step])
        step++;
    uint64_t value = middle_of(step);
    return value < h->max ? value : h->max;
}

double load_histogram_mean(const struct load_histogram *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
