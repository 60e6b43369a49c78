/* Which entry each group is applying, in a file that outlives the process: an entry that makes apply crash would make
 * every replica crash, again and again, and take all other groups of their nodes with it. The second crash at the same
 * entry puts its group aside (docs/trouble.md).
 *
 * The file is mapped: a mark is a few stores, which the kernel keeps when the process dies, however it dies. A power
 * cut may lose or bring back marks; then crashes are counted anew. docs/formats/applying.md has the bytes. */
#ifndef APPLY_MARKS_H
#define APPLY_MARKS_H

#include "base/cq_err.h"

#include <stdint.h>

#define APPLY_MARKS_FILE "applying"
#define APPLY_MARKS_GROUPS 4097
#define APPLY_MARKS_CRASHES                                                                                            \
    2                      /* by a signal of the program's own (SIGSEGV, SIGABRT ...), while this entry was applied */
#define APPLY_MARKS_ENDS 5 /* by anything else (SIGKILL: out of memory, a watchdog), five times in a row */

struct apply_marks;

/* Opens or makes the file in the data directory, judges how the last run ended, and makes that durable. What does not
 * read is begun anew: it is an aid. CQ_E_IO, CQ_E_NO_SPACE. */
enum cq_rc apply_marks_open(const char *data_dir, struct apply_marks **marks_r, struct cq_err *err);
/* A clean end; no group is applying. NULL is fine. */
void apply_marks_close(struct apply_marks **marks);

/* From now on a crash of a thread that is applying says so in its mark. Once, before threads; the process has one. */
void apply_marks_watch_signals(void);
/* Each apply thread at its start: room for the handler when the stack itself is what is wrong. */
void apply_marks_thread_start(void);
void apply_marks_thread_end(void);

/* Around the application of one entry, on the group's apply thread. NULL marks are fine. */
void apply_marks_begin(struct apply_marks *marks, uint32_t group, uint64_t index);
void apply_marks_end(struct apply_marks *marks, uint32_t group);

/* The process is about to end itself for a reason that no entry has given: nobody is to blame. Any thread. */
void apply_marks_forgive(struct apply_marks *marks);

/* What is known of a group since the start. True: it is put aside. */
struct apply_blame {
    uint64_t index; /* 0: none */
    uint32_t crashes, ends;
};
bool apply_marks_quarantined(const struct apply_marks *marks, uint32_t group, struct apply_blame *blame_r);

/* An operator says that the entry will not crash it any more: forgotten, durably. CQ_E_NOT_FOUND: it is not put aside;
 * CQ_E_IO. */
enum cq_rc apply_marks_release(struct apply_marks *marks, uint32_t group, struct cq_err *err);

#endif
