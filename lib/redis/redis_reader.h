/* Bytes from a Redis in, replies out: hiredis' reader within bounds of ours, because a server that we connect to may be
 * anybody's. Pure. */
#ifndef CHASQUI_REDIS_READER_H
#define CHASQUI_REDIS_READER_H

#include "base/cq_slice.h"

#include <hiredis/hiredis.h>

#define REDIS_REPLY_MAX (64u << 10) /* bytes of one reply; a longer one ends the connection */
#define REDIS_ARRAY_MAX 256         /* elements of one array in it; the same */

struct redis_reader {
    redisReader *reader;
    size_t unread; /* bytes fed since the last whole reply */
};

void redis_reader_init(struct redis_reader *reader);
void redis_reader_fini(struct redis_reader *reader); /* twice is fine */

/* Both: NULL, or why the connection must end; nothing may follow then. */
const char *redis_reader_feed(struct redis_reader *reader, struct cq_slice bytes);
/* *reply_r is the next whole reply, which the caller frees, or NULL: more bytes are needed. */
const char *redis_reader_next(struct redis_reader *reader, redisReply **reply_r);

#endif
