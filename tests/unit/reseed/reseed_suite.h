/* The stories of re-seeding that any store must tell; run by test_reseed_mem.c and test_reseed_rocksdb.c. */
#ifndef RESEED_SUITE_H
#define RESEED_SUITE_H

#include "store/store.h"

struct reseed_backend {
    struct store *(*create)(void); /* an empty store */
    void (*destroy)(struct store *store);
};
/* The number of failed tests. */
int reseed_suite_run(const struct reseed_backend *backend);
int check_suite_run(const struct reseed_backend *backend);

#endif
