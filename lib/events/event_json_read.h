/* JSON that comes from outside (a file of events, the value of a record), read piece by piece: spans of the text, no
 * tree. Not recursive; deeper than EVENT_JSON_DEPTH_MAX is refused. */
#ifndef EVENT_JSON_READ_H
#define EVENT_JSON_READ_H

#include "base/cq_pool.h"

#define EVENT_JSON_DEPTH_MAX 32

/* Takes one value (RFC 8259 section 3) with the space around it from the front of *text; *value_r is its text. False:
 * that is no JSON, or it is too deep. Bytes over 127 are not looked at. */
bool event_json_take(struct cq_slice *text, struct cq_slice *value_r);

/* Over an object's members: *object is its text, braces included, at first; what is left of it after. Member names are
 * compared as they are written. False: there are no more. The object must have been checked by event_json_take. */
bool event_json_member(struct cq_slice *object, struct cq_slice *name_r, struct cq_slice *value_r);

/* The text of a checked string value, its escapes resolved, in the pool and with a NUL after it. False: it is no
 * string, has a NUL in it, or half a surrogate pair. */
bool event_json_string(struct cq_slice value, struct cq_pool *pool, struct cq_slice *text_r);

#endif
