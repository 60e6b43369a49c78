/* Limits that are not settings: constants with a name, a unit, a reason and the answer that a peer gets. A module that
 * owns limits keeps one X-macro list, from which both the constants and the reference page come:
 *
 *     #define SMTP_LIMITS(X)                                                                          \
 *         X(SMTP_LINE_MAX, 2048, "bytes", "A command line with its CRLF", "500 5.5.2, connection kept")
 *     CQ_LIMITS_ENUM(SMTP_LIMITS);                     // enum constants of these names
 *     static const struct cq_limit rows[] = CQ_LIMITS_ROWS(SMTP_LIMITS);
 */
#ifndef CQ_LIMITS_H
#define CQ_LIMITS_H

#include "base/cq_buf.h"

struct cq_limit {
    const char *name;
    uint64_t value;
    const char *unit;
    const char *help;
    const char *answer; /* what the peer sees when it is reached */
};

#define CQ_LIMIT_ENUM_(name, value, unit, help, answer) name = (value),
#define CQ_LIMIT_ROW_(name, value, unit, help, answer) {#name, (value), (unit), (help), (answer)},
#define CQ_LIMITS_ENUM(list) enum { list(CQ_LIMIT_ENUM_) }
#define CQ_LIMITS_ROWS(list)                                                                                           \
    {                                                                                                                  \
        list(CQ_LIMIT_ROW_)                                                                                            \
    }

/* One module's rows, under the heading that the reference page gives them. */
struct cq_limit_table {
    const char *title;
    const struct cq_limit *rows;
    const size_t *count; /* the module's own: so tables of tables are constants */
};

/* A Markdown table with a heading. */
bool cq_limits_print_docs(struct cq_buf *out, const char *title, const struct cq_limit *rows, size_t count);

#endif
