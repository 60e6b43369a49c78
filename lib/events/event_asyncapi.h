/* The AsyncAPI 3.0 document of the topics (docs/reference/asyncapi.yaml), made from the catalogue and the public
 * messages (proto/events.proto). */
#ifndef EVENT_ASYNCAPI_H
#define EVENT_ASYNCAPI_H

#include "base/cq_buf.h"

/* Appends it, as YAML. */
void event_asyncapi(struct cq_buf *out);

#endif
