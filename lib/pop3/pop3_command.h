/* POP3 command lines (RFC 1939, 2449, 5034) and the octets of multi-line answers. Pure. */
#ifndef POP3_COMMAND_H
#define POP3_COMMAND_H

#include "base/cq_buf.h"
#include "base/cq_limits.h"

/* clang-format off */
#define POP3_LIMITS(X)                                                                                                 \
    X(POP3_LINE_MAX, 512, "bytes", "A command with its CRLF (RFC 2449 4 says 255; passwords may be long)",             \
      "-ERR, closed")                                                                                                  \
    X(POP3_AUTH_LINE_MAX, 8192, "bytes", "A line of an AUTH exchange", "-ERR, closed")
/* clang-format on */
CQ_LIMITS_ENUM(POP3_LIMITS);
extern const struct cq_limit pop3_limit_rows[];
extern const size_t pop3_limit_row_count;

/* The keyword and what follows its first blank, untouched: a password may hold and end with blanks (RFC 1939 7). */
void pop3_split(struct cq_slice line, struct cq_slice *keyword_r, struct cq_slice *rest_r);

/* A message number: 1 to max. Blanks around it are allowed. */
bool pop3_number(struct cq_slice text, uint32_t max, uint32_t *number_r);
/* "number lines" of TOP. */
bool pop3_number_and_count(struct cq_slice text, uint32_t max, uint32_t *number_r, uint64_t *lines_r);

/* A message's octets as a multi-line answer (RFC 1939 3): lines end with CRLF, a dot that begins one is doubled; in
 * TOP the body stops after some lines. Fed in pieces of any size. */
struct pop3_stuffer {
    bool line_start; /* the next octet begins a line */
    bool cr;         /* the last octet was a CR */
    bool in_body;
    bool blank;          /* only line ends since the line began (the header's end is an empty line) */
    bool limited;        /* TOP */
    uint64_t lines_left; /* of the body, in TOP */
    bool done;           /* TOP has all it wanted */
};
void pop3_stuffer_init(struct pop3_stuffer *stuffer, bool limited, uint64_t lines);
/* Appends to out what the piece gives; out needs room for twice the piece's length. */
void pop3_stuff(struct pop3_stuffer *stuffer, struct cq_slice piece, struct cq_buf *out);
/* The end: a missing CRLF, and the line with the dot. */
void pop3_stuff_end(struct pop3_stuffer *stuffer, struct cq_buf *out);

#endif
