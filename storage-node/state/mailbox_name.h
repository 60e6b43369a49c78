/* Names of mailboxes: UTF-8 (the front-end makes it NFC), levels separated by '/', no level empty, no control
 * characters, at most STATE_NAME_MAX bytes and STATE_NAME_DEPTH_MAX levels. A first level that is "INBOX" in any case
 * is INBOX (RFC 3501 5.1). */
#ifndef MAILBOX_NAME_H
#define MAILBOX_NAME_H

#include "base/cq_err.h"
#include "base/cq_pool.h"

/* The canonical name, in the pool. CQ_E_INVALID. */
enum cq_rc mailbox_name_take(const char *text, struct cq_pool *pool, struct cq_slice *name_r, struct cq_err *err);
enum cq_rc mailbox_name_check(struct cq_slice name, struct cq_err *err);
bool mailbox_name_is_inbox(struct cq_slice name);
/* The name of the level above, empty for a top level. */
struct cq_slice mailbox_name_parent(struct cq_slice name);
/* Is it below `parent` (not parent itself)? */
bool mailbox_name_below(struct cq_slice name, struct cq_slice parent);

#endif
