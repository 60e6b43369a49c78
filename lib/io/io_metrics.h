/* The metrics of lib/io. A program registers them (io_metrics_register) before its threads begin; without that nothing
 * is counted. */
#ifndef IO_METRICS_H
#define IO_METRICS_H

#include "base/cq_metrics.h"

enum io_metric {
    IO_M_LOOP_LAG,
    IO_M_FIBERS_REFUSED,
    IO_M_ACCEPTED,
    IO_M_ACCEPT_PAUSES,
    IO_M_PROXY_FAILURES,
    IO_M_TLS_HANDSHAKES,
    IO_M_TLS_RELOADS,
    IO_M_TLS_NOT_AFTER,
    IO_M_TLS_STALE,
};

/* Label values of IO_M_TLS_HANDSHAKES and IO_M_TLS_RELOADS */
enum io_m_handshake { IO_M_HANDSHAKE_FULL, IO_M_HANDSHAKE_RESUMED, IO_M_HANDSHAKE_FAILED };
/* The other label of IO_M_TLS_HANDSHAKES: of a TLS context's service ("imap"; "client": of a client). */
unsigned io_metrics_protocol(const char *service);
enum io_m_reload { IO_M_RELOAD_OK, IO_M_RELOAD_FAILED };

extern struct cq_metrics io_metrics;

void io_metrics_register(void);

#endif
