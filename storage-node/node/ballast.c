#include "node/ballast.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096

uint64_t ballast_size_wanted(uint64_t total_bytes, uint64_t most)
{
    uint64_t size = total_bytes / 100;
    if (size < BALLAST_MIN)
        size = BALLAST_MIN;
    return size < most ? size : most;
}

static void path_of(const char *data_dir, char path_r[static PATH_SIZE])
{
    snprintf(path_r, PATH_SIZE, "%s/%s", data_dir, BALLAST_FILE);
}

uint64_t ballast_size(const char *data_dir)
{
    char path[PATH_SIZE];
    struct stat st;
    path_of(data_dir, path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

enum cq_rc ballast_make(const char *data_dir, uint64_t size, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(data_dir, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    int failed = posix_fallocate(fd, 0, (off_t)size);
    close(fd);
    if (failed == 0)
        return CQ_OK;
    unlink(path);
    return CQ_FAIL(err, failed == ENOSPC ? CQ_E_NO_SPACE : CQ_E_IO, "%s: %s", path, strerror(failed));
}

enum cq_rc ballast_release(const char *data_dir, struct cq_err *err)
{
    char path[PATH_SIZE];
    path_of(data_dir, path);
    if (unlink(path) == 0)
        return CQ_OK;
    return CQ_FAIL(err, errno == ENOENT ? CQ_E_NOT_FOUND : CQ_E_IO, "%s: %s", path, strerror(errno));
}
