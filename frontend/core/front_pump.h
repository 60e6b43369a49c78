/* A session that reads command lines: runs a fiber while there are commands and none while it waits. SMTP and POP3 are
 * made of this. The pump owns the connection and decides when the session is freed. */
#ifndef FRONT_PUMP_H
#define FRONT_PUMP_H

#include "core/front_session.h"

struct front_pump;

enum front_farewell {
    FRONT_FAREWELL_DRAIN,
    FRONT_FAREWELL_KICKED,
    FRONT_FAREWELL_ACCOUNT,
    FRONT_FAREWELL_IDLE,
    FRONT_FAREWELL_BUSY
};

struct front_pump_ops {
    /* On a fiber, input paused: handles one command if a whole one is there. False: there is none yet. */
    bool (*step)(struct front_pump *pump);
    /* Says goodbye on behalf of the server; the connection is closed after. May run on the loop's stack. */
    void (*farewell)(struct front_pump *pump, enum front_farewell why);
    /* May a draining front-end end the session now, or only after what it is in the middle of? Who was thrown out is
     * not asked: that ends after the present command. */
    bool (*between)(const struct front_pump *pump);
    /* Nothing refers to the session any more: free it. The connection has gone already. */
    void (*release)(struct front_pump *pump);
};

struct front_pump {
    struct front_session front;
    const struct front_pump_ops *ops;
    uint64_t idle_ms;
    bool running; /* a fiber handles commands */
    bool closing; /* set by a command: close after it; front.ended_by tells when it was not the client's wish */
    bool closed;  /* the connection has gone; freed when no fiber runs */
    bool ending;  /* the front-end wants it to end, for this reason: */
    enum front_end why;
    bool handshake; /* input belongs to a TLS handshake: the fiber leaves it alone */
};

/* Takes the connection; input_max: bytes that may wait unread. */
void front_pump_start(struct front_pump *pump, struct front_worker *worker, enum front_protocol protocol,
                      struct io_conn *conn, const struct front_pump_ops *ops, uint64_t idle_ms, size_t input_max);

/* For STARTTLS and STLS, after the answer was written: false when the client had sent more in clear (command
 * injection): then the connection is closed. */
bool front_pump_start_tls(struct front_pump *pump, struct io_tls *tls);

/* When a read or write inside a command has to be done. */
uint64_t front_pump_deadline(const struct front_pump *pump);
/* Reads one line into the pool while a command runs (AUTH), in the time of one read however slowly it comes.
 * CQ_E_LIMIT: longer than `max`; else as cq_line_take and io_conn_read_more say. */
enum cq_rc front_pump_read_line(struct front_pump *pump, size_t max, struct cq_pool *pool, struct cq_slice *line_r);

#endif
