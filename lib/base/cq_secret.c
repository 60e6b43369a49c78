#include "base/cq_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cq_mem.h"

/* Bytes of the first line, or why it is none. */
static const char *first_line(char *text, size_t len, size_t *line_r)
{
    *line_r = 0;
    while (*line_r < len && text[*line_r] != '\n' && text[*line_r] != '\r')
        (*line_r)++;
    if (*line_r == CQ_SECRET_SIZE)
        return "its first line is too long";
    if (*line_r == 0)
        return "it is empty";
    return memchr(text, 0, *line_r) ? "it has a NUL" : NULL;
}

enum cq_rc cq_secret_read(const char *path, char secret_r[static CQ_SECRET_SIZE], struct cq_err *err)
{
    size_t line = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, secret_r, CQ_SECRET_SIZE);
    const char *why = len < 0 ? strerror(errno) : first_line(secret_r, (size_t)len, &line);
    if (fd >= 0)
        close(fd);
    if (!why) {
        cq_wipe(secret_r + line, CQ_SECRET_SIZE - line); /* the line end, what follows it; and the NUL */
        return CQ_OK;
    }
    cq_wipe(secret_r, CQ_SECRET_SIZE);
    return CQ_FAIL(err, CQ_E_CONFIG, "%s: %s", path, why);
}
