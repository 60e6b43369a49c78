/* Sequence sets as they are written (RFC 3501 sequence-set): what "*" and the numbers mean is resolved where the
 * mailbox is known. */
#ifndef IMAP_SEQSET_H
#define IMAP_SEQSET_H

#include "imap/imap_parse.h"

/* As written: the ends in the order of the client, 0 stands for "*". A single number has first == last. */
struct imap_range {
    uint32_t first, last;
};

struct imap_seqset {
    struct imap_range *ranges;
    size_t count;
};

bool imap_parse_seqset(struct imap_parser *p, struct imap_seqset *set_r);

/* The range with "*" put in and its ends ordered. `star`: the largest number in use (0: none, "*" is then 0). */
struct imap_range imap_range_resolve(struct imap_range range, uint32_t star);

/* Is n in the set when "*" is `star`? Linear in the ranges. */
bool imap_seqset_contains(const struct imap_seqset *set, uint32_t n, uint32_t star);

#endif
