/* IMAP sessions in the front-end's frame: logging in, the list of sessions, ending them. */
#ifndef FRONTEND_IMAP_H
#define FRONTEND_IMAP_H

#include "core/front_worker.h"
#include "imap/imap_service.h"

extern const struct imap_host_ops frontend_imap_ops;

/* Takes the connection. */
void frontend_imap_start(struct front_worker *worker, struct imap_service *service, struct io_conn *conn);

#endif
