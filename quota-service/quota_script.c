#include "quota-service/quota_script.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* The arithmetic is that of limits/gcra.c: a debt is never over the burst, whatever the clock did. A number of Lua is a
 * double: exact up to 2^53 us, which is the year 2255. Tokens are leased above a debt of the lease time: why, is in
 * docs/decisions/0053. */
static const char body[] =
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "local out = {}\n"
    "local function keep(key, left)\n"
    "  if left > 0 then\n"
    "    redis.call('SET', key, string.format('%.0f', now + left), 'PX', math.ceil(left / 1000))\n"
    "  else\n"
    "    redis.call('DEL', key)\n"
    "  end\n"
    "end\n"
    "for i, key in ipairs(KEYS) do\n"
    "  local op, kind, cost, want = string.match(ARGV[i], '^(%a)(%d+),(%d+),(%d+)$')\n"
    "  local at = 3 * kind\n"
    "  local interval, burst, lease = numbers[at - 2], numbers[at - 1], numbers[at]\n"
    "  local price = interval * cost\n"
    "  local stored = tonumber(redis.call('GET', key) or 0) or 0\n"
    "  local debt = math.min(math.max(stored - now, 0), burst)\n"
    "  local answer = 1\n"
    "  if op == 'r' then\n"
    "    keep(key, debt - price)\n"
    "  elseif op == 'c' then\n"
    "    keep(key, math.min(debt + price, burst))\n"
    "  elseif price > burst then\n"
    "    answer = 0\n"
    "  elseif debt + price > burst then\n"
    "    answer = burst - debt - price\n"
    "  elseif op == 'p' then\n"
    "    answer = math.floor((burst - debt) / interval)\n"
    "  else\n"
    "    local from, tokens = math.max(debt, lease), 0\n"
    "    if op == 'l' then\n"
    "      tokens = math.min(tonumber(want), math.floor((burst - from) / interval / shares))\n"
    "    end\n"
    "    if tokens > tonumber(cost) then\n"
    "      keep(key, from + tokens * interval)\n"
    "      answer = tokens\n"
    "    else\n"
    "      keep(key, debt + price)\n"
    "      answer = cost\n"
    "    end\n"
    "  end\n"
    "  out[i] = string.format('%.0f', answer)\n"
    "end\n"
    "return table.concat(out, ' ')\n";

static void write_sha(struct quota_script *script)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    CQ_ASSERT(EVP_Digest(script->text, strlen(script->text), digest, &len, EVP_sha1(), NULL) && len == 20);
    for (unsigned i = 0; i < len; i++)
        snprintf(script->sha + 2 * i, 3, "%02x", digest[i]);
}

#define HEAD_MAX 64
#define LIMIT_TEXT_MAX 80 /* three numbers */

void quota_script_make(const struct quota_script_limit *limits, size_t count, unsigned shares,
                       struct quota_script *script_r)
{
    size_t size = HEAD_MAX + count * LIMIT_TEXT_MAX + sizeof body;
    char *text = cq_malloc(size);
    int n = snprintf(text, size, "local shares, numbers = %u, {", shares);
    for (size_t i = 0; i < count; i++)
        n += snprintf(text + n, size - (size_t)n, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", limits[i].interval_us,
                      limits[i].burst_us, limits[i].lease_us);
    snprintf(text + n, size - (size_t)n, "}\n%s", body);
    script_r->text = text;
    write_sha(script_r);
}
