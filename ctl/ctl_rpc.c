#include "ctl.h"

#include "base/cq_time.h"

enum rpc_fate ctl_rpc(struct ctl *ctl, const struct ctl_call *call, struct rpc_reply_in *reply_r, struct cq_err *err)
{
    const struct rpc_client_config config = {
        .loop = ctl->loop,
        .resolver = ctl->resolver,
        .tls = ctl->tls,
        .address = call->address,
        .peer_roles = call->peer_roles,
        .hello = &ctl->hello,
        .limits = rpc_client_limits_default(),
    };
    struct rpc_client *client = rpc_client_new(&config);
    const struct rpc_call what = {
        .method = call->method,
        .flags = call->command ? RPC_FLAG_COMMAND : 0,
        .group = call->group,
        .deadline_us = cq_time_mono_us() + ctl->settings.timeout_us,
        .message = call->message,
        .raw = &call->raw,
        .raw_count = call->raw.len ? 1 : 0,
    };
    enum rpc_fate fate = rpc_call(client, &what, ctl->pool, reply_r, err);
    rpc_client_free(&client);
    return fate;
}

enum ctl_exit ctl_exit_of(enum rpc_fate fate, enum cq_rc rc)
{
    if (fate == RPC_NOT_SENT)
        return CTL_UNREACHABLE;
    if (fate == RPC_SENT || rc == CQ_E_UNKNOWN_OUTCOME)
        return CTL_UNKNOWN;
    return rc == CQ_OK ? CTL_DONE : cq_rc_retryable(rc) ? CTL_LATER : CTL_REFUSED;
}
