/* The script that Redis runs: GCRA (limits/gcra.h) on some keys, in whole microseconds of Redis' clock.
 *
 * KEYS: the buckets. ARGV[1]: how many arguments come before the operations; ARGV[2]: into how many shares the tokens
 * that are left are divided before some are leased; then interval, burst and lease time (us) of each kind of rate, kind
 * 1 at ARGV[3]; then one operation for each key: "OP KIND,COST,WANT" without the space, OP one of enum quota_op.
 *
 * Answers one string: for each key a whole number, separated by spaces. > 0: done, and of a take or lease so many
 * tokens are the caller's, of a peek so many are left. < 0: not now, minus the us until it would be done. 0: never.
 * A key ends by itself when all is paid off. */
#ifndef CHASQUI_QUOTA_SCRIPT_H
#define CHASQUI_QUOTA_SCRIPT_H

enum quota_op {
    QUOTA_OP_PEEK = 'p',   /* would COST be allowed? */
    QUOTA_OP_TAKE = 't',   /* takes COST if it is allowed */
    QUOTA_OP_CHARGE = 'c', /* COST has happened; at most a burst of debt stands */
    QUOTA_OP_REFUND = 'r', /* a take of COST is undone */
    QUOTA_OP_LEASE = 'l'   /* takes WANT if a share of what is left is so much, or less, but at least COST, as take */
};

extern const char quota_script[];

/* The name under which EVALSHA knows it: 40 hex digits. */
const char *quota_script_sha(void);

#endif
