#include "node/peer_admission.h"

#include <string.h>

enum cq_rc peer_admit(const struct topology *t, const struct rpc_hello *hello, struct cq_err *err)
{
    uint32_t index = t && hello->has_node ? topology_node_index(t, hello->node) : TOPOLOGY_NONE;
    if (index == TOPOLOGY_NONE)
        return CQ_OK;
    const struct topology_node *known = &t->nodes[index];
    if (known->state == TOPOLOGY_NODE_GONE)
        return CQ_FAIL(err, CQ_E_DENIED, "%s: this node was removed from the cluster", hello->address);
    if (hello->boot < known->boot)
        return CQ_FAIL(err, CQ_E_CONFLICT,
                       "%s: it comes with an older copy of its data directory (start %llu; the cluster has seen start "
                       "%llu of this node)",
                       hello->address, (unsigned long long)hello->boot, (unsigned long long)known->boot);
    if (hello->boot == known->boot && hello->address[0] && known->address[0] &&
        strcmp(hello->address, known->address) != 0)
        return CQ_FAIL(err, CQ_E_CONFLICT, "%s: two processes have this node's data directory, the other one is at %s",
                       hello->address, known->address);
    return CQ_OK;
}
