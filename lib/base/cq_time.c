#include "base/cq_time.h"

#include <stdio.h>
#include <time.h>

static uint64_t now_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * CQ_US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t cq_time_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

uint64_t cq_time_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

void cq_time_rfc3339(uint64_t wall_us, char out[static CQ_RFC3339_SIZE])
{
    time_t seconds = (time_t)(wall_us / CQ_US_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char date[CQ_RFC3339_SIZE];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, CQ_RFC3339_SIZE, "%.20s.%06uZ", date, (unsigned)(wall_us % CQ_US_PER_S));
}
