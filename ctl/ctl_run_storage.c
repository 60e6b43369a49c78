/* Requests about the cluster itself, to the storage nodes: the topology from group 0, the replicas from each node. */
#include "ctl_storage.h"

#include "base/cq_hex.h"
#include "base/cq_time.h"
#include "cluster/topology.h"
#include "io/io_fiber.h"

#include <stdio.h>
#include <string.h>

static struct cq_slice pack(struct ctl *ctl, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = cq_pool_alloc(ctl->pool, len);
    protobuf_c_message_pack(message, data);
    return cq_slice_of(data, len);
}

/* In the Call that every method of the shard has around it. */
struct cq_slice ctl_wrap(struct ctl *ctl, const ProtobufCMessage *message)
{
    Chasqui__Mail__Call call = CHASQUI__MAIL__CALL__INIT;
    struct cq_slice body = pack(ctl, message);
    call.body = (ProtobufCBinaryData){.len = body.len, .data = (uint8_t *)(uintptr_t)body.data};
    return pack(ctl, &call.base);
}

Chasqui__Mail__Answer *ctl_answer(const struct rpc_reply_in *reply)
{
    return chasqui__mail__answer__unpack(NULL, reply->message.len, reply->message.data);
}

enum ctl_exit ctl_complain(const char *address, enum rpc_fate fate, const struct rpc_reply_in *reply,
                           const struct cq_err *err)
{
    Chasqui__Mail__Answer *answer = fate == RPC_ANSWERED ? ctl_answer(reply) : NULL;
    const char *text = answer && answer->text && answer->text[0] ? answer->text
                       : err->text[0]                            ? err->text
                                                                 : cq_rc_text(reply->rc);
    fprintf(stderr, "chasquictl: %s: %s\n", address, text);
    if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
    return ctl_exit_of(fate, reply->rc);
}

/* One node's answer; CTL_UNREACHABLE: it does not lead the system shard. */
static enum ctl_exit ask_topology(struct ctl *ctl, const char *address, uint16_t method, bool quiet,
                                  const struct topology **topology_r)
{
    Chasqui__System__GetTopology message = CHASQUI__SYSTEM__GET_TOPOLOGY__INIT;
    const struct ctl_call call = {
        .address = address,
        .peer_roles = RPC_ROLE_STORAGE,
        .method = method,
        .message = ctl_wrap(ctl, &message.base),
    };
    struct rpc_reply_in reply = {0};
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
    if (fate == RPC_ANSWERED && reply.rc == CQ_E_NOT_LEADER)
        return CTL_UNREACHABLE;
    if (fate != RPC_ANSWERED || reply.rc != CQ_OK)
        return quiet ? ctl_exit_of(fate, reply.rc) : ctl_complain(call.address, fate, &reply, &err);
    Chasqui__Mail__Answer *answer = ctl_answer(&reply);
    enum cq_rc rc = answer ? topology_decode(cq_slice_of(answer->body.data, answer->body.len), topology_r, &err)
                           : CQ_FAIL(&err, CQ_E_PROTO, "the answer does not decode");
    if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
    if (rc == CQ_OK)
        return CTL_DONE;
    fprintf(stderr, "chasquictl: %s: %s\n", address, err.text);
    return CTL_REFUSED;
}

static bool is_in_settings(const struct ctl *ctl, const char *address)
{
    for (size_t i = 0; i < ctl->settings.storage.count; i++)
        if (strcmp(ctl->settings.storage.items[i], address) == 0)
            return true;
    return false;
}

/* None of the nodes of the settings leads: one of them knows the others. */
static enum ctl_exit ask_others(struct ctl *ctl, const struct topology **topology_r)
{
    const struct topology *known = NULL;
    enum ctl_exit status = CTL_UNREACHABLE;
    for (size_t i = 0; i < ctl->settings.storage.count && !known; i++)
        ask_topology(ctl, ctl->settings.storage.items[i], CHASQUI__SYSTEM__METHOD__TOPOLOGY_KNOWN, true, &known);
    for (size_t i = 0; known && i < known->node_count && status != CTL_DONE; i++)
        if (known->nodes[i].state != TOPOLOGY_NODE_GONE && !is_in_settings(ctl, known->nodes[i].address))
            status =
                ask_topology(ctl, known->nodes[i].address, CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, true, topology_r);
    topology_unref(&known);
    return status;
}

static enum ctl_exit find_topology(struct ctl *ctl, bool quiet, const struct topology **topology_r)
{
    enum ctl_exit status = CTL_UNREACHABLE;
    for (size_t i = 0; i < ctl->settings.storage.count; i++) {
        enum ctl_exit one =
            ask_topology(ctl, ctl->settings.storage.items[i], CHASQUI__SYSTEM__METHOD__GET_TOPOLOGY, quiet, topology_r);
        if (one == CTL_DONE)
            return one;
        status = one == CTL_UNREACHABLE ? status : one;
    }
    return ask_others(ctl, topology_r) == CTL_DONE ? CTL_DONE : status;
}

enum ctl_exit ctl_topology_quietly(struct ctl *ctl, const struct topology **topology_r)
{
    return find_topology(ctl, true, topology_r);
}

static void say_leaderless(void)
{
    fprintf(stderr,
            "chasquictl: no storage node leads the system shard; is the cluster initialised and a majority of its "
            "nodes up?\n");
}

/* Does any node say that it only does not lead? Then there is an election, or the leadership passes. */
static bool is_being_elected(struct ctl *ctl)
{
    const struct topology *known = NULL;
    for (size_t i = 0; i < ctl->settings.storage.count && !known; i++)
        ask_topology(ctl, ctl->settings.storage.items[i], CHASQUI__SYSTEM__METHOD__TOPOLOGY_KNOWN, true, &known);
    bool up = known != NULL;
    topology_unref(&known);
    return up;
}

static void say_waiting(struct ctl *ctl, uint64_t waited_us)
{
    if (ctl->told_of_election || waited_us < CTL_ELECTION_SAY_US)
        return;
    ctl->told_of_election = true;
    fprintf(stderr, "chasquictl: waiting until a storage node leads the system shard\n");
}

bool ctl_wait_for_leader(struct ctl *ctl, uint64_t began_us)
{
    uint64_t waited_us = cq_time_mono_us() - began_us;
    if (waited_us >= CTL_ELECTION_US || !is_being_elected(ctl))
        return false;
    say_waiting(ctl, waited_us);
    return io_fiber_sleep(CTL_ELECTION_PAUSE_MS) == CQ_OK;
}

/* Whoever was asked has died before the answer, or lost the lead meanwhile. Asking changes nothing, so it is asked
 * again. */
static bool may_be_better_soon(enum ctl_exit status)
{
    return status == CTL_UNREACHABLE || status == CTL_LATER || status == CTL_UNKNOWN;
}

/* find_topology, and while somebody is being elected again. What is in the way is said once. */
static enum ctl_exit await_topology(struct ctl *ctl, bool quiet, const struct topology **topology_r)
{
    uint64_t began = cq_time_mono_us();
    enum ctl_exit status = find_topology(ctl, quiet, topology_r);
    while (may_be_better_soon(status) && ctl_wait_for_leader(ctl, began))
        status = find_topology(ctl, true, topology_r);
    return status;
}

enum ctl_exit ctl_topology(struct ctl *ctl, const struct topology **topology_r)
{
    enum ctl_exit status = await_topology(ctl, false, topology_r);
    if (status == CTL_UNREACHABLE)
        say_leaderless();
    return status;
}

static Chasqui__System__NodeGroups *get_groups(struct ctl *ctl, const char *address, bool quiet)
{
    Chasqui__Mail__Empty message = CHASQUI__MAIL__EMPTY__INIT;
    const struct ctl_call call = {
        .address = address,
        .peer_roles = RPC_ROLE_STORAGE,
        .method = CHASQUI__SYSTEM__METHOD__NODE_GROUPS,
        .message = ctl_wrap(ctl, &message.base),
    };
    struct rpc_reply_in reply;
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
    if (fate != RPC_ANSWERED || reply.rc != CQ_OK) {
        if (!quiet)
            ctl_complain(address, fate, &reply, &err);
        return NULL;
    }
    Chasqui__Mail__Answer *answer = ctl_answer(&reply);
    Chasqui__System__NodeGroups *groups =
        answer ? chasqui__system__node_groups__unpack(NULL, answer->body.len, answer->body.data) : NULL;
    if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
    return groups;
}

/* The node's own, or NULL: another one may have come to the address of one that is dead. */
static Chasqui__System__NodeGroups *look_at(struct ctl *ctl, const struct topology_node *node, bool quiet)
{
    Chasqui__System__NodeGroups *groups = get_groups(ctl, node->address, quiet);
    bool own = groups && groups->node.len == sizeof node->uuid &&
               memcmp(groups->node.data, node->uuid, sizeof node->uuid) == 0;
    if (groups && !own) {
        chasqui__system__node_groups__free_unpacked(groups, NULL);
        groups = NULL;
        if (!quiet)
            fprintf(stderr, "chasquictl: at %s another node answers than %s\n", node->address,
                    ctl_uuid_text(ctl, node->uuid));
    }
    return groups;
}

enum ctl_exit ctl_look(struct ctl *ctl, bool quiet, struct ctl_view *view)
{
    enum ctl_exit status = await_topology(ctl, quiet, &view->topology);
    if (status == CTL_UNREACHABLE && !quiet)
        say_leaderless();
    if (status != CTL_DONE)
        return status;
    view->groups = cq_pool_calloc(ctl->pool, view->topology->node_count, sizeof(Chasqui__System__NodeGroups *));
    for (size_t i = 0; i < view->topology->node_count; i++)
        if (view->topology->nodes[i].state != TOPOLOGY_NODE_GONE)
            view->groups[i] = look_at(ctl, &view->topology->nodes[i], quiet);
    return CTL_DONE;
}

void ctl_view_release(struct ctl_view *view)
{
    for (size_t i = 0; view->topology && i < view->topology->node_count; i++)
        if (view->groups[i])
            chasqui__system__node_groups__free_unpacked(view->groups[i], NULL);
    topology_unref(&view->topology);
}

const Chasqui__System__ReplicaState *ctl_find_leader(const struct ctl_view *view, uint32_t group, size_t *node_r)
{
    const Chasqui__System__ReplicaState *best = NULL;
    for (size_t n = 0; n < view->topology->node_count; n++)
        for (size_t i = 0; view->groups[n] && i < view->groups[n]->n_replicas; i++) {
            const Chasqui__System__ReplicaState *r = view->groups[n]->replicas[i];
            if (r->group != group || strcmp(r->role, "leader") != 0 || (best && best->term >= r->term))
                continue;
            best = r;
            *node_r = n;
        }
    return best;
}

char *ctl_uuid_text(struct ctl *ctl, const uint8_t uuid[static 16])
{
    struct cq_buf hex;
    cq_buf_init(&hex, 64);
    cq_hex_add(&hex, cq_slice_of(uuid, 16));
    char *text =
        cq_pool_printf(ctl->pool, "%.8s-%.4s-%.4s-%.4s-%.12s", (const char *)hex.data, (const char *)hex.data + 8,
                       (const char *)hex.data + 12, (const char *)hex.data + 16, (const char *)hex.data + 20);
    cq_buf_fini(&hex);
    return text;
}

char *ctl_number(struct ctl *ctl, uint64_t value)
{
    return cq_pool_printf(ctl->pool, "%llu", (unsigned long long)value);
}

char **ctl_cells(struct ctl *ctl, const char *const *texts, size_t count)
{
    char **cells = cq_pool_alloc(ctl->pool, (count + 1) * sizeof *cells);
    for (size_t i = 0; i < count; i++)
        cells[i] = (char *)(uintptr_t)texts[i];
    cells[count] = NULL;
    return cells;
}
static void cluster_status(struct ctl *ctl, const struct ctl_view *view, struct ctl_rows *rows)
{
    const struct topology *t = view->topology;
    size_t up = 0, led = 0, shards = 0, node;
    for (size_t i = 0; i < t->node_count; i++)
        up += view->groups[i] != NULL;
    for (size_t i = 0; i < t->shard_count; i++) {
        shards += t->shards[i].group != 0;
        led += t->shards[i].group != 0 && ctl_find_leader(view, t->shards[i].group, &node) != NULL;
    }
    CTL_ADD_ROW(ctl, rows, t->cluster, ctl_number(ctl, t->epoch), ctl_number(ctl, t->node_count), ctl_number(ctl, up),
                ctl_number(ctl, shards), ctl_number(ctl, led));
}

static const char *const state_names[] = {
    [TOPOLOGY_NODE_NONE] = "unknown",      [TOPOLOGY_NODE_JOINING] = "joining", [TOPOLOGY_NODE_UP] = "up",
    [TOPOLOGY_NODE_DRAINING] = "draining", [TOPOLOGY_NODE_GONE] = "gone",
};

const char *ctl_node_state(const struct topology_node *node)
{
    return node->leaving ? "leaving" : state_names[node->state];
}

/* Entries that its worst replica lacks, as the group's leader has committed them. */
static uint64_t largest_lag(const struct ctl_view *view, const Chasqui__System__NodeGroups *groups)
{
    uint64_t lag = 0;
    for (size_t i = 0; groups && i < groups->n_replicas; i++) {
        size_t node;
        const Chasqui__System__ReplicaState *r = groups->replicas[i];
        const Chasqui__System__ReplicaState *leader = ctl_find_leader(view, r->group, &node);
        if (leader && leader->commit_index > r->applied_index && leader->commit_index - r->applied_index > lag)
            lag = leader->commit_index - r->applied_index;
    }
    return lag;
}

/* Messages are freed before the rows are printed. */
static char *text_of(struct ctl *ctl, const char *text)
{
    return cq_pool_cstr(ctl->pool, cq_slice_cstr(text));
}

static void node_list(struct ctl *ctl, const struct ctl_view *view, struct ctl_rows *rows)
{
    const struct topology *t = view->topology;
    for (size_t n = 0; n < t->node_count; n++) {
        const struct topology_node *node = &t->nodes[n];
        const Chasqui__System__NodeGroups *groups = view->groups[n];
        uint64_t leads = 0;
        for (size_t i = 0; groups && i < groups->n_replicas; i++)
            leads += strcmp(groups->replicas[i]->role, "leader") == 0;
        bool gone = node->state == TOPOLOGY_NODE_GONE;
        CTL_ADD_ROW(ctl, rows, ctl_uuid_text(ctl, node->uuid), node->address, node->region, node->dc, node->zone,
                    groups || gone ? ctl_node_state(node) : "unreachable",
                    ctl_number(ctl, groups ? groups->n_replicas : 0), ctl_number(ctl, leads),
                    ctl_number(ctl, largest_lag(view, groups)), ctl_number(ctl, groups ? groups->disk_free : 0),
                    ctl_number(ctl, groups ? groups->disk_size : 0), node->version,
                    text_of(ctl, groups ? groups->disk : ""), text_of(ctl, groups ? groups->space : ""),
                    ctl_number(ctl, groups ? groups->ballast_bytes : 0));
    }
}

static uint64_t slots_of(const struct topology *t, uint32_t group)
{
    uint64_t slots = 0;
    for (size_t i = 0; i < t->range_count; i++)
        if (t->ranges[i].group == group)
            slots += t->ranges[i].last - t->ranges[i].first + 1;
    return slots;
}

static void shard_list(struct ctl *ctl, const struct ctl_view *view, struct ctl_rows *rows)
{
    const struct topology *t = view->topology;
    for (size_t i = 0; i < t->shard_count; i++) {
        const struct topology_shard *shard = &t->shards[i];
        size_t node = 0;
        const Chasqui__System__ReplicaState *leader = ctl_find_leader(view, shard->group, &node);
        CTL_ADD_ROW(ctl, rows, ctl_number(ctl, shard->group), shard->home, ctl_number(ctl, slots_of(t, shard->group)),
                    leader ? ctl_uuid_text(ctl, t->nodes[node].uuid) : "", ctl_number(ctl, leader ? leader->term : 0),
                    ctl_number(ctl, shard->replica_count));
    }
}

static char *digest_text(struct ctl *ctl, ProtobufCBinaryData digest)
{
    struct cq_buf hex;
    cq_buf_init(&hex, 64);
    cq_hex_add(&hex, cq_slice_of(digest.data, digest.len <= 16 ? digest.len : 16));
    char *text = cq_pool_cstr(ctl->pool, cq_buf_slice(&hex));
    cq_buf_fini(&hex);
    return text;
}

static void shard_replicas(struct ctl *ctl, const struct ctl_view *view, struct ctl_rows *rows)
{
    const struct topology *t = view->topology;
    for (size_t n = 0; n < t->node_count; n++)
        for (size_t i = 0; view->groups[n] && i < view->groups[n]->n_replicas; i++) {
            const Chasqui__System__ReplicaState *r = view->groups[n]->replicas[i];
            CTL_ADD_ROW(ctl, rows, ctl_number(ctl, r->group), ctl_uuid_text(ctl, t->nodes[n].uuid),
                        cq_pool_cstr(ctl->pool, cq_slice_cstr(r->role)), ctl_number(ctl, r->term),
                        ctl_number(ctl, r->first_index), ctl_number(ctl, r->commit_index),
                        ctl_number(ctl, r->applied_index), digest_text(ctl, r->digest));
        }
}

static const Chasqui__System__ReplicaState *replica_on(const struct ctl_view *view, size_t node)
{
    for (size_t i = 0; view->groups[node] && i < view->groups[node]->n_replicas; i++)
        if (view->groups[node]->replicas[i]->group == view->shard)
            return view->groups[node]->replicas[i];
    return NULL;
}

/* The replicas of the map, also those whose node does not answer. */
static void shard_show(struct ctl *ctl, const struct ctl_view *view, struct ctl_rows *rows)
{
    const struct topology *t = view->topology;
    const struct topology_shard *shard = topology_shard(t, view->shard);
    for (size_t i = 0; shard && i < shard->replica_count; i++) {
        const struct topology_node *node = &t->nodes[shard->replicas[i].node];
        const Chasqui__System__ReplicaState *r = replica_on(view, shard->replicas[i].node);
        const char *role = r ? r->role : view->groups[shard->replicas[i].node] ? "missing" : "unreachable";
        CTL_ADD_ROW(ctl, rows, ctl_uuid_text(ctl, node->uuid), node->address, ctl_number(ctl, shard->replicas[i].id),
                    cq_pool_cstr(ctl->pool, cq_slice_cstr(role)), ctl_number(ctl, r ? r->term : 0),
                    ctl_number(ctl, r ? r->first_index : 0), ctl_number(ctl, r ? r->applied_index : 0),
                    ctl_number(ctl, r ? r->generation : 0), cq_pool_cstr(ctl->pool, cq_slice_cstr(r ? r->reseed : "")),
                    ctl_number(ctl, r ? r->reseed_bytes : 0), ctl_number(ctl, r ? r->reseed_chunks : 0),
                    text_of(ctl, r ? r->space : ""));
    }
}

uint32_t ctl_number_field(const struct ctl_request *request, const char *name)
{
    struct cq_slice text;
    uint64_t value = 0;
    if (ctl_field(request, name, &text) && !cq_slice_u64(text, UINT32_MAX, &value))
        value = UINT32_MAX; /* the node refuses it with its own limit */
    return (uint32_t)value;
}

static enum ctl_exit cluster_init(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows)
{
    Chasqui__System__ClusterInit message = CHASQUI__SYSTEM__CLUSTER_INIT__INIT;
    message.addresses = cq_pool_alloc(ctl->pool, request->field_count * sizeof *message.addresses);
    for (size_t i = 0; i < request->field_count; i++)
        if (strcmp(request->fields[i].name, "address") == 0)
            message.addresses[message.n_addresses++] = cq_pool_cstr(ctl->pool, request->fields[i].value);
    message.shards = ctl_number_field(request, "shards");
    message.replicas = ctl_number_field(request, "replicas");
    const struct ctl_call call = {
        .address = message.addresses[0],
        .peer_roles = RPC_ROLE_STORAGE,
        .method = CHASQUI__SYSTEM__METHOD__CLUSTER_INIT,
        .command = true,
        .message = ctl_wrap(ctl, &message.base),
    };
    struct rpc_reply_in reply;
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(ctl, &call, &reply, &err);
    if (fate != RPC_ANSWERED || reply.rc != CQ_OK)
        return ctl_complain(call.address, fate, &reply, &err);
    Chasqui__Mail__Answer *answer = ctl_answer(&reply);
    Chasqui__System__Changed *changed =
        answer ? chasqui__system__changed__unpack(NULL, answer->body.len, answer->body.data) : NULL;
    CTL_ADD_ROW(ctl, rows, ctl_number(ctl, changed ? changed->epoch : 0));
    if (changed)
        chasqui__system__changed__free_unpacked(changed, NULL);
    if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
    return CTL_DONE;
}

static const struct {
    const char *command;
    void (*show)(struct ctl *ctl, const struct ctl_view *view, struct ctl_rows *rows);
} views[] = {
    {"cluster status", cluster_status}, {"node list", node_list},           {"shard list", shard_list},
    {"shard show", shard_show},         {"shard replicas", shard_replicas},
};

enum ctl_exit ctl_run_storage(struct ctl *ctl, const struct ctl_request *request)
{
    struct ctl_rows rows = {0};
    const struct topology *planned_on = NULL;
    struct ctl_view view = {.shard = ctl_number_field(request, "shard")};
    struct cq_slice text;
    struct cq_buf out;
    enum ctl_exit status;
    if (strcmp(request->command->name, "cluster init") == 0)
        status = cluster_init(ctl, request, &rows);
    else if (strcmp(request->command->name, "shard release") == 0)
        status = ctl_release_shard(ctl, ctl_number_field(request, "shard"), &rows);
    else if (strcmp(request->command->name, "node release-ballast") == 0)
        status = ctl_release_ballast(ctl, request, &rows);
    else if (strcmp(request->command->name, "shard recover") == 0)
        status = ctl_recover(ctl, view.shard, ctl_field(request, "accept-loss", &text), &rows);
    else if (strcmp(request->command->name, "verify") == 0)
        status = ctl_verify(ctl, ctl_number_field(request, "shard"), &rows);
    else if (ctl_is_upgrade_command(request))
        status = ctl_upgrade(ctl, request, &rows);
    else if (ctl_is_member_command(request))
        status = ctl_member(ctl, request, &rows, &planned_on);
    else
        status = ctl_look(ctl, false, &view);
    for (size_t i = 0; status == CTL_DONE && i < sizeof views / sizeof *views; i++)
        if (strcmp(request->command->name, views[i].command) == 0)
            views[i].show(ctl, &view, &rows);
    if (status == CTL_DONE || rows.count) {
        cq_buf_init(&out, CTL_OUTPUT_MAX);
        ctl_print(ctl, request->command, &rows, &out);
        fwrite(out.data, 1, out.len, stdout);
        cq_buf_fini(&out);
    }
    ctl_view_release(&view);
    topology_unref(&planned_on);
    return status;
}
