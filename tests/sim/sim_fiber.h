/* A stack of its own for straight-line code that waits: what runs on a fiber in the server runs on one here, and is
 * resumed by the simulator's events. One thread, no loop, no clock. */
#ifndef SIM_FIBER_H
#define SIM_FIBER_H

#include <stdbool.h>

struct sim_fiber;

/* Runs fn on its own stack until it waits for the first time. When fn has returned, *fiber is NULL again and its
 * memory is gone; the pointer is set before fn begins and must stay where it is. */
void sim_fiber_start(struct sim_fiber **fiber, void (*fn)(void *arg), void *arg);
/* On a fiber: comes back when somebody resumes it. False: it was cancelled, and nothing may be waited for any more. */
bool sim_fiber_wait(struct sim_fiber *fiber);
/* Goes on with one that waits. */
void sim_fiber_resume(struct sim_fiber *fiber);
/* Lets it run to its end, all that it waits for failing. */
void sim_fiber_cancel(struct sim_fiber *fiber);

#endif
