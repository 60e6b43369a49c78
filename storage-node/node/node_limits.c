#include "node/node_limits.h"

#include "cluster/topology.h"
#include "rpc/rpc_limits.h"
#include "state/entry.h"
#include "state/state_limits.h"

static const struct cq_limit state_rows[] = CQ_LIMITS_ROWS(STATE_LIMITS);
static const struct cq_limit entry_rows[] = CQ_LIMITS_ROWS(ENTRY_LIMITS);
static const struct cq_limit topology_rows[] = CQ_LIMITS_ROWS(TOPOLOGY_LIMITS);
static const size_t state_count = sizeof state_rows / sizeof *state_rows;
static const size_t entry_count = sizeof entry_rows / sizeof *entry_rows;
static const size_t topology_count = sizeof topology_rows / sizeof *topology_rows;

const struct cq_limit_table node_limit_tables[] = {
    {"The state of a shard", state_rows, &state_count},
    {"Log entries", entry_rows, &entry_count},
    {"The cluster", topology_rows, &topology_count},
    {"RPC", rpc_limit_rows, &rpc_limit_row_count},
};
const size_t node_limit_table_count = sizeof node_limit_tables / sizeof *node_limit_tables;
