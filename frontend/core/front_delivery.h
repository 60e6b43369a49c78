/* One accepted message on its way to the accounts behind its recipients: SMTP, submission and LMTP share this. Each
 * account's copy is the message behind its own trace fields (RFC 5321 4.4) and is one entry of its shard's log. */
#ifndef FRONT_DELIVERY_H
#define FRONT_DELIVERY_H

#include "core/front_session.h"
#include "core/front_spool.h"
#include "mail/mail_build.h"
#include "mail/mail_write.h"

#define FRONT_RECEIVED_MAX 100 /* Received fields: one more is a loop (RFC 5321 6.3) */

/* An account that gets a copy. */
struct front_target {
    uint64_t account;
    struct cq_slice address;  /* for Delivered-To: the recipient that led here, canonical */
    struct cq_slice original; /* the recipient as the client wrote it */
    enum cq_rc rc;            /* of the delivery; CQ_E_AGAIN before it was tried */
};

struct front_delivery {
    struct front_session *session;
    const struct front_spool *spool;
    struct mail_builder *builder;  /* finished */
    struct cq_slice envelope_from; /* "" for the null path */
    struct mail_received received; /* without `recipient`, which is filled here for a single target */
    struct cq_slice direction;     /* "in", "submission", "lmtp" */
    struct cq_slice message_id;    /* ours */
    struct cq_slice ehlo, tls;
    uint32_t recipients; /* of the transaction */
    int64_t received_time_us;
    uint64_t from_account;
    bool use_keys; /* several shards may answer differently: see front_delivery_keep_keys */
};

/* Delivers to one target and sets target->rc: CQ_OK, CQ_E_OVER_QUOTA, CQ_E_TOO_BIG, CQ_E_CONFLICT (it has been
 * delivered to this address before: a loop), or "later" (CQ_E_UNAVAILABLE, CQ_E_UNKNOWN_OUTCOME and all the others). On
 * a fiber. */
void front_deliver(const struct front_delivery *delivery, struct front_target *target);

/* The transaction will be answered 451 although some targets have their copy: leaves a key with each of those, which
 * absorbs the copy of the client's next attempt (and only that one). On a fiber; best effort, as a second copy is
 * better than none. */
void front_delivery_keep_keys(const struct front_delivery *delivery, const struct front_target *targets, size_t count);

#endif
