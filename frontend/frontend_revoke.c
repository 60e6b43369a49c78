/* Ends sessions whose account or credential may not go on: core/front_revoke.h on the control loop. */
#include "frontend.h"

#include "core/front_revoke.h"

#define ROUND_MS 2000

static void follow(void *arg)
{
    struct frontend *frontend = arg;
    struct front_revoke *revoke = front_revoke_new(frontend->directory, frontend->auth, &frontend->every);
    do
        front_revoke_round(revoke);
    while (front_revoke_wait(revoke, ROUND_MS) == CQ_OK); /* to the end of a drain: sessions live on meanwhile */
    front_revoke_free(&revoke);
}

void frontend_revoke_start(struct frontend *frontend)
{
    io_fiber_spawn(frontend->control->front.loop, follow, frontend, &frontend->revoking);
}
