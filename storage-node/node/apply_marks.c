#include "node/apply_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cq_hash.h"
#include "base/cq_mem.h"

#define MAGIC "chasqui-applying"
#define VERSION 1
#define PATH_SIZE 4096
#define HANDLER_STACK (64u << 10)

enum how { APPLYING, CRASHED };

/* One group; native byte order, like the whole file: it is never read on another machine. */
struct slot {
    _Atomic uint64_t applying; /* index; 0: none */
    _Atomic uint32_t how;
    uint32_t crashes;
    uint64_t blamed; /* index; 0: none */
    uint32_t ends;
    uint32_t check; /* of crashes, blamed and ends */
};

struct file {
    char magic[16];
    uint32_t version;
    uint32_t groups;
    uint8_t unused[8];
    struct slot slots[APPLY_MARKS_GROUPS];
};
_Static_assert(sizeof(struct slot) == 32 && sizeof(struct file) == 32 + 32 * APPLY_MARKS_GROUPS, "the file's layout");

struct apply_marks {
    struct file *file;
    int fd;
    pthread_mutex_t lock; /* of judging and releasing */
};

/* The mark of the entry that this thread applies. */
static _Thread_local struct slot *mine;

/* ---- Signals ---- */

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
#define SIGNALS (sizeof signals / sizeof *signals)
static struct sigaction before[SIGNALS];

/* Notes the crash and lets it happen: with the handling that was there before (a sanitizer's, or the kernel's). */
static void on_crash(int number)
{
    if (mine)
        atomic_store(&mine->how, CRASHED);
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == number)
            sigaction(number, &before[i], NULL);
    raise(number); /* when it returns, if nothing else repeats it */
}

void apply_marks_watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, &before[i]);
}

static _Thread_local void *handler_stack;

void apply_marks_thread_start(void)
{
    handler_stack = cq_malloc(HANDLER_STACK);
    sigaltstack(&(stack_t){.ss_sp = handler_stack, .ss_size = HANDLER_STACK}, NULL);
}

void apply_marks_thread_end(void)
{
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    free(handler_stack);
    handler_stack = NULL;
}

/* ---- Marks ---- */

void apply_marks_begin(struct apply_marks *marks, uint32_t group, uint64_t index)
{
    if (!marks || group >= APPLY_MARKS_GROUPS)
        return;
    mine = &marks->file->slots[group];
    atomic_store_explicit(&mine->how, APPLYING, memory_order_relaxed);
    atomic_store_explicit(&mine->applying, index, memory_order_release);
}

void apply_marks_end(struct apply_marks *marks, uint32_t group)
{
    if (!marks || group >= APPLY_MARKS_GROUPS)
        return;
    atomic_store_explicit(&marks->file->slots[group].applying, 0, memory_order_release);
    mine = NULL;
}

void apply_marks_forgive(struct apply_marks *marks)
{
    for (uint32_t group = 0; marks && group < APPLY_MARKS_GROUPS; group++)
        atomic_store(&marks->file->slots[group].applying, 0);
}

/* ---- Judging ---- */

static uint32_t check_of(const struct slot *slot)
{
    const uint64_t words[] = {slot->blamed, slot->crashes, slot->ends};
    return (uint32_t)cq_xxh3_64(cq_slice_of((const uint8_t *)words, sizeof words));
}

static void blame_clear(struct slot *slot)
{
    slot->blamed = 0;
    slot->crashes = slot->ends = 0;
    slot->check = check_of(slot);
}

/* How the last run ended for this group. */
static void judge(struct slot *slot)
{
    uint64_t index = atomic_load(&slot->applying);
    bool crashed = atomic_load(&slot->how) == CRASHED;
    if (slot->check != check_of(slot))
        blame_clear(slot);
    atomic_store(&slot->applying, 0);
    atomic_store(&slot->how, APPLYING);
    if (index == 0)
        return;
    if (slot->blamed != index)
        blame_clear(slot);
    slot->blamed = index;
    slot->crashes += crashed;
    slot->ends += !crashed;
    slot->check = check_of(slot);
}

static bool is_aside(const struct slot *slot)
{
    return slot->blamed && (slot->crashes >= APPLY_MARKS_CRASHES || slot->ends >= APPLY_MARKS_ENDS);
}

static enum cq_rc make_durable(struct apply_marks *m, struct cq_err *err)
{
    if (msync(m->file, sizeof *m->file, MS_SYNC) != 0 || fsync(m->fd) != 0)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", APPLY_MARKS_FILE, strerror(errno));
    return CQ_OK;
}

bool apply_marks_quarantined(const struct apply_marks *marks, uint32_t group, struct apply_blame *blame_r)
{
    if (!marks || group >= APPLY_MARKS_GROUPS)
        return false;
    const struct slot *slot = &marks->file->slots[group];
    *blame_r = (struct apply_blame){slot->blamed, slot->crashes, slot->ends};
    return is_aside(slot);
}

enum cq_rc apply_marks_release(struct apply_marks *marks, uint32_t group, struct cq_err *err)
{
    struct slot *slot = group < APPLY_MARKS_GROUPS ? &marks->file->slots[group] : NULL;
    pthread_mutex_lock(&marks->lock);
    enum cq_rc rc =
        slot && is_aside(slot) ? CQ_OK : CQ_FAIL(err, CQ_E_NOT_FOUND, "shard %u is not put aside here", group);
    if (rc == CQ_OK) {
        blame_clear(slot);
        rc = make_durable(marks, err);
    }
    pthread_mutex_unlock(&marks->lock);
    return rc;
}

/* ---- The file ---- */

static bool is_ours(const struct file *file)
{
    return memcmp(file->magic, MAGIC, sizeof file->magic) == 0 && file->version == VERSION &&
           file->groups == APPLY_MARKS_GROUPS;
}

static void begin_anew(struct file *file)
{
    memset(file, 0, sizeof *file);
    memcpy(file->magic, MAGIC, sizeof file->magic);
    file->version = VERSION;
    file->groups = APPLY_MARKS_GROUPS;
    for (uint32_t group = 0; group < APPLY_MARKS_GROUPS; group++)
        blame_clear(&file->slots[group]);
}

/* All of it is allocated: a store into a page that finds no space on the disk would be a crash of its own. */
static enum cq_rc map(struct apply_marks *m, const char *path, struct cq_err *err)
{
    int failed = posix_fallocate(m->fd, 0, sizeof *m->file);
    if (failed)
        return CQ_FAIL(err, failed == ENOSPC ? CQ_E_NO_SPACE : CQ_E_IO, "%s: %s", path, strerror(failed));
    void *at = mmap(NULL, sizeof *m->file, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (at == MAP_FAILED)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    m->file = at;
    return CQ_OK;
}

enum cq_rc apply_marks_open(const char *data_dir, struct apply_marks **marks_r, struct cq_err *err)
{
    char path[PATH_SIZE];
    struct apply_marks *m = cq_new(struct apply_marks);
    pthread_mutex_init(&m->lock, NULL);
    snprintf(path, sizeof path, "%s/%s", data_dir, APPLY_MARKS_FILE);
    m->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum cq_rc rc = m->fd >= 0 ? map(m, path, err) : CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    if (rc == CQ_OK) {
        if (!is_ours(m->file))
            begin_anew(m->file);
        for (uint32_t group = 0; group < APPLY_MARKS_GROUPS; group++)
            judge(&m->file->slots[group]);
        rc = make_durable(m, err);
    }
    if (rc != CQ_OK)
        apply_marks_close(&m);
    *marks_r = m;
    return rc;
}

void apply_marks_close(struct apply_marks **marks)
{
    struct apply_marks *m = *marks;
    if (!m)
        return;
    if (m->file)
        munmap(m->file, sizeof *m->file);
    if (m->fd >= 0)
        close(m->fd);
    pthread_mutex_destroy(&m->lock);
    free(m);
    *marks = NULL;
}
