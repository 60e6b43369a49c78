#include "base/cq_assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void cq_assert_failed(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "assertion failed: %s at %s:%d in %s\n", cond, file, line, func);
    fflush(stderr);
    abort();
}
