/* The outbox relay: the leader of a shard reads the events that its entries have written, publishes them, and moves the
 * replicated cursor every second or 1,000 acknowledgements; what is behind the cursor is removed from the outbox. A new
 * leader goes on from the cursor: at least once, under the same ids.
 *
 * The control loop plans, a shard's apply thread reads, one thread of its own encodes what has come of all shards and
 * talks with the sink (which may wait for a disk): mail never waits for events. */
#ifndef OUTBOX_RELAY_H
#define OUTBOX_RELAY_H

#include "base/cq_metrics.h"
#include "events/event_encode.h"
#include "events/event_sink.h"

struct node;
struct outbox_relay;

#define RELAY_TICK_MS 200      /* between two looks for new events */
#define RELAY_BATCH_EVENTS 500 /* read at once from one shard */
#define RELAY_BATCH_BYTES (256u << 10)
#define RELAY_GATHER_EVENTS 4000  /* published at once, of many shards */
#define RELAY_ADVANCE_EVENTS 1000 /* the cursor is moved after so many acknowledgements, */
#define RELAY_ADVANCE_MS 1000     /* or after this time */
#define RELAY_MEASURE_MS 1000     /* between two looks at how much waits; over events.outbox.max_bytes it is trimmed */

/* The sink becomes the relay's; NULL: events are discarded (and counted). */
struct outbox_relay *outbox_relay_new(struct node *node, struct event_sink *sink, const struct event_source *source);
void outbox_relay_start(struct outbox_relay *relay);  /* on the control loop, before it runs */
void outbox_relay_reopen(struct outbox_relay *relay); /* any thread: the sink opens its files anew */
void outbox_relay_tell(struct outbox_relay *relay, char *text_r, size_t size); /* any thread: for /readyz?verbose */
void outbox_relay_stop(struct outbox_relay *relay);  /* on the control loop: nothing new is begun */
void outbox_relay_join(struct outbox_relay *relay);  /* any thread: what is under way comes to the control loop */
void outbox_relay_free(struct outbox_relay **relay); /* when nothing is under way any more */

extern struct cq_metrics outbox_relay_metrics;

#endif
