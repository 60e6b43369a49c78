/* What a client must know of a server's answers, read from the stream as it comes: where an answer ends, and a few
 * facts of it. Everything else is passed over at the speed of memchr, so that reading is not what is measured. Pure;
 * fed whole or byte by byte, with the same result.
 *
 * Lines are cut by LF; a CR before it is dropped. Nothing is kept but the first LOAD_HEAD_MAX octets of a line. */
#ifndef LOAD_SCAN_H
#define LOAD_SCAN_H

#include "base/cq_slice.h"

#define LOAD_HEAD_MAX 160
#define LOAD_TAIL_MAX 24

/* The line that is being read. */
struct load_line {
    uint8_t head[LOAD_HEAD_MAX + 1]; /* with a NUL */
    size_t head_len;
    uint8_t tail[LOAD_TAIL_MAX]; /* its last octets */
    size_t tail_len;
    size_t len;
};

/* Takes octets up to and with the next LF; *complete_r: the line is whole, without its line end. Returns what it took.
 * The next call begins a new line after a whole one. */
size_t load_line_feed(struct load_line *line, struct cq_slice data, bool *complete_r);
void load_line_clear(struct load_line *line);

/* ---- IMAP: until the tagged response, or a continuation request ---- */

enum load_status { LOAD_PENDING, LOAD_OK, LOAD_NO, LOAD_BAD, LOAD_CONTINUE, LOAD_BYE, LOAD_GREETING };

struct load_imap {
    const char *tag; /* borrowed; "" for the greeting */
    struct load_line line;
    bool inside;           /* the line goes on after a literal: its head is no response of its own */
    uint64_t literal_left; /* octets of a literal that are still to come */
    /* What was seen since load_imap_begin: */
    enum load_status status;
    uint64_t octets, literal_octets;
    uint64_t fetches, expunges;
    /* Kept over commands: */
    uint64_t exists; /* messages of the mailbox, as last told */
    /* Where the first octets of literals go, for who wants to see them; NULL: nowhere. */
    uint8_t *capture;
    size_t capture_max, captured;
};

/* Before each command. The tag stays the caller's. */
void load_imap_begin(struct load_imap *imap, const char *tag);

/* Feeds what came; returns how much belongs to this answer. When status is no longer LOAD_PENDING the answer is over
 * (the line of it is imap->line.head), and nothing after it was taken. */
size_t load_imap_feed(struct load_imap *imap, struct cq_slice data);

/* ---- SMTP, LMTP: one reply of one or more lines (RFC 5321 4.2) ---- */

struct load_reply {
    struct load_line line; /* the last one */
    int code;              /* 0: not there yet; -1: not a reply */
};

size_t load_reply_feed(struct load_reply *reply, struct cq_slice data);

/* ---- POP3 (RFC 1939 3) ---- */

struct load_pop {
    struct load_line line; /* the status line, until a multi-line answer goes on */
    bool multi;            /* set by the caller: +OK is followed by lines and a dot */
    bool body;             /* the status line has been read */
    enum load_status status;
    uint64_t octets; /* of the lines, without the dot */
};

void load_pop_begin(struct load_pop *pop, bool multi);
size_t load_pop_feed(struct load_pop *pop, struct cq_slice data);

#endif
