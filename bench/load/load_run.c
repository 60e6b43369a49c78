#include "load_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/cq_mem.h"
#include "base/cq_time.h"
#include "load_report.h"

#define PREPARING_AT_ONCE 64 /* sessions that connect at the same time */

uint64_t load_now_us(void)
{
    return cq_time_mono_us();
}

void load_say(const char *event)
{
    printf("{\"event\": \"%s\", \"mono_us\": %llu}\n", event, (unsigned long long)load_now_us());
    fflush(stdout);
}

/* ---- The measured time ---- */

static uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * CQ_US_PER_S +
           (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
}

/* How long this thread was ready to run and had no core (sched_schedstat; 0 where the kernel does not tell). */
static uint64_t wait_us(void)
{
    unsigned long long ran = 0, waited = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file && fscanf(file, "%llu %llu", &ran, &waited) != 2)
        waited = 0;
    if (file)
        fclose(file);
    return waited / 1000;
}

void load_measure_begin(struct load_run *run)
{
    load_say("begin");
    run->measuring = true;
    run->begin_us = load_now_us();
    run->cpu_begin_us = cpu_us();
    run->wait_begin_us = wait_us();
}

void load_measure_end(struct load_run *run)
{
    if (run->over)
        return;
    run->over = true;
    run->end_us = load_now_us();
    if (!run->measuring)
        run->begin_us = run->end_us;
    run->cpu_us = cpu_us() - run->cpu_begin_us;
    run->wait_us = wait_us() - run->wait_begin_us;
    run->measuring = false;
    load_say("end");
    io_event_set(&run->all_ready);
}

static void on_timer(struct io_timer *timer)
{
    struct load_run *run = cq_containerof(timer, struct load_run, timer);
    if (run->measuring) {
        load_measure_end(run);
        return;
    }
    load_measure_begin(run);
    io_timer_start(timer, (uint64_t)(run->options->seconds * 1000));
}

static bool ends_itself(const struct load_run *run)
{
    return run->options->operations > 0;
}

static void all_are_ready(struct load_run *run, bool own_end)
{
    io_event_set(&run->all_ready);
    if (own_end)
        return;
    if (ends_itself(run) && run->options->warmup <= 0)
        load_measure_begin(run);
    else
        io_timer_start(&run->timer, (uint64_t)(run->options->warmup * 1000));
}

/* ---- What scenarios call ---- */

static const struct load_scenario *running;

static void count_ready(struct load_run *run)
{
    if (++run->ready == run->sessions && !run->over)
        all_are_ready(run, running->own_end);
}

bool load_ready(struct load_session *session)
{
    session->ready = true;
    count_ready(session->run);
    while (!session->run->all_ready.set)
        if (io_event_wait(&session->run->all_ready, IO_NO_DEADLINE) != CQ_OK)
            return false;
    return !session->run->over;
}

bool load_going(struct load_session *session)
{
    struct load_run *run = session->run;
    if (run->over || (run->options->operations && run->begun >= run->options->operations))
        return false;
    run->begun++;
    return true;
}

static struct load_kind *kind_of(struct load_run *run, const char *name)
{
    for (size_t i = 0; i < run->kind_count; i++)
        if (run->kinds[i].name == name || strcmp(run->kinds[i].name, name) == 0)
            return &run->kinds[i];
    if (run->kind_count == LOAD_KINDS_MAX)
        return &run->kinds[LOAD_KINDS_MAX - 1];
    run->kinds[run->kind_count].name = name;
    return &run->kinds[run->kind_count++];
}

void load_note(struct load_run *run, const char *kind, uint64_t start_us)
{
    if (run->measuring && start_us >= run->begin_us)
        load_histogram_record(&kind_of(run, kind)->took_us, load_now_us() - start_us);
}

void load_done(struct load_run *run, const char *kind, uint64_t start_us, uint64_t octets)
{
    if (!run->measuring || start_us < run->begin_us)
        return;
    load_histogram_record(&run->took_us, load_now_us() - start_us);
    if (kind)
        load_note(run, kind, start_us);
    run->octets += octets;
}

void load_failed(struct load_run *run, const char *what, const struct cq_err *err)
{
    if (run->over)
        return;
    if (!run->errors++)
        snprintf(run->first_error, sizeof run->first_error, "%s: %s", what, err->text);
}

const struct load_account *load_account(const struct load_session *session, size_t number)
{
    return &session->run->options->accounts[number % session->run->options->account_count];
}

struct load_letter load_next_letter(struct load_session *session)
{
    struct load_run *run = session->run;
    return (struct load_letter){.message =
                                    &run->messages.items[cq_prng_below(&session->prng, (uint32_t)run->messages.count)],
                                .token = run->options->seed << 32 | ++run->tokens};
}

/* ---- Sessions ---- */

static void session_fiber(void *arg)
{
    struct load_session *session = arg;
    struct load_run *run = session->run;
    session->client =
        (struct load_client){.loop = run->loop, .tls = run->tls, .server_name = run->options->server_name};
    running->session(session);
    load_client_close(&session->client);
    if (!session->ready)
        count_ready(run); /* it failed before: the others do not wait for it */
    if (++run->ended == run->sessions) {
        load_measure_end(run);
        io_loop_stop(run->loop);
    }
    free(session);
}

static void start_sessions(void *arg)
{
    struct load_run *run = arg;
    for (size_t i = 0; i < run->sessions; i++) {
        struct load_session *session = cq_new(struct load_session);
        session->run = run;
        session->number = i;
        session->prng.state = run->options->seed * 1000003 + i;
        if (io_fiber_spawn_queued(run->loop, session_fiber, session, NULL) != CQ_OK)
            abort();
        if (i % PREPARING_AT_ONCE == PREPARING_AT_ONCE - 1)
            io_fiber_sleep(5);
    }
}

enum cq_rc load_run(const struct load_scenario *scenario, const struct load_options *options, struct cq_err *err)
{
    struct load_run *run = cq_new(struct load_run);
    const size_t at_once = scenario->own_end ? options->opening : options->sessions;
    const struct io_loop_options loop_options = {.name = "load", .fibers_max = at_once + 1};
    const struct io_tls_client_options tls_options = {.ca_file = options->ca};
    enum cq_rc rc = io_tls_client_new(&tls_options, &run->tls, err);
    if (rc != CQ_OK)
        goto out;
    running = scenario;
    run->options = options;
    run->sessions = options->sessions;
    if (scenario->needs_messages)
        load_messages_init(&run->messages, options->seed, options->distinct, options->size);
    run->loop = io_loop_new(&loop_options);
    io_timer_init(&run->timer, run->loop, on_timer);
    io_fiber_spawn(run->loop, start_sessions, run, NULL);
    io_loop_run(run->loop);
    io_timer_stop(&run->timer);
    for (unsigned i = 0; i < 50; i++) /* farewells */
        io_loop_turn(run->loop, false);
    io_loop_free(&run->loop);
    load_report(run, stdout);
out:
    io_tls_free(&run->tls);
    load_messages_fini(&run->messages);
    free(run);
    return rc;
}
