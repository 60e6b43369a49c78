#include "rpc/rpc_role.h"

#include <stdio.h>

static const struct {
    uint32_t bit;
    const char *text;
} roles_table[] = {
#define ROW(name, bit, text) {(bit), (text)},
    RPC_ROLES(ROW)
#undef ROW
};
#define ROLE_COUNT (sizeof roles_table / sizeof *roles_table)

bool rpc_cluster_id_valid(struct cq_slice id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!(id.data[i] >= 'a' && id.data[i] <= 'z') && !cq_ascii_digit(id.data[i]) && id.data[i] != '-')
            return false;
    return id.len > 0 && id.len <= RPC_CLUSTER_ID_MAX;
}

static bool take_prefix(struct cq_slice *s, struct cq_slice prefix)
{
    if (!cq_slice_starts(*s, prefix))
        return false;
    *s = cq_slice_skip(*s, prefix.len);
    return true;
}

uint32_t rpc_role_of_uri(struct cq_slice uri, struct cq_slice cluster)
{
    if (!rpc_cluster_id_valid(cluster) || !take_prefix(&uri, CQ_SLICE("chasqui://")) || !take_prefix(&uri, cluster) ||
        !take_prefix(&uri, CQ_SLICE("/role/")))
        return 0;
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (cq_slice_eq(uri, cq_slice_cstr(roles_table[i].text)))
            return roles_table[i].bit;
    return 0;
}

uint32_t rpc_roles_of_uris(const struct cq_slice *uris, size_t count, struct cq_slice cluster)
{
    uint32_t roles = 0;
    for (size_t i = 0; i < count; i++)
        roles |= rpc_role_of_uri(uris[i], cluster);
    return roles;
}

void rpc_roles_text(uint32_t roles, char out[static RPC_ROLES_TEXT_SIZE])
{
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (roles & roles_table[i].bit)
            len += (size_t)snprintf(out + len, RPC_ROLES_TEXT_SIZE - len, "%s%s", len ? "," : "", roles_table[i].text);
}
