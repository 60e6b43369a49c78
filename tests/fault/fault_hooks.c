/* The fault variant of the storage node: CHASQUI_TEST_PLANT names a planted bug (lib/base/cq_planted.h);
 * CHASQUI_TEST_FAILPOINTS is a file that this process maps and the runner writes: for each failpoint, in the order of
 * its table, how many more times it may be passed before the process ends there (0: it never does), and how often it
 * was passed. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cq_failpoint.h"
#include "base/cq_planted.h"

#define FILE_SIZE 4096

struct row {
    _Atomic int32_t countdown;
    _Atomic uint32_t passed;
};

enum cq_plant cq_planted_bug = PLANT_NONE;
static struct row *rows;

static const char *const plant_names[] = {
#define PLANT_NAME(symbol, name, what) name,
    CQ_PLANTS(PLANT_NAME)
#undef PLANT_NAME
};

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", what, name);
    _exit(2);
}

__attribute__((constructor)) static void hooks_start(void)
{
    const char *plant = getenv("CHASQUI_TEST_PLANT");
    for (int i = 0; plant && i < PLANT_COUNT; i++)
        if (strcmp(plant, plant_names[i]) == 0)
            cq_planted_bug = (enum cq_plant)i;
    if (plant && cq_planted_bug == PLANT_NONE)
        fail("no such planted bug", plant);
    const char *path = getenv("CHASQUI_TEST_FAILPOINTS");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        fail("cannot map", path);
    rows = at;
    close(fd);
}

void cq_failpoint(enum cq_failpoint point)
{
    if (!rows)
        return;
    atomic_fetch_add(&rows[point].passed, 1);
    if (atomic_load(&rows[point].countdown) <= 0 || atomic_fetch_sub(&rows[point].countdown, 1) != 1)
        return;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}
