#include "sim_cluster.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---- The queue: a heap by (time, order of planning) ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct sim *sim, struct sim_event event)
{
    if (sim->heap_count == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap ? sim->heap_cap * 2 : 1024;
        sim->heap = cq_realloc(sim->heap, sim->heap_cap * sizeof *sim->heap);
    }
    size_t i = sim->heap_count++;
    event.order = sim->next_order++;
    for (; i && before(&event, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

static struct sim_event heap_pop(struct sim *sim)
{
    struct sim_event top = sim->heap[0], last = sim->heap[--sim->heap_count];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < sim->heap_count; i = child) {
        if (child + 1 < sim->heap_count && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
    }
    sim->heap[i] = last;
    return top;
}

void sim_at(struct sim *sim, uint64_t delay_us, sim_fire_fn *fire, void *arg, uint64_t a, uint64_t b)
{
    heap_push(sim, (struct sim_event){.at = sim->now + delay_us, .fire = fire, .arg = arg, .a = a, .b = b, .node = -1});
}

void sim_at_node(struct sim *sim, struct sim_node *node, uint64_t delay_us, sim_fire_fn *fire, void *arg,
                 void (*drop)(void *arg), uint64_t a, uint64_t b)
{
    heap_push(sim, (struct sim_event){.at = sim->now + delay_us,
                                      .fire = fire,
                                      .arg = arg,
                                      .a = a,
                                      .b = b,
                                      .drop = drop,
                                      .node = (int)node->index,
                                      .life = node->life});
}

static void drop_event(const struct sim_event *event)
{
    if (event->drop)
        event->drop(event->arg);
}

static void fire(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = event->node >= 0 ? sim->nodes[event->node] : NULL;
    if (node && (event->life != node->life || !sim_node_up(node))) {
        drop_event(event);
        return;
    }
    if (node && node->paused_until > sim->now) {
        event->at = node->paused_until;
        heap_push(sim, *event);
        return;
    }
    event->fire(sim, event->arg, event->a, event->b);
}

void sim_run(struct sim *sim, uint64_t until)
{
    while (sim->heap_count && sim->heap[0].at <= until && !sim->failures) {
        struct sim_event event = heap_pop(sim);
        sim->now = event.at;
        sim_note(sim, event.at ^ event.order << 32);
        fire(sim, &event);
    }
    if (sim->now < until && !sim->failures)
        sim->now = until;
}

/* ---- Reporting ---- */

void sim_trace_line(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    printf("%10.6f ", (double)sim->now / 1e6);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (sim->failures++)
        return;
    va_start(args, fmt);
    vsnprintf(sim->failure, sizeof sim->failure, fmt, args);
    va_end(args);
    sim_trace(sim, "FAILED: %s", sim->failure);
}

/* ---- Life ---- */

struct sim *sim_new(const struct sim_options *options, const struct sim_app *app, void *app_ctx)
{
    struct sim *sim = cq_new(struct sim);
    CQ_ASSERT(options->nodes <= SIM_NODES_MAX && options->groups <= SIM_GROUPS_MAX);
    sim->options = *options;
    sim->prng.state = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->now = 10 * SIM_S;
    sim->next_cookie = 1;
    sim->app = app;
    sim->app_ctx = app_ctx;
    sim_check_new(sim);
    sim_net_new(sim);
    if (options->changing)
        sim_cluster_new(sim);
    for (unsigned i = 0; i < options->nodes; i++)
        sim_node_new(sim, i);
    for (unsigned i = 0; i < options->nodes; i++)
        sim_node_start(sim->nodes[i]);
    return sim;
}

void sim_free(struct sim **sim)
{
    struct sim *s = *sim;
    *sim = NULL;
    if (!s)
        return;
    for (size_t i = 0; i < s->heap_count; i++)
        drop_event(&s->heap[i]);
    for (unsigned i = 0; i < s->options.nodes; i++)
        sim_node_free(s->nodes[i]);
    sim_cluster_free(s);
    sim_net_free(s);
    sim_check_free(s);
    free(s->heap);
    free(s);
}
