#include "limits/gcra.h"

#define PERIOD_MAX (UINT64_C(1) << 40)

/* More than 10^6 per second is 10^6 per second. */
uint64_t gcra_interval_us(const struct gcra_limit *limit)
{
    uint64_t period = limit->period_us < PERIOD_MAX ? limit->period_us : PERIOD_MAX;
    uint64_t interval = period / limit->count;
    return interval ? interval : 1;
}

uint64_t gcra_burst_us(const struct gcra_limit *limit)
{
    uint64_t burst;
    return __builtin_mul_overflow(gcra_interval_us(limit), limit->count, &burst) ? UINT64_MAX : burst;
}

static uint64_t debt_at(uint64_t tat_us, uint64_t now_us)
{
    return tat_us > now_us ? tat_us - now_us : 0;
}

/* Debt after one more cost; saturates. */
static uint64_t add_cost(uint64_t debt, const struct gcra_limit *limit, uint64_t cost)
{
    uint64_t price, sum;
    if (__builtin_mul_overflow(gcra_interval_us(limit), cost, &price) || __builtin_add_overflow(debt, price, &sum))
        return UINT64_MAX;
    return sum;
}

/* Why: a clock that jumped back must not lock a key for ever: no debt is over the burst. */
static uint64_t clamp(uint64_t debt, uint64_t burst)
{
    return debt < burst ? debt : burst;
}

struct gcra_verdict gcra_peek(uint64_t tat_us, const struct gcra_limit *limit, uint64_t cost, uint64_t now_us)
{
    if (limit->count == 0)
        return (struct gcra_verdict){true, UINT64_MAX, 0};
    uint64_t burst = gcra_burst_us(limit), debt = clamp(debt_at(tat_us, now_us), burst);
    uint64_t after = add_cost(debt, limit, cost);
    if (cost == 0 || after <= burst)
        return (struct gcra_verdict){true, (burst - after) / gcra_interval_us(limit), 0};
    uint64_t alone = add_cost(0, limit, cost);
    return (struct gcra_verdict){false, (burst - debt) / gcra_interval_us(limit),
                                 alone > burst ? UINT64_MAX : after - burst};
}

void gcra_charge(uint64_t *tat_us, const struct gcra_limit *limit, uint64_t cost, uint64_t now_us)
{
    if (limit->count == 0 || cost == 0)
        return;
    uint64_t burst = gcra_burst_us(limit), debt = clamp(debt_at(*tat_us, now_us), burst);
    debt = clamp(add_cost(debt, limit, cost), burst);
    *tat_us = debt > UINT64_MAX - now_us ? UINT64_MAX : now_us + debt;
}

struct gcra_verdict gcra_take(uint64_t *tat_us, const struct gcra_limit *limit, uint64_t cost, uint64_t now_us)
{
    struct gcra_verdict verdict = gcra_peek(*tat_us, limit, cost, now_us);
    if (verdict.allowed)
        gcra_charge(tat_us, limit, cost, now_us);
    return verdict;
}
