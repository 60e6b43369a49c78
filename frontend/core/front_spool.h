/* The octets of one message while it arrives: in memory while it is small, in a file without a name when it is large,
 * so that many large messages at once cost disk and not memory. Lost with the process, which is right: nothing has
 * been acknowledged yet. */
#ifndef FRONT_SPOOL_H
#define FRONT_SPOOL_H

#include "base/cq_buf.h"

#define FRONT_SPOOL_MEMORY (512u << 10) /* octets kept in memory */

struct front_spool {
    const char *folder;
    uint64_t size_max;
    uint64_t size; /* octets so far */
    struct cq_buf memory;
    int fd; /* -1 while all of it is in memory */
};

/* Nothing is allocated or opened before the first octet. folder: borrowed. */
void front_spool_init(struct front_spool *spool, const char *folder, uint64_t size_max);
void front_spool_fini(struct front_spool *spool);

/* CQ_E_TOO_BIG over size_max (nothing is added), CQ_E_IO (disk full and the like): then the message is refused. */
enum cq_rc front_spool_add(struct front_spool *spool, struct cq_slice octets, struct cq_err *err);

/* Octets [offset, offset + len) into out, which has room; they must be there. CQ_E_IO. */
enum cq_rc front_spool_read(const struct front_spool *spool, uint64_t offset, size_t len, struct cq_buf *out,
                            struct cq_err *err);

/* All octets when they are in memory, else an empty slice. Valid until the next add. */
struct cq_slice front_spool_memory(const struct front_spool *spool);

#endif
