/* The record's layout, docs/formats/summary.md. Little-endian. */
#ifndef MAIL_SUMMARY_PRIVATE_H
#define MAIL_SUMMARY_PRIVATE_H

#include "mail/mail_summary.h"

#define SUMMARY_AT_FORMAT 0
#define SUMMARY_AT_RENDERER 1
#define SUMMARY_AT_FLAGS 2
#define SUMMARY_AT_LENGTH 4
#define SUMMARY_AT_CHECKSUM 8
#define SUMMARY_AT_SIZE 16 /* the checksum covers what starts here */
#define SUMMARY_AT_HEADER 24
#define SUMMARY_AT_SENT 32
#define SUMMARY_AT_ZONE 40
#define SUMMARY_AT_RESERVED 42
#define SUMMARY_AT_PARTS 44
#define SUMMARY_AT_LENGTHS 48

/* The variable data, in this order, each with a u32 length in the head. */
#define SUMMARY_DATA(X)                                                                                                \
    X(preview)                                                                                                         \
    X(base_subject)                                                                                                    \
    X(message_id)                                                                                                      \
    X(references)                                                                                                      \
    X(envelope)                                                                                                        \
    X(structure)                                                                                                       \
    X(cuts)                                                                                                            \
    X(envelope_utf8)                                                                                                   \
    X(structure_utf8)                                                                                                  \
    X(cuts_utf8)                                                                                                       \
    X(parts)

enum summary_data {
#define SUMMARY_ENUM(name) SUMMARY_##name,
    SUMMARY_DATA(SUMMARY_ENUM)
#undef SUMMARY_ENUM
        SUMMARY_DATA_COUNT
};

#define SUMMARY_HEAD (SUMMARY_AT_LENGTHS + 4 * SUMMARY_DATA_COUNT)

/* A part's first octet. */
#define SUMMARY_PART_MEDIA 0x07
#define SUMMARY_PART_MESSAGE 0x08
#define SUMMARY_PART_ENCODING 0x70
#define SUMMARY_PART_ENCODING_SHIFT 4
#define SUMMARY_PART_CHARSET 0x80

#define SUMMARY_CHARSET_MAX 64

#endif
