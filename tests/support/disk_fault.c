/* To be preloaded (LD_PRELOAD): the disk of one process gets into trouble while it runs, when a control file says so.
 * The program is the real one; what it asks of files is delayed, held up or refused on its way to the kernel.
 *
 * CHASQUI_TEST_DISK_FAULT names the control file. It may be absent, appear, change and go at any time (put the new text
 * in place with rename(); it is looked at every few milliseconds). Each line that is not empty and no comment (#) is a
 * rule:
 *
 *     KIND CALLS PATH [ms=N] [after=N] [times=N]
 *
 *     KIND   delay    the call takes ms=N longer
 *            stall    the call waits until the rule is gone, then it is made
 *            eio      the call fails with EIO, and nothing is done
 *            enospc   the call fails with ENOSPC, and nothing is done
 *            short    a write or read does the first half of what it was asked for (one byte of one stays one)
 *            flip     a read's first byte comes with its lowest bit turned over
 *     CALLS  write    write, writev, pwrite, pwritev, fallocate, ftruncate
 *            sync     fsync, fdatasync, sync_file_range, msync is not seen
 *            read     read, pread, readv, preadv
 *            open     open and openat
 *            or several of them with commas, or all
 *     PATH   the call's file has this in its path (the whole one, as the kernel knows it); a single * is every file.
 *            Only regular files are meant: never sockets, pipes and devices.
 *     after  so many calls that match pass unharmed first (0)
 *     times  so many calls are harmed, then no more (0: all)
 *
 * The first rule that applies to a call is the one. Counts begin anew when the control file changes. Every harmed call
 * is noted, before it is harmed, as a line "PID KIND CALL PATH" at the end of the file CONTROL.hits, so that a test
 * knows that what it asked for has happened. Examples:
 *
 *     stall sync data-1/           # the disk of data-1 answers no fsync until this line is taken away
 *     eio sync .log times=1        # the next fsync of a write-ahead log fails, later ones work
 *     eio write data-2/ after=99   # from the hundredth write on, all fail
 *     delay write,sync * ms=500
 *
 * BUGS: what is written through mmap is not seen; io_uring neither (nothing of ours uses it). */
#undef _FILE_OFFSET_BITS /* both names of each call are defined here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 32
#define CONTROL_MAX 8192 /* bytes of the control file */
#define TEXT_MAX 256
#define LOOK_MS 4 /* between two looks at the control file */

enum kind { DELAY, STALL, EIO_, ENOSPC_, SHORT, FLIP, KINDS };
static const char *const kind_names[KINDS] = {"delay", "stall", "eio", "enospc", "short", "flip"};

enum call { WRITE = 1, SYNC = 2, READ = 4, OPEN = 8, ALL = 15 };
static const struct {
    const char *name;
    unsigned bits;
} call_names[] = {{"write", WRITE}, {"sync", SYNC}, {"read", READ}, {"open", OPEN}, {"all", ALL}};

struct rule {
    enum kind kind;
    unsigned calls;
    char path[TEXT_MAX];
    unsigned long ms, after, times;
    unsigned long seen; /* calls that matched */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX]; /* under lock, like the next ones */
static size_t rule_count;
static struct stat control_was;
static const char *control; /* NULL: nothing is ever harmed */
static atomic_bool active;  /* there are rules */
static atomic_ulong looked_ms;

/* ---- The real calls ---- */

#define REAL(name, type, ...)                                                                                          \
    typedef type name##_fn(__VA_ARGS__);                                                                               \
    static name##_fn *real_##name;
REAL(write, ssize_t, int, const void *, size_t)
REAL(writev, ssize_t, int, const struct iovec *, int)
REAL(pwrite64, ssize_t, int, const void *, size_t, off64_t)
REAL(pwritev64, ssize_t, int, const struct iovec *, int, off64_t)
REAL(read, ssize_t, int, void *, size_t)
REAL(readv, ssize_t, int, const struct iovec *, int)
REAL(pread64, ssize_t, int, void *, size_t, off64_t)
REAL(preadv64, ssize_t, int, const struct iovec *, int, off64_t)
REAL(fsync, int, int)
REAL(fdatasync, int, int)
REAL(sync_file_range, int, int, off64_t, off64_t, unsigned)
REAL(fallocate64, int, int, int, off64_t, off64_t)
REAL(ftruncate64, int, int, off64_t)
REAL(openat64, int, int, const char *, int, ...)

static void *find(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void start(void)
{
    if (real_write)
        return; /* called by another library's constructor already */
    *(void **)&real_writev = find("writev");
    *(void **)&real_pwrite64 = find("pwrite64");
    *(void **)&real_pwritev64 = find("pwritev64");
    *(void **)&real_read = find("read");
    *(void **)&real_readv = find("readv");
    *(void **)&real_pread64 = find("pread64");
    *(void **)&real_preadv64 = find("preadv64");
    *(void **)&real_fsync = find("fsync");
    *(void **)&real_fdatasync = find("fdatasync");
    *(void **)&real_sync_file_range = find("sync_file_range");
    *(void **)&real_fallocate64 = find("fallocate64");
    *(void **)&real_ftruncate64 = find("ftruncate64");
    *(void **)&real_openat64 = find("openat64");
    *(void **)&real_write = find("write");
    control = getenv("CHASQUI_TEST_DISK_FAULT");
}

/* ---- The control file ---- */

static unsigned parse_calls(char *text)
{
    unsigned bits = 0;
    char *save = NULL;
    for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        for (size_t i = 0; i < sizeof call_names / sizeof *call_names; i++)
            if (strcmp(word, call_names[i].name) == 0)
                bits |= call_names[i].bits;
    }
    return bits;
}

static void parse_option(const char *word, struct rule *rule)
{
    if (strncmp(word, "ms=", 3) == 0)
        rule->ms = strtoul(word + 3, NULL, 10);
    else if (strncmp(word, "after=", 6) == 0)
        rule->after = strtoul(word + 6, NULL, 10);
    else if (strncmp(word, "times=", 6) == 0)
        rule->times = strtoul(word + 6, NULL, 10);
}

/* A line that is no rule is a mistake of the test: it ends the process, loudly. */
static void parse_line(char *line)
{
    char *save = NULL, copy[TEXT_MAX];
    snprintf(copy, sizeof copy, "%s", line);
    char *kind = strtok_r(line, " \t", &save);
    if (!kind || kind[0] == '#')
        return;
    struct rule rule = {.kind = KINDS};
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kind, kind_names[i]) == 0)
            rule.kind = (enum kind)i;
    char *calls = strtok_r(NULL, " \t", &save), *path = strtok_r(NULL, " \t", &save), *option;
    rule.calls = calls ? parse_calls(calls) : 0;
    if (rule.kind == KINDS || !rule.calls || !path || rule_count == RULES_MAX) {
        fprintf(stderr, "disk_fault: not a rule: %s\n", copy);
        _exit(99);
    }
    snprintf(rule.path, sizeof rule.path, "%s", path);
    while ((option = strtok_r(NULL, " \t", &save)) != NULL && option[0] != '#')
        parse_option(option, &rule);
    rules[rule_count++] = rule;
}

static void parse_control(int fd)
{
    static char text[CONTROL_MAX];
    ssize_t len = real_read(fd, text, sizeof text - 1);
    char *save = NULL;
    text[len > 0 ? len : 0] = '\0';
    rule_count = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        parse_line(line);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void read_control(void)
{
    struct stat now = {0};
    int fd = real_openat64(AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        fstat(fd, &now);
    if (!same_file(&now, &control_was)) {
        control_was = now;
        if (fd >= 0)
            parse_control(fd);
        else
            rule_count = 0;
        atomic_store(&active, rule_count > 0);
    }
    if (fd >= 0)
        close(fd);
}

static unsigned long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (unsigned long)now.tv_sec * 1000 + (unsigned long)now.tv_nsec / 1000000;
}

/* Now and then, by one thread. */
static void look(void)
{
    unsigned long last = atomic_load(&looked_ms), now = now_ms();
    if (now - last < LOOK_MS || !atomic_compare_exchange_strong(&looked_ms, &last, now))
        return;
    pthread_mutex_lock(&lock);
    read_control();
    pthread_mutex_unlock(&lock);
}

/* ---- What happens to a call ---- */

struct harm {
    enum kind kind; /* KINDS: none */
    unsigned long ms;
};

static bool matches(const struct rule *rule, unsigned call, const char *path)
{
    return (rule->calls & call) && (strcmp(rule->path, "*") == 0 || strstr(path, rule->path));
}

/* Under lock. */
static struct harm judge(unsigned call, const char *path)
{
    for (size_t i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (!matches(rule, call, path))
            continue;
        unsigned long n = rule->seen++;
        if (n >= rule->after && (rule->times == 0 || n < rule->after + rule->times))
            return (struct harm){rule->kind, rule->ms};
    }
    return (struct harm){.kind = KINDS};
}

static void note(enum kind kind, const char *name, const char *path)
{
    char hits[TEXT_MAX * 2], line[TEXT_MAX + 4096];
    snprintf(hits, sizeof hits, "%s.hits", control);
    int fd = real_openat64(AT_FDCWD, hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int len = snprintf(line, sizeof line, "%d %s %s %s\n", (int)getpid(), kind_names[kind], name, path);
    if (fd < 0)
        return;
    if (real_write(fd, line, (size_t)len) != len)
        fprintf(stderr, "disk_fault: %s: %s\n", hits, strerror(errno));
    close(fd);
}

static void pause_ms(unsigned long ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static bool still_stalled(unsigned call, const char *path)
{
    bool stalled = false;
    look();
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < rule_count; i++)
        stalled |= rules[i].kind == STALL && matches(&rules[i], call, path);
    pthread_mutex_unlock(&lock);
    return stalled;
}

static struct harm harm_path(unsigned call, const char *name, const char *path)
{
    pthread_mutex_lock(&lock);
    struct harm harm = judge(call, path);
    pthread_mutex_unlock(&lock);
    if (harm.kind != KINDS)
        note(harm.kind, name, path);
    if (harm.kind == DELAY)
        pause_ms(harm.ms);
    while (harm.kind == STALL && still_stalled(call, path))
        pause_ms(LOOK_MS);
    return harm;
}

static bool nothing_to_do(void)
{
    if (!real_write)
        start();
    if (!control)
        return true;
    look();
    return !atomic_load(&active);
}

/* Delays happen inside. Keeps errno. */
static struct harm harm_fd(unsigned call, const char *name, int fd)
{
    char link[64], path[4096];
    int kept = errno;
    struct harm harm = {.kind = KINDS};
    if (nothing_to_do())
        return harm;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    struct stat st;
    if (len > 0 && path[0] == '/' && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        path[len] = '\0';
        harm = harm_path(call, name, path);
    }
    errno = kept;
    return harm;
}

/* Whether the call must fail; errno says with what. */
static bool fails(struct harm harm)
{
    if (harm.kind == EIO_)
        errno = EIO;
    else if (harm.kind == ENOSPC_)
        errno = ENOSPC;
    return harm.kind == EIO_ || harm.kind == ENOSPC_;
}

static size_t length(struct harm harm, size_t len)
{
    return harm.kind == SHORT && len > 1 ? len / 2 : len;
}

static ssize_t flipped(struct harm harm, void *buf, ssize_t got)
{
    if (harm.kind == FLIP && got > 0)
        *(uint8_t *)buf ^= 1;
    return got;
}

/* ---- The calls ---- */

ssize_t write(int fd, const void *buf, size_t len)
{
    struct harm harm = harm_fd(WRITE, "write", fd);
    return fails(harm) ? -1 : real_write(fd, buf, length(harm, len));
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    struct harm harm = harm_fd(WRITE, "pwrite", fd);
    return fails(harm) ? -1 : real_pwrite64(fd, buf, length(harm, len), at);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
    return pwrite64(fd, buf, len, at);
}

/* A short one writes the first part alone. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct harm harm = harm_fd(WRITE, "writev", fd);
    if (fails(harm))
        return -1;
    return harm.kind == SHORT && count > 0 ? real_write(fd, parts->iov_base, length(harm, parts->iov_len))
                                           : real_writev(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    struct harm harm = harm_fd(WRITE, "pwritev", fd);
    if (fails(harm))
        return -1;
    return harm.kind == SHORT && count > 0 ? real_pwrite64(fd, parts->iov_base, length(harm, parts->iov_len), at)
                                           : real_pwritev64(fd, parts, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return pwritev64(fd, parts, count, at);
}

ssize_t read(int fd, void *buf, size_t len)
{
    struct harm harm = harm_fd(READ, "read", fd);
    return fails(harm) ? -1 : flipped(harm, buf, real_read(fd, buf, length(harm, len)));
}

ssize_t pread64(int fd, void *buf, size_t len, off64_t at)
{
    struct harm harm = harm_fd(READ, "pread", fd);
    return fails(harm) ? -1 : flipped(harm, buf, real_pread64(fd, buf, length(harm, len), at));
}

ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
    return pread64(fd, buf, len, at);
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    struct harm harm = harm_fd(READ, "readv", fd);
    if (fails(harm))
        return -1;
    return count > 0 ? flipped(harm, parts->iov_base, real_readv(fd, parts, count)) : real_readv(fd, parts, count);
}

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at)
{
    struct harm harm = harm_fd(READ, "preadv", fd);
    if (fails(harm))
        return -1;
    ssize_t got = real_preadv64(fd, parts, count, at);
    return count > 0 ? flipped(harm, parts->iov_base, got) : got;
}

ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at)
{
    return preadv64(fd, parts, count, at);
}

int fsync(int fd)
{
    return fails(harm_fd(SYNC, "fsync", fd)) ? -1 : real_fsync(fd);
}

int fdatasync(int fd)
{
    return fails(harm_fd(SYNC, "fdatasync", fd)) ? -1 : real_fdatasync(fd);
}

/* Without flags it syncs nothing: RocksDB asks in that way whether the file system has the call, and ends the process at
 * any other error than ENOSYS. */
int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags)
{
    if (!flags)
        return real_sync_file_range(fd, at, len, flags);
    return fails(harm_fd(SYNC, "sync_file_range", fd)) ? -1 : real_sync_file_range(fd, at, len, flags);
}

int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    return fails(harm_fd(WRITE, "fallocate", fd)) ? -1 : real_fallocate64(fd, mode, at, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return fallocate64(fd, mode, at, len);
}

int ftruncate64(int fd, off64_t len)
{
    return fails(harm_fd(WRITE, "ftruncate", fd)) ? -1 : real_ftruncate64(fd, len);
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

/* The path is taken as it is given, made whole when it is relative to the working directory. */
static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    char whole[8192], folder[4096];
    int kept = errno;
    struct harm harm = {.kind = KINDS};
    if (!nothing_to_do() && strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/dev/", 5) != 0) {
        bool relative = path[0] != '/' && dir == AT_FDCWD && getcwd(folder, sizeof folder);
        snprintf(whole, sizeof whole, "%s%s%s", relative ? folder : "", relative ? "/" : "", path);
        harm = harm_path(OPEN, "open", whole);
    }
    errno = kept;
    return fails(harm) ? -1 : real_openat64(dir, path, flags, mode);
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN_BODY(dir)                                                                                                 \
    va_list list;                                                                                                      \
    va_start(list, flags);                                                                                             \
    mode_t mode = mode_of(flags, list);                                                                                \
    va_end(list);                                                                                                      \
    return open_at((dir), path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int openat(int dir, const char *path, int flags, ...)
{
    OPEN_BODY(dir);
}

int openat64(int dir, const char *path, int flags, ...)
{
    OPEN_BODY(dir);
}
