/* SMTP and LMTP for clients: the MX (25), submission (587 and 465), and LMTP from other servers. */
#ifndef SMTP_SERVICE_H
#define SMTP_SERVICE_H

#include "base/cq_limits.h"
#include "core/front_worker.h"
#include "io/io_conn.h"

enum smtp_kind { SMTP_MX, SMTP_SUBMISSION, SMTP_LMTP };

/* One per listener; lives as long as its sessions. */
struct smtp_service {
    enum smtp_kind kind;
    struct io_tls *tls;      /* for STARTTLS; NULL: not offered (implicit TLS, or none) */
    uint64_t size_max;       /* octets of a message */
    uint32_t recipients_max; /* of a transaction, 100; the account's plan may say less */
    uint64_t idle_ms;        /* RFC 5321 4.5.3.2.7: at least 5 minutes */
    bool auth_without_tls;   /* for tests on loopback only; otherwise AUTH needs TLS */
};

/* What clients meet beside the settings, for the reference page. */
extern const struct cq_limit smtp_session_limit_rows[];
extern const size_t smtp_session_limit_row_count;

/* Takes the connection. */
void smtp_session_start(struct front_worker *worker, const struct smtp_service *service, struct io_conn *conn);

#endif
