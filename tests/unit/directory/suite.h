/* The tests that every backend of the directory must pass. A backend's own test gives the functions below and calls
 * dir_suite_run. */
#ifndef DIR_SUITE_H
#define DIR_SUITE_H

#include "directory/directory.h"

struct dir_suite {
    const char *name;
    struct directory *(*create)(void *ctx); /* a directory over an empty database */
    struct directory *(*again)(void *ctx);  /* one more over the same database, while others are open or after them */
    void (*destroy)(void *ctx);             /* all are closed: remove the database */
    void *ctx;
};

/* Returns the number of tests that failed. */
int dir_suite_run(const struct dir_suite *suite);

#endif
