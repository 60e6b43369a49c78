#include "redis/redis_reader.h"

#include "base/cq_assert.h"

#include <pthread.h>
#include <stdbool.h>

static const char no_protocol[] = "what came is not Redis' protocol, or a reply with too many elements";

/* hiredis' own functions, but its array is made of as many elements as the server says, before one of them is there. */
static redisReplyObjectFunctions bounded;
static void *(*make_array)(const redisReadTask *task, int elements);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *make_bounded_array(const redisReadTask *task, int elements)
{
    return elements > REDIS_ARRAY_MAX ? NULL : make_array(task, elements);
}

static void make_functions(void)
{
    redisReader *reader = redisReaderCreate();
    CQ_ASSERT(reader);
    bounded = *reader->fn;
    make_array = bounded.createArray;
    bounded.createArray = make_bounded_array;
    redisReaderFree(reader);
}

void redis_reader_init(struct redis_reader *reader)
{
    pthread_once(&once, make_functions);
    *reader = (struct redis_reader){.reader = redisReaderCreateWithFunctions(&bounded)};
    CQ_ASSERT(reader->reader);
}

void redis_reader_fini(struct redis_reader *reader)
{
    if (reader->reader)
        redisReaderFree(reader->reader);
    reader->reader = NULL;
}

const char *redis_reader_feed(struct redis_reader *reader, struct cq_slice bytes)
{
    reader->unread += bytes.len;
    bool ok = redisReaderFeed(reader->reader, (const char *)bytes.data, bytes.len) == REDIS_OK;
    return ok ? NULL : no_protocol;
}

const char *redis_reader_next(struct redis_reader *reader, redisReply **reply_r)
{
    *reply_r = NULL;
    if (redisReaderGetReply(reader->reader, (void **)reply_r) != REDIS_OK)
        return no_protocol;
    if (*reply_r)
        reader->unread = 0;
    return reader->unread > REDIS_REPLY_MAX ? "a reply is too long" : NULL;
}
