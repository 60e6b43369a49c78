/* "So many in a time" by one number per key: the generic cell rate algorithm (ITU-T I.371 appendix A; Brandur Leach,
 * "Rate Limiting, Cells, and GCRA"). The number is the theoretical arrival time (TAT): when everything that was charged
 * is paid off, at one per period / count. Up to `count` may come at once after silence. Pure integer arithmetic in
 * microseconds; a TAT in the past is the same as none, so a forgotten key is a key that has paid off. */
#ifndef CHASQUI_GCRA_H
#define CHASQUI_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct gcra_limit {
    uint64_t count;     /* 0: everything is allowed */
    uint64_t period_us; /* > 0; count per period; over 2^40 (12 days) is taken as that */
};

struct gcra_verdict {
    bool allowed;
    uint64_t remaining;      /* how many more at once after this */
    uint64_t retry_after_us; /* until the same cost would be allowed; 0 when it is, UINT64_MAX when it never will be */
};

/* Time that one costs (at least 1), and the debt that may stand at once; count > 0. */
uint64_t gcra_interval_us(const struct gcra_limit *limit);
uint64_t gcra_burst_us(const struct gcra_limit *limit);

/* Would `cost` be allowed at `now`? Changes nothing. cost 0 always is. */
struct gcra_verdict gcra_peek(uint64_t tat_us, const struct gcra_limit *limit, uint64_t cost, uint64_t now_us);

/* The same, and charges when it is allowed: *tat_us is the new state. */
struct gcra_verdict gcra_take(uint64_t *tat_us, const struct gcra_limit *limit, uint64_t cost, uint64_t now_us);

/* Charges what has happened, allowed or not. At most a full period stays to be paid, however much came. */
void gcra_charge(uint64_t *tat_us, const struct gcra_limit *limit, uint64_t cost, uint64_t now_us);

#endif
