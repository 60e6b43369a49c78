/* JSON of events (for event_encode.c and event_data.c alone): single fields of an object. */
#ifndef EVENT_JSON_H
#define EVENT_JSON_H

#include "base/cq_buf.h"

/* A name with its colon, and a comma before it where one belongs. A value follows. */
void event_json_name(struct cq_buf *out, const char *name);
void event_json_text(struct cq_buf *out, const char *name, const char *text);
void event_json_time(struct cq_buf *out, const char *name, uint64_t us);

#endif
