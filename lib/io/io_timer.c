/* Timers: a binary heap by due time, each timer knows its place. */
#include <stdlib.h>

#include "base/cq_assert.h"
#include "base/cq_mem.h"
#include "io/io_loop_private.h"

#define HEAP_MIN 64

static void place(struct io_loop *loop, size_t slot, struct io_timer *timer)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(struct io_loop *loop, size_t slot, struct io_timer *timer)
{
    for (; slot > 1 && loop->heap[slot / 2]->due_us > timer->due_us; slot /= 2)
        place(loop, slot, loop->heap[slot / 2]);
    place(loop, slot, timer);
}

static void sift_down(struct io_loop *loop, size_t slot, struct io_timer *timer)
{
    for (size_t child; (child = slot * 2) <= loop->heap_count; slot = child) {
        if (child < loop->heap_count && loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
            child++;
        if (loop->heap[child]->due_us >= timer->due_us)
            break;
        place(loop, slot, loop->heap[child]);
    }
    place(loop, slot, timer);
}

static void settle(struct io_loop *loop, size_t slot, struct io_timer *timer)
{
    if (slot > 1 && loop->heap[slot / 2]->due_us > timer->due_us)
        sift_up(loop, slot, timer);
    else
        sift_down(loop, slot, timer);
}

static void heap_grow(struct io_loop *loop)
{
    loop->heap_cap = loop->heap_cap ? loop->heap_cap * 2 : HEAP_MIN;
    loop->heap = cq_realloc(loop->heap, (loop->heap_cap + 1) * sizeof *loop->heap);
}

void io_timer_init(struct io_timer *timer, struct io_loop *loop, io_timer_fn *fn)
{
    *timer = (struct io_timer){.loop = loop, .fn = fn};
}

void io_timer_start(struct io_timer *timer, uint64_t in_ms)
{
    io_timer_start_at(timer, io_loop_deadline(timer->loop, in_ms));
}

void io_timer_start_at(struct io_timer *timer, uint64_t due_us)
{
    struct io_loop *loop = timer->loop;
    timer->due_us = due_us > loop->now_us ? due_us : loop->now_us + 1; /* later than all that run in this turn */
    if (timer->slot) {
        settle(loop, timer->slot, timer);
        return;
    }
    if (loop->heap_count == loop->heap_cap)
        heap_grow(loop);
    sift_up(loop, ++loop->heap_count, timer);
}

void io_timer_stop(struct io_timer *timer)
{
    if (!timer->slot)
        return;
    struct io_loop *loop = timer->loop;
    size_t slot = timer->slot;
    timer->slot = 0;
    struct io_timer *last = loop->heap[loop->heap_count--];
    if (last != timer)
        settle(loop, slot, last);
}

uint64_t io_timers_next_us(const struct io_loop *loop)
{
    return loop->heap_count ? loop->heap[1]->due_us : IO_NO_DEADLINE;
}

void io_timers_run(struct io_loop *loop)
{
    for (int i = 0; i < IO_TIMERS_PER_TURN && io_timers_next_us(loop) <= loop->now_us; i++) {
        struct io_timer *timer = loop->heap[1];
        io_timer_stop(timer);
        timer->fn(timer);
    }
}
