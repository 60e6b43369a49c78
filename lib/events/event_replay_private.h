/* What event_replay.c (choosing, sending, counting) and event_replay_letters.c (reading dead letters) share. */
#ifndef EVENT_REPLAY_PRIVATE_H
#define EVENT_REPLAY_PRIVATE_H

#include "events/event_replay.h"

struct event_replay_item {
    struct event_read read;
    enum event_replay_result result;
};

struct event_replay_batch {
    struct event_replay *replay;
    struct event_replay_item *items; /* EVENT_REPLAY_EVENTS_MAX */
    size_t count;
    size_t bytes;
    const char *refused_why;
};

void event_replay_begin(struct event_replay_batch *batch, struct event_replay *replay);
bool event_replay_wants(const struct event_replay *replay, const struct event_read *read);
/* There is room: the caller looks at count and bytes. */
void event_replay_add(struct event_replay_batch *batch, const struct event_read *read, enum event_replay_result result);
/* Sends what was found, unless it is a dry run, and makes the rows. */
enum cq_rc event_replay_end(struct event_replay_batch *batch, struct cq_err *err);

#endif
