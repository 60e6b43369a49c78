/* What every implementation of store.h must do; run by test_store_rocksdb.c and test_store_mem.c. */
#ifndef STORE_SUITE_H
#define STORE_SUITE_H

#include "store/store.h"

struct store_backend {
    const char *name;
    /* An empty store. */
    struct store *(*create)(void *ctx);
    /* Closes it and opens it again: everything written must be there. NULL: not possible. */
    struct store *(*reopen)(void *ctx, struct store *store);
    void (*destroy)(void *ctx, struct store *store);
    void *ctx;
};

/* The number of failed tests. */
int store_suite_run(const struct store_backend *backend);

#endif
