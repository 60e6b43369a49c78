/* SEARCH programs (RFC 3501 6.4.4, RFC 7162 3.1.5): keys in postfix order, so that who evaluates them needs a small
 * stack and no recursion: `NOT SEEN` is SEEN, NOT; `OR A B` is A, B, OR; lists end with AND. */
#ifndef IMAP_SEARCH_H
#define IMAP_SEARCH_H

#include "imap/imap_flags.h"
#include "imap/imap_seqset.h"

enum imap_search_op {
    /* Operators: take their operands off the stack. */
    IMAP_SEARCH_AND, /* the last `count` */
    IMAP_SEARCH_OR,  /* the last two */
    IMAP_SEARCH_NOT, /* the last one */
    /* Keys. */
    IMAP_SEARCH_ALL,
    IMAP_SEARCH_SEQ,     /* set, of sequence numbers */
    IMAP_SEARCH_UID,     /* set */
    IMAP_SEARCH_FLAG,    /* flag: is set */
    IMAP_SEARCH_KEYWORD, /* text */
    IMAP_SEARCH_BEFORE,  /* day, of INTERNALDATE */
    IMAP_SEARCH_ON,
    IMAP_SEARCH_SINCE,
    IMAP_SEARCH_SENTBEFORE, /* day, of the Date: header */
    IMAP_SEARCH_SENTON,
    IMAP_SEARCH_SENTSINCE,
    IMAP_SEARCH_LARGER, /* size */
    IMAP_SEARCH_SMALLER,
    IMAP_SEARCH_MODSEQ, /* modseq: at least; the entry name is accepted and means the same */
    IMAP_SEARCH_HEADER, /* field, text; an empty text: the field is there */
    IMAP_SEARCH_BODY,   /* text */
    IMAP_SEARCH_TEXT    /* text */
};

struct imap_search_key {
    enum imap_search_op op;
    union {
        size_t count;
        struct imap_seqset set;
        uint8_t flag; /* enum imap_flag */
        int32_t day;
        uint32_t size;
        uint64_t modseq;
        struct {
            struct cq_slice field; /* name as given */
            struct cq_slice text;  /* octets in the program's charset */
        } header;
        struct cq_slice text; /* octets in the program's charset; a keyword as given */
    } u;
};

struct imap_search {
    struct imap_search_key *keys; /* the last one is the whole */
    size_t count;
    size_t stack_max;        /* how many operands wait at most */
    struct cq_slice charset; /* empty: none was named (US-ASCII; UTF-8 is taken) */
    uint32_t ops;            /* bit 1 << op of each key that occurs */
};

/* Everything after "SEARCH ". */
bool imap_parse_search(struct imap_parser *p, struct imap_search *search_r);

static inline bool imap_search_has(const struct imap_search *search, enum imap_search_op op)
{
    return search->ops >> op & 1;
}

#endif
