/* The ballast: a file in the data directory that does nothing but take space. Given up when the disk is all but full,
 * it leaves the store room to delete, flush and compact its way out; made again when there is space. */
#ifndef BALLAST_H
#define BALLAST_H

#include <stdint.h>

#include "base/cq_err.h"

#define BALLAST_FILE "ballast"
#define BALLAST_MIN (64ull << 20) /* bytes, unless the setting is smaller */

/* What it should have: a hundredth of the file system, BALLAST_MIN at least, `most` at most. Pure. */
uint64_t ballast_size_wanted(uint64_t total_bytes, uint64_t most);

/* Bytes that it takes; 0: there is none. */
uint64_t ballast_size(const char *data_dir);

/* Makes it of `size` bytes, really allocated. CQ_E_NO_SPACE, CQ_E_IO: there is none then. */
enum cq_rc ballast_make(const char *data_dir, uint64_t size, struct cq_err *err);

/* CQ_E_NOT_FOUND: there is none; CQ_E_IO. */
enum cq_rc ballast_release(const char *data_dir, struct cq_err *err);

#endif
