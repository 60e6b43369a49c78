#include "core/front_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void front_spool_init(struct front_spool *spool, const char *folder, uint64_t size_max)
{
    *spool = (struct front_spool){.folder = folder, .size_max = size_max, .fd = -1};
    cq_buf_init(&spool->memory, FRONT_SPOOL_MEMORY);
}

void front_spool_fini(struct front_spool *spool)
{
    cq_buf_fini(&spool->memory);
    if (spool->fd >= 0)
        close(spool->fd);
    spool->fd = -1;
    spool->size = 0;
}

static enum cq_rc write_all(int fd, struct cq_slice octets, struct cq_err *err)
{
    while (octets.len) {
        ssize_t n = write(fd, octets.data, octets.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CQ_FAIL(err, CQ_E_IO, "spool: %s", strerror(errno));
        octets = cq_slice_skip(octets, (size_t)n);
    }
    return CQ_OK;
}

/* From memory to a file that nobody else can open and that ends with its descriptor. */
static enum cq_rc move_to_file(struct front_spool *spool, struct cq_err *err)
{
    spool->fd = open(spool->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spool->fd < 0)
        return CQ_FAIL(err, CQ_E_IO, "spool in %s: %s", spool->folder, strerror(errno));
    enum cq_rc rc = write_all(spool->fd, cq_buf_slice(&spool->memory), err);
    cq_buf_fini(&spool->memory);
    return rc;
}

enum cq_rc front_spool_add(struct front_spool *spool, struct cq_slice octets, struct cq_err *err)
{
    if (octets.len > spool->size_max - spool->size)
        return CQ_FAIL(err, CQ_E_TOO_BIG, "message over %llu octets", (unsigned long long)spool->size_max);
    enum cq_rc rc = CQ_OK;
    if (spool->fd < 0 && spool->size + octets.len > FRONT_SPOOL_MEMORY)
        rc = move_to_file(spool, err);
    if (rc == CQ_OK && spool->fd < 0)
        cq_buf_slice_add(&spool->memory, octets);
    else if (rc == CQ_OK)
        rc = write_all(spool->fd, octets, err);
    if (rc == CQ_OK)
        spool->size += octets.len;
    return rc;
}

enum cq_rc front_spool_read(const struct front_spool *spool, uint64_t offset, size_t len, struct cq_buf *out,
                            struct cq_err *err)
{
    if (spool->fd < 0) {
        if (!cq_buf_slice_add(out, cq_slice_sub(cq_buf_slice(&spool->memory), (size_t)offset, len)))
            return CQ_FAIL(err, CQ_E_LIMIT, "spool: no room to read %zu octets", len);
        return CQ_OK;
    }
    uint8_t *to = cq_buf_reserve(out, len);
    if (!to)
        return CQ_FAIL(err, CQ_E_LIMIT, "spool: no room to read %zu octets", len);
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(spool->fd, to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CQ_FAIL(err, CQ_E_IO, "spool: %s", n ? strerror(errno) : "shorter than it was");
        done += (size_t)n;
    }
    cq_buf_commit(out, len);
    return CQ_OK;
}

struct cq_slice front_spool_memory(const struct front_spool *spool)
{
    return spool->fd < 0 ? cq_buf_slice(&spool->memory) : CQ_SLICE_NONE;
}
