#include "io/io_tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cq_mem.h"

static void data_link(const char *path, char link_r[IO_TLS_LINK_MAX])
{
    char beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int dir = slash ? (int)(slash - path) + 1 : 0;
    link_r[0] = '\0';
    if (snprintf(beside, sizeof beside, "%.*s..data", dir, path) >= (int)sizeof beside)
        return;
    ssize_t n = readlink(beside, link_r, IO_TLS_LINK_MAX - 1);
    link_r[n > 0 ? n : 0] = '\0';
}

void io_tls_mark_take(const char *path, struct io_tls_mark *mark_r)
{
    struct stat st;
    memset(mark_r, 0, sizeof *mark_r);
    data_link(path, mark_r->link);
    if (stat(path, &st))
        return;
    mark_r->dev = st.st_dev;
    mark_r->ino = st.st_ino;
    mark_r->size = st.st_size;
    mark_r->mtime = st.st_mtim;
}

bool io_tls_mark_eq(const struct io_tls_mark *a, const struct io_tls_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
           a->mtime.tv_nsec == b->mtime.tv_nsec && strcmp(a->link, b->link) == 0;
}

enum cq_rc io_tls_file_read(const char *path, size_t max, uint8_t **data_r, size_t *len_r, struct cq_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", path, strerror(errno));
    uint8_t *data = cq_malloc(max + 1);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, data + len, max + 1 - len)) > 0)
        len += (size_t)n;
    int error = errno;
    close(fd);
    if (n == 0 && len <= max) {
        *data_r = data;
        *len_r = len;
        return CQ_OK;
    }
    io_tls_file_free(data, len);
    if (n == 0 || len > max)
        return CQ_FAIL(err, CQ_E_CONFIG, "%s: over %zu bytes", path, max);
    return CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", path, strerror(error));
}

void io_tls_file_free(uint8_t *data, size_t len)
{
    if (data)
        cq_wipe(data, len);
    free(data);
}
