/* To be preloaded (LD_PRELOAD): the process's wall clock is CHASQUI_TEST_WALL_SHIFT_S seconds ahead. Other clocks, and
 * the kernel's own view of time, stay. So what expires by the hour can be seen in seconds, with the program as it is.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int clock_fn(clockid_t, struct timespec *);

static clock_fn *real;
static long shift;

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("CHASQUI_TEST_WALL_SHIFT_S");
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    shift = text ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!real) /* called by another library's constructor */
        start();
    int rc = real(clock, now);
    if (rc == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += shift;
    return rc;
}
