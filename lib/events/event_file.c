#include "events/event_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cq_buf.h"
#include "base/cq_mem.h"

#define TICKETS_MAX 65536 /* events between two polls */

struct event_file {
    struct event_sink base;
    struct event_file_config config;
    char *path;
    int fd; /* -1: it failed; opened again by the next poll */
    uint64_t size;
    struct cq_buf buffer; /* whole lines */
    uint64_t *tickets;
    size_t ticket_count;
};

static struct event_file *file_of(struct event_sink *sink)
{
    return cq_containerof(sink, struct event_file, base);
}

static enum cq_rc fail_errno(const struct event_file *f, struct cq_err *err)
{
    return CQ_FAIL(err, CQ_E_IO, "%s: %s", f->path, strerror(errno));
}

static enum cq_rc write_all(struct event_file *f, struct cq_slice bytes, struct cq_err *err)
{
    while (bytes.len) {
        ssize_t n = write(f->fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(f, err);
        f->size += (uint64_t)n;
        bytes = cq_slice_skip(bytes, (size_t)n);
    }
    return CQ_OK;
}

/* A crash may have left the beginning of a line: it becomes a line of its own, which readers skip. */
static enum cq_rc end_last_line(struct event_file *f, struct cq_err *err)
{
    char last = '\n';
    if (f->size > 0 && pread(f->fd, &last, 1, (off_t)f->size - 1) != 1)
        return fail_errno(f, err);
    return last == '\n' ? CQ_OK : write_all(f, CQ_SLICE("\n"), err);
}

static void close_file(struct event_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* The folder, so that a name that was made or changed is there after a crash. */
static enum cq_rc sync_folder(const struct event_file *f, struct cq_err *err)
{
    char *folder = cq_strndup(f->path, strlen(f->path));
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum cq_rc rc = fd < 0 || fsync(fd) != 0 ? CQ_FAIL(err, CQ_E_IO, "%s: %s", folder, strerror(errno)) : CQ_OK;
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

static enum cq_rc open_file(struct event_file *f, struct cq_err *err)
{
    struct stat st;
    close_file(f);
    f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (f->fd < 0 || fstat(f->fd, &st) != 0)
        return fail_errno(f, err);
    f->size = (uint64_t)st.st_size;
    enum cq_rc rc = end_last_line(f, err);
    if (rc == CQ_OK && f->size == 0 && f->config.sync == EVENT_FILE_SYNC_BATCH) /* it is new, as after a rotation */
        rc = sync_folder(f, err);
    if (rc != CQ_OK)
        close_file(f); /* or the next event would be written behind the broken line, as a part of it */
    return rc;
}

/* events.ndjson becomes .1, .1 becomes .2, the oldest goes. */
static enum cq_rc rotate(struct event_file *f, struct cq_err *err)
{
    size_t room = strlen(f->path) + 24;
    char *from = cq_malloc(room), *to = cq_malloc(room);
    enum cq_rc rc = CQ_OK;
    for (int64_t n = f->config.keep; n > 0 && rc == CQ_OK; n--) {
        snprintf(to, room, "%s.%lld", f->path, (long long)n);
        if (n > 1)
            snprintf(from, room, "%s.%lld", f->path, (long long)n - 1);
        else
            snprintf(from, room, "%s", f->path);
        if (rename(from, to) != 0 && errno != ENOENT)
            rc = fail_errno(f, err);
    }
    free(from);
    free(to);
    if (rc == CQ_OK && f->config.keep == 0 && unlink(f->path) != 0 && errno != ENOENT)
        rc = fail_errno(f, err);
    return rc == CQ_OK ? open_file(f, err) : rc;
}

static enum cq_rc file_publish(struct event_sink *sink, const struct event_record *record, struct cq_err *err)
{
    struct event_file *f = file_of(sink);
    bool empty = f->buffer.len == 0;
    if (f->ticket_count == TICKETS_MAX || (!empty && f->buffer.len + record->json.len + 1 > EVENT_FILE_BUFFER))
        return CQ_FAIL(err, CQ_E_OVERLOADED, "%s: %zu events wait", f->path, f->ticket_count);
    cq_buf_slice_add(&f->buffer, record->json);
    cq_buf_byte(&f->buffer, '\n');
    if (!cq_buf_ok(&f->buffer))
        return CQ_FAIL(err, CQ_E_TOO_BIG, "%s: an event of %zu bytes", f->path, record->json.len);
    f->tickets[f->ticket_count++] = record->ticket;
    return CQ_OK;
}

static enum cq_rc write_buffer(struct event_file *f, struct cq_err *err)
{
    enum cq_rc rc = CQ_OK;
    if (f->fd < 0)
        rc = open_file(f, err);
    if (rc == CQ_OK && f->size > 0 && f->size + f->buffer.len > f->config.max_size)
        rc = rotate(f, err);
    if (rc == CQ_OK)
        rc = write_all(f, cq_buf_slice(&f->buffer), err);
    if (rc == CQ_OK && f->config.sync == EVENT_FILE_SYNC_BATCH && fdatasync(f->fd) != 0)
        rc = fail_errno(f, err);
    return rc;
}

/* After a failure nothing that was not acknowledged counts: the publisher comes again with it. */
static enum cq_rc file_poll(struct event_sink *sink, struct cq_err *err)
{
    struct event_file *f = file_of(sink);
    if (f->ticket_count == 0)
        return CQ_OK;
    enum cq_rc rc = write_buffer(f, err);
    size_t count = f->ticket_count;
    f->ticket_count = 0;
    cq_buf_reset(&f->buffer, EVENT_FILE_BUFFER);
    if (rc != CQ_OK) {
        close_file(f);
        return rc;
    }
    for (size_t i = 0; i < count; i++)
        sink->acknowledged(sink->ctx, f->tickets[i]);
    return CQ_OK;
}

static enum cq_rc file_reopen(struct event_sink *sink, struct cq_err *err)
{
    return open_file(file_of(sink), err);
}

static void file_close(struct event_sink *sink)
{
    struct event_file *f = file_of(sink);
    close_file(f);
    cq_buf_fini(&f->buffer);
    free(f->tickets);
    free(f->path);
    free(f);
}

static const struct event_sink_ops file_ops = {
    .publish = file_publish, .poll = file_poll, .reopen = file_reopen, .close = file_close};

enum cq_rc event_file_open(const struct event_file_config *config, struct event_sink **sink_r, struct cq_err *err)
{
    struct event_file *f = cq_new(struct event_file);
    f->base.ops = &file_ops;
    f->config = *config;
    f->path = cq_strndup(config->path, strlen(config->path));
    f->fd = -1;
    f->tickets = cq_calloc(TICKETS_MAX, sizeof *f->tickets);
    cq_buf_init(&f->buffer, 2 * EVENT_FILE_BUFFER);
    enum cq_rc rc = open_file(f, err);
    if (rc != CQ_OK) {
        file_close(&f->base);
        return rc;
    }
    *sink_r = &f->base;
    return CQ_OK;
}

static const char *const sync_names[] = {"batch", "never", NULL};

static const struct cq_setting rows[] = {
    CQ_SET_PATH(struct event_file_config, path, "events.file.path", "",
                "File that events are appended to, one JSON object a line. Empty: events are discarded, and counted."),
    CQ_SET_SIZE(struct event_file_config, max_size, "events.file.max_size", "64MiB", "4KiB", "1TiB",
                "Size at which the file is renamed to .1 (and .1 to .2, and so on) and a new one begun."),
    CQ_SET_INT(struct event_file_config, keep, "events.file.keep", "10", 0, 1000, "files",
               "Renamed files that are kept; older ones are deleted."),
    CQ_SET_CHOICE(struct event_file_config, sync, "events.file.sync", "batch", sync_names,
                  "batch: events count as published when they are on stable storage. never: when they are written."),
};

struct cq_config_part event_file_config_part(struct event_file_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("events file", rows, values);
}
