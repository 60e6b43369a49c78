/* The constants that clients and peers of a front-end meet, for the reference page. */
#ifndef FRONTEND_LIMITS_H
#define FRONTEND_LIMITS_H

#include "base/cq_limits.h"

extern const struct cq_limit_table frontend_limit_tables[];
extern const size_t frontend_limit_table_count;

#endif
