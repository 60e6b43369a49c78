/* POP3 (RFC 1939) over the account's INBOX. */
#ifndef POP3_SERVICE_H
#define POP3_SERVICE_H

#include "base/cq_limits.h"
#include "core/front_worker.h"
#include "io/io_conn.h"

/* One per listener; lives as long as its sessions. */
struct pop3_service {
    struct io_tls *tls; /* for STLS on the plain port; NULL: not offered */
    uint64_t idle_ms;   /* RFC 1939 3: at least 10 minutes */
    bool auth_without_tls;
};

/* What clients meet beside the settings, for the reference page. */
extern const struct cq_limit pop3_session_limit_rows[];
extern const size_t pop3_session_limit_row_count;

/* Takes the connection. */
void pop3_session_start(struct front_worker *worker, const struct pop3_service *service, struct io_conn *conn);

#endif
