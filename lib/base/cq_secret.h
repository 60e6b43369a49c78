/* Secrets that stand in files of their own: passwords of other services. */
#ifndef CQ_SECRET_H
#define CQ_SECRET_H

#include "base/cq_err.h"

#define CQ_SECRET_SIZE 1024 /* bytes of a secret with its NUL */

/* The first line of the file, without its line end, NUL-terminated; the caller wipes it (cq_wipe). CQ_E_CONFIG, and
 * nothing of a secret stays in secret_r: it cannot be read, is empty or too long, or has a NUL. The text names the
 * file, never what is in it. */
enum cq_rc cq_secret_read(const char *path, char secret_r[static CQ_SECRET_SIZE], struct cq_err *err);

#endif
