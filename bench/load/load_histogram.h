/* A histogram of durations: fixed size, a record costs a few instructions, percentiles are within 0.8 % of the truth.
 * Values are microseconds (any unit would do); below LOAD_HISTOGRAM_SUB they are exact. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

#define LOAD_HISTOGRAM_SUB 128 /* steps of each power of two */
#define LOAD_HISTOGRAM_POWERS 31
#define LOAD_HISTOGRAM_MAX ((UINT64_C(1) << 37) - 1) /* larger values count as this one: 38 hours */

/* Zeroed is empty. */
struct load_histogram {
    uint64_t count, sum, max;
    uint64_t steps[LOAD_HISTOGRAM_POWERS * LOAD_HISTOGRAM_SUB];
};

void load_histogram_record(struct load_histogram *h, uint64_t value);

/* The smallest recorded value that at least `part` of all values do not exceed (0.5: the median, 1: the largest), by
 * the middle of its step; never above the largest value. 0 when it is empty. */
uint64_t load_histogram_percentile(const struct load_histogram *h, double part);

double load_histogram_mean(const struct load_histogram *h); /* exact; 0 when it is empty */

#endif
