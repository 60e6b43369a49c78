/* After RocksDB has refused to write because its own work (compaction, collection of garbage in blobs) met something
 * that does not read: the process ended, and a start that let it go on would end again. So the store is opened quiet,
 * and on a thread of its own all chunks are read; what does not read is deleted, which needs no reading, and its
 * replica is suspect, so that it is copied from another one if anything names it. Then the store may go on.
 *
 * BUGS: a table block that does not read cannot be deleted; the store stays quiet, a person must look. */
#ifndef STORE_MENDER_H
#define STORE_MENDER_H

#include <stdint.h>

struct node;
struct store_mender;

struct store_mender_config {
    struct node *node;
    uint64_t rate; /* bytes a second that are read */
};

/* NULL when the node's store is not known to be damaged. Starts the thread. */
struct store_mender *store_mender_start(const struct store_mender_config *config);
/* What is under way begins again after the next start. */
void store_mender_stop(struct store_mender **mender);

#endif
