/* Best-effort events of one process: any thread puts them into a bounded memory, one thread of its own encodes them and
 * talks with the sink, which may wait for a disk. Whoever puts an event never waits for more than a copy of some
 * hundred bytes: when the memory is full the event is dropped and counted (chasqui_events_dropped_total).
 *
 * What the sink does not take is tried again, under the same id, until the process ends. */
#ifndef EVENT_RING_H
#define EVENT_RING_H

#include "events/event_encode.h"
#include "events/event_sink.h"
#include "proto/edge.pb-c.h"

struct event_ring;

#define EVENT_RING_BYTES (4u << 20) /* default of bytes_max */
#define EVENT_RING_EVENT_MAX 4096   /* bytes of one packed event; a larger one is dropped as malformed */
#define EVENT_RING_RETRY_MS 1000    /* after a failure of the sink */
#define EVENT_RING_GATHER_MS 50     /* the first event waits so long for others: one write and one sync for all */
#define EVENT_RING_POLL_MS 20       /* while a sink has events that it has not acknowledged */

struct event_ring_config {
    struct event_sink *sink;    /* becomes the ring's; NULL: all events are dropped and counted as no_sink */
    struct event_source source; /* texts are borrowed */
    size_t bytes_max;           /* of events that wait, those that the thread works on included; 0: EVENT_RING_BYTES */
    bool no_thread;             /* for tests: event_ring_write() is called by hand */
};

struct event_ring *event_ring_new(const struct event_ring_config *config);

/* What waits is written before, tried once; no other thread uses the ring any more. */
void event_ring_free(struct event_ring **ring);

/* Any thread. Packs the event; time, id and number are given here. A NULL ring: nothing. */
void event_ring_put(struct event_ring *ring, Chasqui__Edge__Event *event);

/* Any thread: how publishing goes, for /readyz?verbose. */
void event_ring_tell(struct event_ring *ring, char *text_r, size_t size);

/* Any thread: the sink opens its files anew, soon. */
void event_ring_reopen(struct event_ring *ring);

/* A text that says nothing of what it was made from, the same for the same text (ASCII case aside): under
 * events.pii_key when there is one, else under a key of this process. For partition keys. */
void event_ring_hash(const struct event_ring *ring, struct cq_slice text, char hash_r[static EVENT_HASH_SIZE]);

/* What the thread does in a turn: takes what waits and gives it to the sink. CQ_OK: the sink has acknowledged all of
 * it. CQ_E_AGAIN: not yet. CQ_E_IO and others: the sink failed; what it has not acknowledged comes with the next call.
 */
enum cq_rc event_ring_write(struct event_ring *ring, struct cq_err *err);

#endif
