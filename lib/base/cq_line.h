/* Lines of line-based protocols: the one place that judges where a line ends (IMAP's, which have literals in them, are
 * judged by its reader). */
#ifndef CQ_LINE_H
#define CQ_LINE_H

#include "base/cq_rc.h"
#include "base/cq_slice.h"

/* The first line of what has come. CQ_OK: *line_r, borrowed, is the line without its end, and *used_r octets make it
 * up. CQ_E_AGAIN: it has not ended yet. CQ_E_LIMIT: with its end it is longer than `max`. A bare LF ends a line too
 * (old clients), but a NUL or a bare CR in it is CQ_E_PROTO: *used_r says where the line ends. */
enum cq_rc cq_line_take(struct cq_slice in, size_t max, struct cq_slice *line_r, size_t *used_r);

#endif
