#include "node/disk_pulse.h"

#include "base/cq_time.h"

static const char *const names[DISK_STATES] = {[DISK_WELL] = "well", [DISK_SLOW] = "slow", [DISK_STALLED] = "stalled"};

const char *disk_state_name(enum disk_state state)
{
    return (unsigned)state < DISK_STATES ? names[state] : "unknown";
}

void disk_pulse_init(struct disk_pulse *pulse, const struct disk_settings *limits)
{
    *pulse = (struct disk_pulse){.limits = *limits};
}

static void mark(struct disk_pulse *p, const struct disk_sample *s)
{
    size_t last = (p->mark_count + DISK_PULSE_SECONDS - 1) % DISK_PULSE_SECONDS;
    if (p->mark_count && s->now_us - p->marks[last].at_us < CQ_US_PER_S)
        return;
    size_t at = p->mark_count++ % DISK_PULSE_SECONDS;
    p->marks[at].at_us = s->now_us;
    p->marks[at].syncs = s->syncs;
    p->marks[at].sync_us = s->sync_us;
}

/* Of the last few; the write that is under way counts with what it has taken so far. */
static void average(struct disk_pulse *p, const struct disk_sample *s, uint64_t *count_r)
{
    uint64_t count = 0, sum = 0;
    for (size_t back = 1; back <= DISK_PULSE_SECONDS && back <= p->mark_count && count < DISK_PULSE_SYNCS; back++) {
        size_t at = (p->mark_count - back) % DISK_PULSE_SECONDS;
        count = s->syncs - p->marks[at].syncs + (p->under_us > 0);
        sum = s->sync_us - p->marks[at].sync_us + p->under_us;
    }
    p->sync_us = count ? sum / count : 0;
    *count_r = count;
}

static enum disk_state judge(struct disk_pulse *p, const struct disk_sample *s)
{
    uint64_t count;
    average(p, s, &count);
    if (p->under_us > p->limits.stall_us)
        return DISK_STALLED;
    return s->pressed || (count >= DISK_PULSE_SYNCS && p->sync_us > p->limits.slow_us) ? DISK_SLOW : DISK_WELL;
}

enum disk_state disk_pulse_take(struct disk_pulse *p, const struct disk_sample *s)
{
    p->under_us = s->busy_since_us && s->now_us > s->busy_since_us ? s->now_us - s->busy_since_us : 0;
    mark(p, s);
    enum disk_state seen = judge(p, s);
    if (seen != DISK_WELL)
        p->trouble_us = s->now_us;
    bool calm = p->state == DISK_WELL || s->now_us - p->trouble_us >= p->limits.calm_us;
    p->state = seen != DISK_WELL ? seen : calm ? DISK_WELL : DISK_SLOW;
    return p->state;
}

bool disk_pulse_must_end(const struct disk_pulse *p)
{
    return p->under_us > p->limits.fence_us;
}
