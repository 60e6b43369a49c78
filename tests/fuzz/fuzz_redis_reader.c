/* Replies of a hostile Redis: whole and byte by byte they are the same, within the bounds. */
#include "base/cq_assert.h"
#include "redis/redis_reader.h"

#include <string.h>

#define SUMS_MAX 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t sums[SUMS_MAX]; /* one of each reply */
    size_t count;
    bool ended;
};

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * UINT64_C(0x100000001b3);
}

/* hiredis bounds the depth. */
static uint64_t sum_of(const redisReply *reply, uint64_t sum)
{
    sum = mix(sum, (uint64_t)reply->type);
    if (reply->type == REDIS_REPLY_ARRAY) {
        CQ_ASSERT(reply->elements <= REDIS_ARRAY_MAX);
        for (size_t i = 0; i < reply->elements; i++)
            sum = sum_of(reply->element[i], sum);
        return sum;
    }
    if (reply->type == REDIS_REPLY_INTEGER)
        return mix(sum, (uint64_t)reply->integer);
    for (size_t i = 0; i < reply->len; i++)
        sum = mix(sum, (uint8_t)reply->str[i]);
    CQ_ASSERT(reply->type == REDIS_REPLY_NIL || reply->str[reply->len] == '\0');
    return sum;
}

static void take(struct redis_reader *reader, struct seen *seen, struct cq_slice bytes)
{
    redisReply *reply = NULL;
    seen->ended = redis_reader_feed(reader, bytes) != NULL;
    while (!seen->ended && seen->count < SUMS_MAX) {
        seen->ended = redis_reader_next(reader, &reply) != NULL;
        if (seen->ended || !reply)
            break;
        seen->sums[seen->count++] = sum_of(reply, 1);
        freeReplyObject(reply);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen whole, bytewise;
    struct redis_reader reader;
    whole.count = bytewise.count = 0;
    whole.ended = bytewise.ended = false;
    redis_reader_init(&reader);
    take(&reader, &whole, cq_slice_of(data, size));
    redis_reader_fini(&reader);
    redis_reader_init(&reader);
    for (size_t i = 0; i < size && !bytewise.ended && bytewise.count < SUMS_MAX; i++)
        take(&reader, &bytewise, cq_slice_of(data + i, 1));
    redis_reader_fini(&reader);
    CQ_ASSERT(whole.count == bytewise.count && whole.ended == bytewise.ended);
    CQ_ASSERT(memcmp(whole.sums, bytewise.sums, whole.count * sizeof *whole.sums) == 0);
    return 0;
}
