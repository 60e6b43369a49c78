#include "events/event_health.h"

#include <stdio.h>
#include <string.h>

#include "base/cq_log.h"
#include "base/cq_time.h"

void event_health_init(struct event_health *health)
{
    *health = (struct event_health){.state = EVENT_HEALTH_NOTHING};
    pthread_mutex_init(&health->lock, NULL);
}

void event_health_fini(struct event_health *health)
{
    pthread_mutex_destroy(&health->lock);
}

static uint64_t seconds_of(const struct event_health *health, uint64_t now_us)
{
    return (now_us - health->since_us) / CQ_US_PER_S;
}

/* Is it to be told? Under the lock. */
static bool note_failure(struct event_health *health, const char *text, uint64_t now_us)
{
    bool began = health->state != EVENT_HEALTH_FAILS;
    bool tell = began || now_us - health->told_us >= EVENT_HEALTH_AGAIN_US;
    health->state = EVENT_HEALTH_FAILS;
    if (began)
        health->since_us = now_us;
    if (tell)
        health->told_us = now_us;
    snprintf(health->text, sizeof health->text, "%s", text);
    return tell;
}

void event_health_note(struct event_health *health, enum cq_rc rc, const struct cq_err *err, uint64_t now_us)
{
    pthread_mutex_lock(&health->lock);
    bool failed = health->state == EVENT_HEALTH_FAILS;
    bool tell = rc != CQ_OK && note_failure(health, err && err->text[0] ? err->text : cq_rc_text(rc), now_us);
    uint64_t seconds = health->state == EVENT_HEALTH_FAILS ? seconds_of(health, now_us) : 0;
    if (rc == CQ_OK)
        health->state = EVENT_HEALTH_GOES;
    pthread_mutex_unlock(&health->lock);
    if (tell)
        cq_log(CQ_ERROR, "events.not_published", CQ_F_U64("failing_seconds", seconds), CQ_F_RC(rc),
               CQ_F_STR("error", err && err->text[0] ? err->text : cq_rc_text(rc)));
    if (failed && rc == CQ_OK)
        cq_log(CQ_INFO, "events.published_again", CQ_F_U64("failed_seconds", seconds));
}

void event_health_tell(struct event_health *health, uint64_t now_us, char *text_r, size_t size)
{
    pthread_mutex_lock(&health->lock);
    if (health->state == EVENT_HEALTH_FAILS)
        snprintf(text_r, size, "not published for %llu s: %s", (unsigned long long)seconds_of(health, now_us),
                 health->text);
    else
        snprintf(text_r, size, "%s", health->state == EVENT_HEALTH_GOES ? "published" : "nothing to publish so far");
    pthread_mutex_unlock(&health->lock);
}
