#include "quota-service/quota_script.h"

#include "base/cq_assert.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>

/* The arithmetic is that of limits/gcra.c: a debt is never over the burst, whatever the clock did. A number of Lua is a
 * double: exact up to 2^53 us, which is the year 2255. */
const char quota_script[] =
    "local op, interval, burst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])\n"
    "local price = interval * tonumber(ARGV[4])\n"
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "local debt = tonumber(redis.call('GET', KEYS[1]) or '0') - now\n"
    "debt = math.min(math.max(debt, 0), burst)\n"
    "local function keep(left)\n"
    "  if left > 0 then\n"
    "    redis.call('SET', KEYS[1], string.format('%.0f', now + left), 'PX', math.ceil(left / 1000))\n"
    "  else\n"
    "    redis.call('DEL', KEYS[1])\n"
    "  end\n"
    "end\n"
    "if op == 'refund' then\n"
    "  keep(debt - price)\n"
    "elseif op == 'charge' then\n"
    "  keep(math.min(debt + price, burst))\n"
    "elseif price > burst then\n"
    "  return {0, -1}\n"
    "elseif debt + price > burst then\n"
    "  return {0, debt + price - burst}\n"
    "elseif op == 'take' then\n"
    "  keep(debt + price)\n"
    "end\n"
    "return {1, 0}\n";

static char sha[41];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_sha(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CQ_ASSERT(EVP_Digest(quota_script, sizeof quota_script - 1, digest, &len, EVP_sha1(), NULL) && len == 20);
    for (unsigned i = 0; i < len; i++)
        snprintf(sha + 2 * i, 3, "%02x", digest[i]);
}

const char *quota_script_sha(void)
{
    pthread_once(&once, make_sha);
    return sha;
}
