/* Reading and watching the files of a TLS context. */
#ifndef IO_TLS_FILES_H
#define IO_TLS_FILES_H

#include <sys/stat.h>

#include "base/cq_err.h"
#include "base/cq_slice.h"

#define IO_TLS_LINK_MAX 256 /* bytes of a ..data link's target that are compared */

/* What a file was like when it was read. All zero: never read. */
struct io_tls_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    char link[IO_TLS_LINK_MAX]; /* where ..data beside it points (a mounted Kubernetes secret); "" without */
};

/* Does not fail: a missing file has a mark of its own. */
void io_tls_mark_take(const char *path, struct io_tls_mark *mark_r);
bool io_tls_mark_eq(const struct io_tls_mark *a, const struct io_tls_mark *b);

/* All bytes of a file, at most max; the caller frees *data_r with io_tls_file_free. CQ_E_CONFIG names the file. */
enum cq_rc io_tls_file_read(const char *path, size_t max, uint8_t **data_r, size_t *len_r, struct cq_err *err);

/* Wipes, too: it may be a key. */
void io_tls_file_free(uint8_t *data, size_t len);

#endif
