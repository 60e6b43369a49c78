/* The script that Redis runs: GCRA (limits/gcra.h) on one key, in whole microseconds of Redis' clock. */
#ifndef CHASQUI_QUOTA_SCRIPT_H
#define CHASQUI_QUOTA_SCRIPT_H

/* KEYS[1]: the bucket. ARGV: operation (peek, take, charge, refund), interval, burst, cost (us, us, count).
 * Answers {1, 0}, or {0, us until it would be allowed; -1: never}. The key ends by itself when all is paid off. */
extern const char quota_script[];

/* The name under which EVALSHA knows it: 40 hex digits. */
const char *quota_script_sha(void);

#endif
