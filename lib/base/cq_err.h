/* The text that goes with a result code: for the log, never for a client. A struct cq_err is plain
 * memory on the caller's stack; functions that can fail take it last and accept NULL. */
#ifndef CQ_ERR_H
#define CQ_ERR_H

#include "base/cq_rc.h"

#define CQ_ERR_TEXT_SIZE 512

struct cq_err {
    enum cq_rc rc;
    char text[CQ_ERR_TEXT_SIZE]; /* NUL-terminated, truncated when longer; "" when rc is CQ_OK */
};

#define CQ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Sets code and text and returns rc: `return CQ_FAIL(err, CQ_E_PROTO, "literal of %zu", n);` */
enum cq_rc cq_err_set(struct cq_err *err, enum cq_rc rc, const char *fmt, ...) CQ_PRINTF(3, 4);
#define CQ_FAIL(err, rc, ...) cq_err_set((err), (rc), __VA_ARGS__)

/* Puts context before the text that is there ("mailbox 7: literal of 12") and returns the code. */
enum cq_rc cq_err_context(struct cq_err *err, const char *fmt, ...) CQ_PRINTF(2, 3);

void cq_err_clear(struct cq_err *err);

#endif
