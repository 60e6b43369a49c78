/* Fibers: straight-line code on small pooled stacks, run by a loop. A fiber suspends only inside the functions that say
 * so; between two suspensions nothing else of its loop runs.
 *
 * Waiting is park and wake, with a permit: a wake that comes before the park makes the park return at once, and a park
 * may return CQ_OK without reason. So a condition is always checked in a loop, and the helpers of io_sync.h do that.
 *
 * The stack is 64 KiB (256 KiB under sanitizers) with a guard page below: no large arrays, no deep recursion. */
#ifndef IO_FIBER_H
#define IO_FIBER_H

#include "io/io_loop.h"

#define IO_FIBER_QUEUE_MAX 65536 /* fibers of one loop that wait for a stack */

struct io_fiber;
typedef void io_fiber_fn(void *arg);

/* A fiber by name: plain value, may outlive the fiber; what is done to an ended fiber does nothing. {0}: nobody. */
struct io_fiber_ref {
    struct io_fiber *fiber;
    uint64_t life;
};

/* Starts fn(arg) on a fiber of the loop, in this turn, not before the caller gets back to the loop or suspends.
 * CQ_E_OVERLOADED: fibers_max are running. ref_r may be NULL. Loop's thread only. */
enum cq_rc io_fiber_spawn(struct io_loop *loop, io_fiber_fn *fn, void *arg, struct io_fiber_ref *ref_r);

/* The same, but when all stacks are taken it waits in order for one; CQ_E_OVERLOADED past IO_FIBER_QUEUE_MAX. For
 * sessions; a fiber that waits for its children uses io_fiber_spawn (or it may wait for itself). */
enum cq_rc io_fiber_spawn_queued(struct io_loop *loop, io_fiber_fn *fn, void *arg, struct io_fiber_ref *ref_r);

/* The fiber that runs now, {0} on the loop's own stack. */
struct io_fiber_ref io_fiber_self(void);
bool io_fiber_running(void);                  /* are we on a fiber? */
bool io_fiber_alive(struct io_fiber_ref ref); /* loop's thread */

/* ---- Suspending. All of these are called on a fiber, and need the caller to hold no lock. ---- */

/* Until a wake (CQ_OK), the deadline (CQ_E_TIMEOUT) or a cancel (CQ_E_CANCELLED). Deadlines are absolute, see
 * io_loop_deadline(); IO_NO_DEADLINE waits for ever. A permit wins over a deadline that has passed. */
enum cq_rc io_fiber_park(uint64_t deadline_us);

enum cq_rc io_fiber_sleep(uint64_t ms); /* CQ_OK after that time, or CQ_E_CANCELLED */

/* Lets everybody else run and goes on in the next turn; for long computations. CQ_OK or CQ_E_CANCELLED. */
enum cq_rc io_fiber_yield(void);

/* ---- Waking ---- */

void io_fiber_wake(struct io_fiber_ref ref);                              /* loop's thread */
void io_fiber_wake_remote(struct io_loop *loop, struct io_fiber_ref ref); /* any thread; ref belongs to that loop */

/* From now on every park of the fiber returns CQ_E_CANCELLED at once: its result is not wanted any more. It ends by
 * itself, by leaving early. Loop's thread. */
void io_fiber_cancel(struct io_fiber_ref ref);
bool io_fiber_cancelled(void); /* was the running fiber cancelled? Checked in long loops */

/* Between shield(true) and shield(false) the running fiber's parks ignore a cancel: for work that must end well (giving
 * back a lock on another node). Nests. */
void io_fiber_shield(bool on);

/* ---- Introspection ---- */

struct io_fiber_stats {
    size_t running;    /* fibers with a stack */
    size_t queued;     /* waiting for one */
    size_t stacks;     /* stacks that are mapped */
    uint64_t spawned;  /* since the loop began */
    uint64_t refused;  /* CQ_E_OVERLOADED */
    uint64_t switches; /* resumptions */
    size_t stack_size; /* bytes of one stack, without the guard page */
};

void io_fiber_stats(const struct io_loop *loop, struct io_fiber_stats *stats_r);

/* The most bytes of a stack that any ended fiber of this loop has touched, by pages; 0 without measure_stacks. */
size_t io_fiber_stack_high_water(const struct io_loop *loop);

#endif
