/* The constants that a storage node and its state machine keep, for the reference page. */
#ifndef NODE_LIMITS_H
#define NODE_LIMITS_H

#include "base/cq_limits.h"

extern const struct cq_limit_table node_limit_tables[];
extern const size_t node_limit_table_count;

#endif
