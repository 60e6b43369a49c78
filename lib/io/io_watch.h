/* Descriptors of others (libpq, librdkafka, inotify) and signals on a loop. Connections of ours are io_conn.h. */
#ifndef IO_WATCH_H
#define IO_WATCH_H

#include "io/io_fiber.h"

enum io_watch_events { IO_READABLE = 1, IO_WRITABLE = 2 };

struct io_watch;
typedef void io_watch_fn(struct io_watch *watch, unsigned events, void *arg);

/* Watches fd (level-triggered; not owned) and calls fn on the loop's stack; events may be 0 (nothing for now). */
struct io_watch *io_watch_new(struct io_loop *loop, int fd, unsigned events, io_watch_fn *fn, void *arg);
void io_watch_set(struct io_watch *watch, unsigned events);
void io_watch_free(struct io_watch **watch); /* before fd is closed */

/* On a fiber: until fd is ready for any of `events` (*events_r, may be NULL), the deadline, or a cancel. */
enum cq_rc io_wait_fd(int fd, unsigned events, uint64_t deadline_us, unsigned *events_r);

struct io_signal;
typedef void io_signal_fn(struct io_loop *loop, int signum, void *arg);

/* fn runs on the loop's stack, not in a signal handler. A signal belongs to one loop of the process. */
struct io_signal *io_signal_new(struct io_loop *loop, int signum, io_signal_fn *fn, void *arg);
void io_signal_free(struct io_signal **sig);

#endif
