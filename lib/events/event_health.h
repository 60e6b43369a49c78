/* How publishing goes, for people: one line of the log when it begins to fail, again every minute while it
 * does, and one when it goes on; and the present reason for /readyz?verbose. Any thread. */
#ifndef EVENT_HEALTH_H
#define EVENT_HEALTH_H

#include <pthread.h>
#include <stdint.h>

#include "base/cq_err.h"

#define EVENT_HEALTH_AGAIN_US (UINT64_C(60) * 1000000) /* between two lines of one failure */

struct event_health {
    pthread_mutex_t lock;
    enum { EVENT_HEALTH_NOTHING, EVENT_HEALTH_GOES, EVENT_HEALTH_FAILS } state;
    uint64_t since_us, told_us; /* monotonic; of the failure */
    char text[CQ_ERR_TEXT_SIZE];
};

void event_health_init(struct event_health *health);
void event_health_fini(struct event_health *health);

/* A batch was published, or was not: CQ_OK, or err says why. */
void event_health_note(struct event_health *health, enum cq_rc rc, const struct cq_err *err, uint64_t now_us);

/* "published", or what is wrong, since when, and what to do. Never a reason not to be ready: mail goes on. */
void event_health_tell(struct event_health *health, uint64_t now_us, char *text_r, size_t size);

#endif
