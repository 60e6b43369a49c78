/* The script that Redis runs: GCRA (limits/gcra.h) on some keys, in whole microseconds of Redis' clock.
 *
 * KEYS: the buckets. ARGV: one operation for each: OP KIND "," COST "," WANT, all together, OP one of enum quota_op.
 *
 * Answers one string: for each key a whole number, separated by spaces. > 0: done, and of a take or lease so many
 * tokens are the caller's, of a peek so many are left. < 0: not now, minus the us until it would be done. 0: never.
 * A key ends by itself when all is paid off. */
#ifndef CHASQUI_QUOTA_SCRIPT_H
#define CHASQUI_QUOTA_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

enum quota_op {
    QUOTA_OP_PEEK = 'p',   /* would COST be allowed? */
    QUOTA_OP_TAKE = 't',   /* takes COST if it is allowed */
    QUOTA_OP_CHARGE = 'c', /* COST has happened; at most a burst of debt stands */
    QUOTA_OP_REFUND = 'r', /* a take of COST is undone */
    QUOTA_OP_LEASE = 'l'   /* takes WANT if a share of what is left is so much, or less, but at least COST, as take */
};

/* The numbers of a limit; they are part of the script's text. */
struct quota_script_limit {
    uint64_t interval_us, burst_us;
    uint64_t lease_us; /* how long leased tokens may be used */
};

struct quota_script {
    char *text;   /* NUL-terminated; the owner frees it */
    char sha[41]; /* the name under which EVALSHA knows it: 40 hex digits */
};

/* limits: of kind 1 and so on. shares: into which the tokens that are left are divided before some are leased. */
void quota_script_make(const struct quota_script_limit *limits, size_t count, unsigned shares,
                       struct quota_script *script_r);

#endif
