/* The lines of files one after the other: path.N, ..., path.1, path; "-" is standard input. */
#ifndef CTL_LINES_H
#define CTL_LINES_H

#include "ctl.h"

#include <stdio.h>

struct ctl_lines {
    const char *path; /* borrowed */
    int rotated;      /* the present file: path.N, 0: path itself; -1: there are no more */
    FILE *file;
    char *line; /* the last one that was read */
    size_t line_size;
};

/* How many of path.1, path.2, ... there are without a gap. */
int ctl_lines_rotated(const struct ctl_lines *lines);

/* The length of the next line, with its end, in lines->line; 0: there are no more, or *status_r says what is wrong. The
 * last line of a file that has no end is being written: it is left. That of standard input is whole, and comes without.
 */
ssize_t ctl_lines_next(struct ctl_lines *lines, enum ctl_exit *status_r);

void ctl_lines_fini(struct ctl_lines *lines);

#endif
