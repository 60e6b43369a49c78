/* Cuts a client's bytes into commands: lines with their literals (RFC 3501 2.2, RFC 7888). It keeps its own position,
 * never reads a socket, and knows nothing of a command's meaning but one thing: APPEND's message literal is not
 * collected, the caller streams it.
 *
 * The one thing to know: no byte of a refused literal is ever taken for a command. A synchronising literal that is
 * refused is never sent; of a non-synchronising one exactly its octets are thrown away, and the rest of its command;
 * where that cannot be told, the answer is IMAP_READ_CLOSE.
 *
 *     for (;;) {
 *         switch (imap_reader_feed(r, input, &used)) { ... }     // consume `used` bytes of the input in any case
 *     }
 */
#ifndef IMAP_READER_H
#define IMAP_READER_H

#include "base/cq_buf.h"
#include "imap/imap_limits.h"

struct imap_reader_limits {
    size_t command_max;        /* bytes of a command with its collected literals */
    size_t authenticate_max;   /* the same for AUTHENTICATE */
    uint32_t literal_max;      /* octets of one synchronising literal */
    uint32_t literal_plus_max; /* octets of one non-synchronising literal */
    uint64_t swallow_max;      /* octets that may be thrown away of one command */
    bool append;               /* APPEND's message literal is handed out (after login) */
};

extern const struct imap_reader_limits imap_reader_preauth; /* 8 KiB, LITERAL- */
extern const struct imap_reader_limits imap_reader_auth;    /* LITERAL+ */

enum imap_read {
    IMAP_READ_MORE,     /* all input used, no event yet */
    IMAP_READ_CONTINUE, /* a synchronising literal was accepted: send "+ ..." and go on feeding */
    IMAP_READ_COMMAND,  /* imap_reader_text() is a whole command (or the tail after a streamed literal) */
    IMAP_READ_APPEND,   /* imap_reader_text() ends with the header of APPEND's message literal; see below */
    IMAP_READ_BAD,      /* the command was dropped; imap_reader_problem() and imap_reader_tag() say what to answer */
    IMAP_READ_CLOSE     /* the input cannot be followed any further: BYE and close */
};

struct imap_reader {
    struct cq_buf text;
    const struct imap_reader_limits *limits;
    const char *problem;
    bool too_big;       /* with IMAP_READ_CLOSE: because of its size */
    size_t line_start;  /* where in text the present line began: after the last literal */
    uint64_t left;      /* octets of a literal that are still to come */
    uint64_t swallowed; /* octets thrown away of this command */
    uint8_t tail[24];   /* the end of a line that is thrown away: a literal's header may be there */
    uint8_t tail_len;
    uint8_t phase;
    bool plain;       /* a line of AUTHENTICATE or IDLE: no literals in it */
    bool quoted;      /* position is inside a quoted string */
    bool escaped;     /* ... and after a backslash */
    bool append_plus; /* the message literal does not wait for "+" */
    uint32_t append_size;
};

void imap_reader_init(struct imap_reader *reader, const struct imap_reader_limits *limits);
void imap_reader_fini(struct imap_reader *reader);

/* After login, from the next command on. */
void imap_reader_set_limits(struct imap_reader *reader, const struct imap_reader_limits *limits);

/* Takes bytes off the front of the input; *used_r of them were used, also when an event is returned before its end.
 * After IMAP_READ_COMMAND or IMAP_READ_BAD call imap_reader_next() before the next feed. */
enum imap_read imap_reader_feed(struct imap_reader *reader, struct cq_slice input, size_t *used_r);

/* The command without its final CRLF, literals with their headers ("{3}" CRLF "abc") in place. Valid until the next
 * feed or next. */
static inline struct cq_slice imap_reader_text(const struct imap_reader *reader)
{
    return cq_buf_slice(&reader->text);
}

/* After IMAP_READ_BAD or IMAP_READ_CLOSE: a sentence for the client, and the command's tag ("*" when there is none). */
static inline const char *imap_reader_problem(const struct imap_reader *reader)
{
    return reader->problem;
}
struct cq_slice imap_reader_tag(const struct imap_reader *reader);

/* Forgets the present command and gets ready for the next; keeps at most a few hundred bytes of memory. */
void imap_reader_next(struct imap_reader *reader);

/* Like imap_reader_next, but what follows is one line without literals: a line of AUTHENTICATE's dialogue, or DONE. */
void imap_reader_next_line(struct imap_reader *reader);

/* Is the reader between commands, with nothing of the next one seen? */
bool imap_reader_at_start(const struct imap_reader *reader);

/* After IMAP_READ_APPEND one of these. The literal's octets are reader->append_size.
 * stream: the caller takes exactly these octets from the input itself (after sending "+ ..." unless append_plus), and
 *         then feeds again: IMAP_READ_COMMAND with the rest of the line (empty when the client keeps to RFC 3501).
 * refuse: the caller has answered or will answer NO; what still comes of the command is thrown away, and
 *         IMAP_READ_BAD (with an empty problem: nothing more to answer) is returned when it is at its end. When the
 *         literal is synchronising nothing comes: IMAP_READ_BAD is returned by the next feed, also with no input. */
bool imap_reader_awaits_append(const struct imap_reader *reader);
void imap_reader_stream_append(struct imap_reader *reader);
void imap_reader_refuse_append(struct imap_reader *reader);

#endif
