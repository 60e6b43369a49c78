#include "imap/imap_limits.h"

const struct cq_limit imap_limit_rows[] = CQ_LIMITS_ROWS(IMAP_LIMITS);
const size_t imap_limit_row_count = sizeof imap_limit_rows / sizeof *imap_limit_rows;
