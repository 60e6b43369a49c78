#include "smtp/smtp_limits.h"

const struct cq_limit smtp_limit_rows[] = CQ_LIMITS_ROWS(SMTP_LIMITS);
const size_t smtp_limit_row_count = sizeof smtp_limit_rows / sizeof *smtp_limit_rows;
