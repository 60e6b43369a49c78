#include "rpc/rpc_node_name.h"

#include <stdio.h>

#define UUID_TEXT 36

static void uuid_text(const uint8_t uuid[static 16], char out[static UUID_TEXT + 1])
{
    size_t len = 0;
    for (size_t i = 0; i < 16; i++) {
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        len += (size_t)snprintf(out + len, UUID_TEXT + 1 - len, "%s%02x", dash, uuid[i]);
    }
}

static bool take_prefix(struct cq_slice *s, struct cq_slice prefix)
{
    if (!cq_slice_starts(*s, prefix))
        return false;
    *s = cq_slice_skip(*s, prefix.len);
    return true;
}

bool rpc_uris_allow_node(const char *const *uris, struct cq_slice cluster, const uint8_t node[static 16])
{
    char text[UUID_TEXT + 1];
    bool names_nodes = false;
    uuid_text(node, text);
    for (; uris && *uris; uris++) {
        struct cq_slice name = cq_slice_cstr(*uris);
        if (!take_prefix(&name, CQ_SLICE("chasqui://")) || !take_prefix(&name, cluster) ||
            !take_prefix(&name, CQ_SLICE("/node/")))
            continue;
        if (cq_slice_eq(name, cq_slice_cstr(text)))
            return true;
        names_nodes = true; /* also one that is no UUID: it is not everybody's */
    }
    return !names_nodes;
}
