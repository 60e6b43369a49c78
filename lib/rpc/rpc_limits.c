#include "rpc/rpc_limits.h"

const struct cq_limit rpc_limit_rows[] = CQ_LIMITS_ROWS(RPC_LIMITS);
const size_t rpc_limit_row_count = sizeof rpc_limit_rows / sizeof *rpc_limit_rows;
