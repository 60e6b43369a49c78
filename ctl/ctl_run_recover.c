/* chasquictl shard recover: replicas of a shard that have forgotten what they promised take part again. Asked of every
 * storage node of the settings, because a shard without a majority may be the one that knows the topology. */
#include "ctl_storage.h"

#include <stdio.h>

static const char *recover_one(struct ctl *ctl, const char *address, uint32_t shard, enum ctl_exit *worst)
{
    Chasqui__System__RecoverReplica message = CHASQUI__SYSTEM__RECOVER_REPLICA__INIT;
    struct rpc_reply_in reply = {0};
    struct cq_err err = {0};
    message.group = shard;
    const struct ctl_call call = {
        .address = address,
        .peer_roles = RPC_ROLE_STORAGE,
        .method = CHASQUI__SYSTEM__METHOD__RECOVER_REPLICA,
        .command = true,
        .message = ctl_wrap(ctl, &message.base),
    };
    enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
    if (fate == RPC_ANSWERED && reply.rc == CQ_OK)
        return "recovered";
    if (fate == RPC_ANSWERED && (reply.rc == CQ_E_NOT_FOUND || reply.rc == CQ_E_CONFLICT))
        return reply.rc == CQ_E_NOT_FOUND ? "no replica" : "has not forgotten";
    *worst = ctl_complain(address, fate, &reply, &err);
    return "failed";
}

enum ctl_exit ctl_recover(struct ctl *ctl, uint32_t shard, bool accept_loss, struct ctl_rows *rows)
{
    enum ctl_exit worst = CTL_DONE;
    if (!accept_loss) {
        fprintf(stderr,
                "chasquictl: what was acknowledged and is on no replica of a majority any more is lost by this; say "
                "--accept-loss when no node of the shard can come back with its own disk\n");
        return CTL_USAGE;
    }
    for (size_t i = 0; i < ctl->settings.storage.count; i++) {
        const char *address = ctl->settings.storage.items[i];
        const char *result = recover_one(ctl, address, shard, &worst);
        CTL_ADD_ROW(ctl, rows, ctl_number(ctl, shard), address, result);
    }
    return worst;
}
