/* Makes the summary of a message while its octets arrive. One builder serves many messages, one after the other.
 *
 * Delivery to several recipients puts different trace fields (Return-Path, Delivered-To, Received) in front of the same
 * octets: feed what is common once and make one summary per recipient with the length of its own prefix. The prefix
 * must be whole fields, none of which ENVELOPE or BODYSTRUCTURE shows. */
#ifndef MAIL_BUILD_H
#define MAIL_BUILD_H

#include "mail/mail_summary.h"

struct mail_builder;

struct mail_builder *mail_builder_new(const struct mail_parse_limits *limits); /* NULL: defaults */
void mail_builder_free(struct mail_builder **b);
void mail_builder_clear(struct mail_builder *b);

void mail_builder_feed(struct mail_builder *b, struct cq_slice octets);
void mail_builder_finish(struct mail_builder *b);

/* After finish, any number of times: appends the record (at most MAIL_SUMMARY_MAX octets; out must have room for as
 * many). The stored message is prefix_octets octets followed by those that were fed. */
void mail_builder_summary(struct mail_builder *b, uint64_t prefix_octets, struct cq_buf *out);

/* For the checks of mail_check.h; valid until clear or free. */
const struct mail_index *mail_builder_index(const struct mail_builder *b);

/* All of it at once, for tests, imports and small messages. */
void mail_summary_of(struct cq_slice message, struct cq_buf *out);

#endif
