/* Counters of the IMAP front-end: rows in imap_metrics.c. */
#ifndef IMAP_METRICS_H
#define IMAP_METRICS_H

#include "imap/imap_service.h"

enum { IMAP_M_COMMANDS, IMAP_M_DURATION, IMAP_M_SESSIONS, IMAP_M_LOGINS };

#endif
