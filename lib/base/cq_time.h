/* Time. Deadlines and time-outs use the monotonic clock; the wall clock is for what people read.
 * Pure modules take a time as an argument and never call these. */
#ifndef CQ_TIME_H
#define CQ_TIME_H

#include <stdint.h>

#define CQ_US_PER_S UINT64_C(1000000)
#define CQ_MS_PER_S UINT64_C(1000)

uint64_t cq_time_mono_us(void); /* microseconds since some fixed moment; never falls */
uint64_t cq_time_wall_us(void); /* microseconds since 1970-01-01T00:00:00Z */

#define CQ_RFC3339_SIZE 32
/* "2026-11-22T05:37:00.123456Z" and a NUL into out. */
void cq_time_rfc3339(uint64_t wall_us, char out[static CQ_RFC3339_SIZE]);

#endif
