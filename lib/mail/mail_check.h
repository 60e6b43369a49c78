/* What a delivery and a submission look at in a message that is being accepted. */
#ifndef MAIL_CHECK_H
#define MAIL_CHECK_H

#include "mail/mail_index.h"

/* Is there a "Delivered-To: address" (ASCII case-insensitive, angle brackets or not)? Then delivering to that address
 * is a loop. The number of Received fields is mail_index_received. */
bool mail_check_delivered_to(const struct mail_index *index, struct cq_slice address);

/* The addresses of all From fields (and, by id, of Sender), as local@domain with the local part quoted when it must be,
 * in the pool; at most `max`. A mail with two From fields has all of them here: each must be the sender's. Count of
 * all of them, also of those over max. */
size_t mail_check_addresses(const struct mail_index *index, enum mail_field_id id, struct cq_pool *pool,
                            struct cq_slice *addresses_r, size_t max);

/* May submission pass it on (RFC 6409 8): exactly one From field with at least one address that has a domain. */
bool mail_check_has_from(const struct mail_index *index);

#endif
