/* chasqui-sim: runs seeds, each in a process of its own, and tells which ones fail. */
#include "sim_mail.h"

#include "base/cq_args.h"
#include "base/cq_mem.h"
#include "base/cq_planted.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef CHASQUI_PLANT
enum cq_plant cq_planted_bug = PLANT_NONE;
#endif

struct settings {
    uint64_t first, last;
    unsigned jobs;
    bool quiet;        /* only the counting line and failures */
    bool stop;         /* at the first failure */
    bool fingerprints; /* one line a seed: two runs must print the same */
    struct mail_options run;
};

struct tally {
    uint64_t passed, failed, first_failed;
    uint64_t operations, acknowledged, reads, unknown, committed, faults, virtual_us;
    struct sim_cluster_counts changes;
};

struct worker {
    pid_t pid;
    int fd;
    uint64_t seed;
};

/* ---- One seed in a child ---- */

static void child(const struct settings *settings, uint64_t seed, int fd)
{
    struct mail_options options = settings->run;
    struct mail_result result;
    options.seed = seed;
    mail_run(&options, &result);
    if (write(fd, &result, sizeof result) != (ssize_t)sizeof result)
        exit(3);
    exit(result.passed ? 0 : 1);
}

/* A machine that is out of processes or memory for a moment is no reason to leave seeds out. */
static pid_t fork_patiently(void)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    pid_t pid;
    for (int tries = 0; (pid = fork()) < 0 && (errno == EAGAIN || errno == ENOMEM) && tries < 300; tries++)
        nanosleep(&pause, NULL);
    return pid;
}

static void start(const struct settings *settings, struct worker *worker, uint64_t seed)
{
    int pipes[2];
    fflush(stdout);
    if (pipe(pipes) || (worker->pid = fork_patiently()) < 0) {
        perror("chasqui-sim");
        exit(2);
    }
    if (worker->pid == 0) {
        close(pipes[0]);
        child(settings, seed, pipes[1]);
    }
    close(pipes[1]);
    worker->fd = pipes[0];
    worker->seed = seed;
}

static bool read_all(int fd, void *to, size_t len)
{
    uint8_t *at = to;
    while (len) {
        ssize_t n = read(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static void add_changes(struct sim_cluster_counts *sum, const struct sim_cluster_counts *one)
{
    sum->moves += one->moves;
    sum->cancelled += one->cancelled;
    sum->wiped += one->wiped;
    sum->damaged += one->damaged;
    sum->copies += one->copies;
    sum->failed += one->failed;
    sum->digests += one->digests;
    sum->kept += one->kept;
    sum->destroyed += one->destroyed;
}

static void show_changes(const struct sim_cluster_counts *c)
{
    if (c->moves + c->wiped + c->damaged)
        printf("%u moves (%u taken back), %u stores lost, %u damaged, %u copies (%u with the log kept), %u cut (%u by "
               "the digest), %u replicas destroyed\n",
               c->moves, c->cancelled, c->wiped, c->damaged, c->copies, c->kept, c->failed, c->digests, c->destroyed);
}

static void count(struct tally *tally, const struct settings *settings, const struct worker *worker, bool told,
                  const struct mail_result *result)
{
    if (told) {
        tally->operations += result->operations;
        tally->acknowledged += result->acknowledged;
        tally->reads += result->reads;
        tally->unknown += result->unknown;
        tally->committed += result->committed;
        tally->faults += result->faults;
        tally->virtual_us += result->virtual_us;
        add_changes(&tally->changes, &result->changes);
    }
    if (settings->fingerprints && told)
        printf("seed %" PRIu64 " has the history %016" PRIx64 "\n", worker->seed, result->fingerprint);
    if (told && result->passed) {
        tally->passed++;
        return;
    }
    if (tally->failed++ == 0 || worker->seed < tally->first_failed)
        tally->first_failed = worker->seed;
    if (!settings->quiet)
        printf("seed %" PRIu64 " failed: %s\n  replay: chasqui-sim --seed %" PRIu64 " --trace\n", worker->seed,
               told ? result->failure : "the process died", worker->seed);
}

/* Waits for the worker that ends next and counts its seed. */
static struct worker *finish_one(const struct settings *settings, struct worker *workers, unsigned running,
                                 struct tally *tally)
{
    int status;
    pid_t pid;
    while ((pid = wait(&status)) < 0 && errno == EINTR)
        ;
    for (unsigned i = 0; i < running; i++) {
        if (workers[i].pid != pid)
            continue;
        struct mail_result result;
        bool told = read_all(workers[i].fd, &result, sizeof result);
        close(workers[i].fd);
        /* A sanitizer's complaint at exit counts too. */
        bool clean = WIFEXITED(status) && WEXITSTATUS(status) <= 1;
        count(tally, settings, &workers[i], told && clean, &result);
        return &workers[i];
    }
    return NULL;
}

static void run_seeds(const struct settings *settings, struct tally *tally)
{
    struct worker *workers = cq_calloc(settings->jobs, sizeof *workers);
    unsigned running = 0;
    for (uint64_t seed = settings->first; seed <= settings->last; seed++) {
        struct worker *place =
            running < settings->jobs ? &workers[running++] : finish_one(settings, workers, running, tally);
        if (!place || (settings->stop && tally->failed))
            break;
        start(settings, place, seed);
    }
    while (finish_one(settings, workers, running, tally))
        ;
    free(workers);
}

/* ---- The command line ---- */

static uint64_t number(const char *text, const char *what)
{
    uint64_t value;
    if (!cq_slice_u64(cq_slice_cstr(text), UINT64_MAX, &value)) {
        fprintf(stderr, "chasqui-sim: %s is no number: %s\n", what, text);
        exit(2);
    }
    return value;
}

static void take_range(struct settings *settings, const char *text)
{
    struct cq_slice range = cq_slice_cstr(text), first = cq_slice_cut(&range, '.');
    if (!cq_slice_u64(first, UINT64_MAX, &settings->first) || range.len < 2 || range.data[0] != '.' ||
        !cq_slice_u64(cq_slice_skip(range, 1), UINT64_MAX, &settings->last) || settings->last < settings->first) {
        fprintf(stderr, "chasqui-sim: --seeds is FIRST..LAST, not %s\n", text);
        exit(2);
    }
}

#ifdef CHASQUI_PLANT
static const struct {
    const char *name, *what;
} plants[] = {
#define PLANT_ROW(symbol, name, what) {name, what},
    CQ_PLANTS(PLANT_ROW)
#undef PLANT_ROW
};

static void take_plant(const char *name)
{
    for (unsigned i = 1; i < PLANT_COUNT; i++) {
        if (strcmp(plants[i].name, name) == 0) {
            cq_planted_bug = (enum cq_plant)i;
            return;
        }
    }
    fprintf(stderr, "chasqui-sim: no planted bug is called %s\n", name);
    exit(2);
}

static void list_plants(void)
{
    for (unsigned i = 1; i < PLANT_COUNT; i++)
        printf("%s\t%s\n", plants[i].name, plants[i].what);
}
#endif

static void show(const struct settings *settings, const struct tally *tally)
{
    uint64_t seeds = tally->passed + tally->failed;
    if (!settings->quiet && seeds)
        printf("%" PRIu64 " operations (%" PRIu64 " commands acknowledged, %" PRIu64 " reads, %" PRIu64
               " without an answer), %" PRIu64 " entries committed, %" PRIu64 " faults, %" PRIu64 " virtual seconds\n",
               tally->operations, tally->acknowledged, tally->reads, tally->unknown, tally->committed, tally->faults,
               tally->virtual_us / SIM_S);
    if (!settings->quiet)
        show_changes(&tally->changes);
    if (tally->failed && settings->quiet)
        printf("first failed seed %" PRIu64 "\n", tally->first_failed);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", tally->passed, tally->failed);
}

static int run_one(const struct settings *settings)
{
    struct mail_result result;
    struct mail_options options = settings->run;
    options.seed = settings->first;
    mail_run(&options, &result);
    printf("seed %" PRIu64 ": %s%s\n%" PRIu64 " operations, %" PRIu64 " acknowledged, %" PRIu64 " reads, %" PRIu64
           " unknown, %" PRIu64 " committed, %u faults, %" PRIu64 " virtual ms, fingerprint %016" PRIx64 "\n",
           options.seed, result.passed ? "passed" : "failed: ", result.failure, result.operations, result.acknowledged,
           result.reads, result.unknown, result.committed, result.faults, result.virtual_us / SIM_MS,
           result.fingerprint);
    show_changes(&result.changes);
    printf("%d passed, %d failed\n", result.passed, !result.passed);
    return result.passed ? 0 : 1;
}

int main(int argc, char **argv)
{
    bool help = false, trace = false, quiet = false, stop = false, fingerprints = false, list = false;
    const char *seed = NULL, *seeds = NULL, *jobs = NULL, *nodes = NULL, *ops = NULL, *faults = NULL, *plant = NULL;
    const struct cq_arg args[] = {
        {.name = "seed", .value = "N", .text = &seed, .help = "run exactly this seed, in this process"},
        {.name = "seeds", .value = "A..B", .text = &seeds, .help = "run these seeds (default 1..1000)"},
        {.name = "jobs", .letter = 'j', .value = "N", .text = &jobs, .help = "processes at a time (default 2)"},
        {.name = "nodes", .value = "N", .text = &nodes, .help = "3 or 5 nodes (default: every eighth seed has 5)"},
        {.name = "operations", .value = "N", .text = &ops, .help = "client operations of a seed (default 2000)"},
        {.name = "faults", .value = "N", .text = &faults, .help = "faults of a seed, at least (default 20)"},
        {.name = "trace", .flag = &trace, .help = "tell everything that happens"},
        {.name = "quiet", .letter = 'q', .flag = &quiet, .help = "only the counts"},
        {.name = "stop", .flag = &stop, .help = "stop at the first seed that fails"},
        {.name = "fingerprints", .flag = &fingerprints, .help = "tell the hash of each seed's history"},
        {.name = "plant", .value = "BUG", .text = &plant, .help = "with a planted bug (planted build only)"},
        {.name = "plants", .flag = &list, .help = "list the planted bugs (planted build only)"},
        {.name = "help", .letter = 'h', .flag = &help, .help = "print this help and exit"},
    };
    struct cq_rest rest;
    struct cq_err err;
    struct settings settings = {.first = 1, .last = 1000, .jobs = 2, .run = {.operations = 2000, .faults = 20}};
    if (cq_args_parse(args, sizeof args / sizeof *args, argc, argv, CQ_ARGS_NO_REST, &rest, &err) != CQ_OK) {
        fprintf(stderr, "chasqui-sim: %s\n", err.text);
        return 2;
    }
    if (help) {
        struct cq_buf out;
        cq_buf_init(&out, 1u << 16);
        cq_args_help(&out, "chasqui-sim", "[options]", "Runs the cluster of mailboxes under faults, seed by seed.",
                     args, sizeof args / sizeof *args);
        fwrite(out.data, 1, out.len, stdout);
        cq_buf_fini(&out);
        return 0;
    }
#ifdef CHASQUI_PLANT
    if (list) {
        list_plants();
        return 0;
    }
    if (plant)
        take_plant(plant);
#else
    if (plant || list) {
        fprintf(stderr, "chasqui-sim: this build has no planted bugs; chasqui-sim-planted has\n");
        return 2;
    }
#endif
    if (seeds)
        take_range(&settings, seeds);
    settings.jobs = jobs ? (unsigned)number(jobs, "--jobs") : 2;
    settings.run.nodes = nodes ? (unsigned)number(nodes, "--nodes") : 0;
    settings.run.operations = ops ? number(ops, "--operations") : settings.run.operations;
    settings.run.faults = faults ? (unsigned)number(faults, "--faults") : settings.run.faults;
    settings.run.trace = trace;
    settings.quiet = quiet;
    settings.stop = stop;
    settings.fingerprints = fingerprints;
    if (settings.jobs == 0 || settings.jobs > 256 || (settings.run.nodes && settings.run.nodes > SIM_NODES_MAX)) {
        fprintf(stderr, "chasqui-sim: --jobs is 1 to 256, --nodes at most %d\n", SIM_NODES_MAX);
        return 2;
    }
    if (seed) {
        settings.first = number(seed, "--seed");
        return run_one(&settings);
    }
    struct tally tally = {0};
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    run_seeds(&settings, &tally);
    show(&settings, &tally);
    return tally.failed ? 1 : 0;
}
