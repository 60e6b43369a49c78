/* chasquictl verify: each node checks its own replica of a shard; then the digests of those that are sound are compared
 * at an index that all of them have passed. One shard after the other, its replicas at the same time. */
#include "ctl_storage.h"

#include "base/cq_time.h"
#include "io/io_fiber.h"

#include <stdio.h>
#include <string.h>

#define POLL_MIN_MS 50
#define POLL_MAX_MS 1000
#define COMPARE_MS 200 /* between two looks for an index that all have passed, */
#define COMPARE_TRIES 25

enum result { CHECKING, SOUND, DAMAGED, DIFFERS, UNCOMPARED, FAILED, UNREACHABLE };
static const char *const result_names[] = {
    [SOUND] = "sound",           [DAMAGED] = "damaged", [DIFFERS] = "differs",
    [UNCOMPARED] = "uncompared", [FAILED] = "failed",   [UNREACHABLE] = "unreachable",
};

struct one {
    const struct topology_node *node;
    enum result result;
    char detail[CQ_ERR_TEXT_SIZE];
    uint64_t records, chunks, bytes, compared_at;
    Chasqui__System__VerifyState *points; /* the answer that has them */
};

struct verify {
    struct ctl *ctl;
    const struct topology_shard *shard;
    struct one at[TOPOLOGY_REPLICAS_MAX];
    size_t count;
};

/* ---- Asking ---- */

static enum result ask(struct verify *v, struct one *one, uint16_t method, const ProtobufCMessage *message,
                       Chasqui__Mail__Answer **answer_r)
{
    const struct ctl_call call = {
        .address = one->node->address,
        .peer_roles = RPC_ROLE_STORAGE,
        .method = method,
        .command = method != CHASQUI__SYSTEM__METHOD__VERIFY_STATE && method != CHASQUI__SYSTEM__METHOD__NODE_INFO,
        .message = ctl_wrap(v->ctl, message),
    };
    struct rpc_reply_in reply = {0};
    struct cq_err err = {0};
    enum rpc_fate fate = ctl_rpc(v->ctl, &call, &reply, &err);
    Chasqui__Mail__Answer *answer = fate == RPC_ANSWERED ? ctl_answer(&reply) : NULL;
    enum result result = fate != RPC_ANSWERED ? UNREACHABLE : reply.rc != CQ_OK || !answer ? FAILED : CHECKING;
    if (result != CHECKING)
        snprintf(one->detail, sizeof one->detail, "%s",
                 answer && answer->text && answer->text[0] ? answer->text
                 : err.text[0]                             ? err.text
                                                           : cq_rc_text(reply.rc));
    if (answer_r && result == CHECKING)
        *answer_r = answer;
    else if (answer)
        chasqui__mail__answer__free_unpacked(answer, NULL);
    return result;
}

/* Another node may have come to the address of one that is dead, and its replica must not count for two. */
static bool is_another(struct verify *v, struct one *one)
{
    Chasqui__Mail__Empty message = CHASQUI__MAIL__EMPTY__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    one->result = ask(v, one, CHASQUI__SYSTEM__METHOD__NODE_INFO, &message.base, &answer);
    Chasqui__System__NodeInfo *info =
        answer ? chasqui__system__node_info__unpack(NULL, answer->body.len, answer->body.data) : NULL;
    bool another = info && !(info->node && info->node->uuid.len == sizeof one->node->uuid &&
                             memcmp(info->node->uuid.data, one->node->uuid, sizeof one->node->uuid) == 0);
    if (info)
        chasqui__system__node_info__free_unpacked(info, NULL);
    ctl_free_answer(answer);
    return another;
}

static void begin(struct verify *v, struct one *one)
{
    Chasqui__System__VerifyReplica message = CHASQUI__SYSTEM__VERIFY_REPLICA__INIT;
    message.group = v->shard->group;
    if (is_another(v, one)) {
        one->result = UNREACHABLE;
        snprintf(one->detail, sizeof one->detail, "another node answers at its address");
    }
    if (one->result == CHECKING)
        one->result = ask(v, one, CHASQUI__SYSTEM__METHOD__VERIFY_REPLICA, &message.base, NULL);
}

static Chasqui__System__VerifyState *get_state(struct verify *v, struct one *one, bool points)
{
    Chasqui__System__VerifyReplica message = CHASQUI__SYSTEM__VERIFY_REPLICA__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    Chasqui__System__VerifyState *state = NULL;
    message.group = v->shard->group;
    message.points = points;
    enum result result = ask(v, one, CHASQUI__SYSTEM__METHOD__VERIFY_STATE, &message.base, &answer);
    if (answer) {
        state = chasqui__system__verify_state__unpack(NULL, answer->body.len, answer->body.data);
        chasqui__mail__answer__free_unpacked(answer, NULL);
        result = state ? CHECKING : FAILED;
    }
    if (!state)
        one->result = result;
    return state;
}

static void take_state(struct one *one, const Chasqui__System__VerifyState *state)
{
    static const struct {
        const char *name;
        enum result result;
    } ends[] = {{"sound", SOUND}, {"damaged", DAMAGED}, {"failed", FAILED}, {"", FAILED}};
    one->records = state->records;
    one->chunks = state->chunks;
    one->bytes = state->bytes;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(state->state, ends[i].name) == 0)
            one->result = ends[i].result;
    if (one->result == DAMAGED || one->result == FAILED)
        snprintf(one->detail, sizeof one->detail, "%s",
                 state->text[0] ? state->text : "the node has been restarted meanwhile");
}

static void look(struct verify *v, struct one *one)
{
    Chasqui__System__VerifyState *state = get_state(v, one, false);
    if (!state)
        return;
    take_state(one, state);
    chasqui__system__verify_state__free_unpacked(state, NULL);
}

/* Until all replicas have ended. */
static void check_all(struct verify *v)
{
    uint64_t ms = POLL_MIN_MS;
    bool running = true;
    for (size_t i = 0; i < v->count; i++)
        begin(v, &v->at[i]);
    while (running) {
        running = false;
        for (size_t i = 0; i < v->count; i++) {
            if (v->at[i].result == CHECKING)
                look(v, &v->at[i]);
            running |= v->at[i].result == CHECKING;
        }
        if (running && io_fiber_sleep(ms) != CQ_OK)
            return;
        ms = ms * 2 < POLL_MAX_MS ? ms * 2 : POLL_MAX_MS;
    }
}

/* ---- Comparing ---- */

static const Chasqui__System__DigestPoint *point_at(const struct one *one, uint64_t index)
{
    for (size_t i = 0; i < one->points->n_points; i++)
        if (one->points->points[i]->index == index && one->points->points[i]->digest.len == 16)
            return one->points->points[i];
    return NULL;
}

static bool is_equal(const struct one *a, const struct one *b, uint64_t index)
{
    return memcmp(point_at(a, index)->digest.data, point_at(b, index)->digest.data, 16) == 0;
}

static bool takes_part(const struct one *one)
{
    return one->result == SOUND && one->points;
}

static void drop_points(struct verify *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->at[i].points) {
            chasqui__system__verify_state__free_unpacked(v->at[i].points, NULL);
            v->at[i].points = NULL;
        }
}

/* The highest index that all have a digest of; 0: there is none. */
static uint64_t common_index(const struct verify *v)
{
    const struct one *first = NULL;
    uint64_t best = 0;
    for (size_t i = 0; i < v->count && !first; i++)
        first = takes_part(&v->at[i]) ? &v->at[i] : NULL;
    for (size_t p = 0; first && p < first->points->n_points; p++) {
        uint64_t index = first->points->points[p]->index;
        bool all = index > best;
        for (size_t i = 0; i < v->count && all; i++)
            all = !takes_part(&v->at[i]) || point_at(&v->at[i], index);
        best = all ? index : best;
    }
    return best;
}

static uint64_t find_common(struct verify *v)
{
    uint64_t index = 0;
    for (int tries = 0; index == 0 && tries < COMPARE_TRIES; tries++) {
        if (tries && io_fiber_sleep(COMPARE_MS) != CQ_OK)
            return 0;
        drop_points(v);
        for (size_t i = 0; i < v->count; i++)
            if (v->at[i].result == SOUND)
                v->at[i].points = get_state(v, &v->at[i], true);
        index = common_index(v);
    }
    return index;
}

static size_t equal_to(const struct verify *v, const struct one *one, uint64_t index)
{
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++)
        n += takes_part(&v->at[i]) && is_equal(one, &v->at[i], index);
    return n;
}

/* The one with which most replicas of the shard are equal; NULL: there are too few of a kind to say who is right. */
static const struct one *find_right(const struct verify *v, uint64_t index)
{
    for (size_t i = 0; i < v->count; i++)
        if (takes_part(&v->at[i]) && 2 * equal_to(v, &v->at[i], index) > v->count)
            return &v->at[i];
    return NULL;
}

static void distrust(struct verify *v, struct one *one, uint64_t index)
{
    Chasqui__System__DistrustReplica message = CHASQUI__SYSTEM__DISTRUST_REPLICA__INIT;
    Chasqui__System__DigestPoint own = *point_at(one, index);
    message.group = v->shard->group;
    message.own = &own;
    if (ask(v, one, CHASQUI__SYSTEM__METHOD__DISTRUST_REPLICA, &message.base, NULL) == CHECKING)
        snprintf(one->detail, sizeof one->detail, "its digest is not that of most replicas");
}

static void judge(struct verify *v, uint64_t index)
{
    const struct one *right = find_right(v, index), *first = NULL;
    for (size_t i = 0; i < v->count; i++) {
        struct one *one = &v->at[i];
        if (!takes_part(one))
            continue;
        first = first ? first : one;
        one->compared_at = index;
        if (is_equal(right ? right : first, one, index))
            continue;
        one->result = DIFFERS;
        if (right)
            distrust(v, one, index);
        else
            snprintf(one->detail, sizeof one->detail, "the digests differ, and no majority says which is right");
    }
}

static void compare(struct verify *v)
{
    size_t sound = 0;
    for (size_t i = 0; i < v->count; i++)
        sound += v->at[i].result == SOUND;
    if (sound < 2)
        return;
    uint64_t index = find_common(v);
    if (index)
        judge(v, index);
    for (size_t i = 0; i < v->count && !index; i++)
        if (v->at[i].result == SOUND) {
            v->at[i].result = UNCOMPARED;
            snprintf(v->at[i].detail, sizeof v->at[i].detail, "sound; the replicas have not passed a common index yet");
        }
    drop_points(v);
}

/* ---- One shard, all shards ---- */

static void show(struct verify *v, struct ctl_rows *rows)
{
    struct ctl *ctl = v->ctl;
    for (size_t i = 0; i < v->count; i++) {
        const struct one *one = &v->at[i];
        CTL_ADD_ROW(ctl, rows, ctl_number(ctl, v->shard->group), ctl_uuid_text(ctl, one->node->uuid),
                    cq_pool_cstr(ctl->pool, cq_slice_cstr(one->node->address)), result_names[one->result],
                    one->compared_at ? ctl_number(ctl, one->compared_at) : "", ctl_number(ctl, one->records),
                    ctl_number(ctl, one->chunks), ctl_number(ctl, one->bytes),
                    cq_pool_cstr(ctl->pool, cq_slice_cstr(one->detail)));
    }
}

struct tally {
    size_t replicas, wrong, open, shards;
};

static void verify_shard(struct verify *v, const struct topology *t, struct tally *tally, struct ctl_rows *rows)
{
    size_t sound = 0;
    for (size_t i = 0; i < v->shard->replica_count && v->count < TOPOLOGY_REPLICAS_MAX; i++)
        v->at[v->count++] = (struct one){.node = &t->nodes[v->shard->replicas[i].node]};
    check_all(v);
    compare(v);
    for (size_t i = 0; i < v->count; i++) {
        enum result result = v->at[i].result = v->at[i].result == CHECKING ? FAILED : v->at[i].result;
        sound += result == SOUND;
        tally->wrong += result == DAMAGED || result == DIFFERS;
        tally->open += result == UNCOMPARED || result == FAILED || result == UNREACHABLE;
    }
    tally->replicas += v->count;
    tally->shards++;
    show(v, rows);
    fprintf(stderr, "chasquictl: shard %u: %zu of %zu replicas are sound and equal\n", v->shard->group, sound,
            v->count);
}

static enum ctl_exit conclude(const struct tally *tally)
{
    if (tally->wrong)
        fprintf(stderr,
                "chasquictl: %zu of %zu replicas are damaged. Each goes on voting while it is copied from a sound "
                "one, except where no majority says which that is: keep those nodes' data and ask for help. "
                "\"chasquictl shard show SHARD\" shows the copying; then verify --shard SHARD again. Look at the "
                "node's disk and memory: damage has a cause.\n",
                tally->wrong, tally->replicas);
    if (tally->open)
        fprintf(stderr,
                "chasquictl: %zu of %zu replicas could not be checked or compared; the last column says why. Repeat "
                "verify when their nodes are up and nothing is being copied.\n",
                tally->open, tally->replicas);
    return tally->wrong ? CTL_REFUSED : tally->open ? CTL_LATER : CTL_DONE;
}

enum ctl_exit ctl_verify(struct ctl *ctl, uint32_t shard, struct ctl_rows *rows)
{
    const struct topology *topology = NULL;
    struct tally tally = {0};
    enum ctl_exit status = ctl_topology(ctl, &topology);
    if (status != CTL_DONE)
        return status;
    for (size_t i = 0; i < topology->shard_count; i++) {
        struct verify v = {.ctl = ctl, .shard = &topology->shards[i]};
        if (!shard || v.shard->group == shard)
            verify_shard(&v, topology, &tally, rows);
    }
    topology_unref(&topology);
    if (shard && tally.shards == 0) {
        fprintf(stderr, "chasquictl: there is no shard %u; see chasquictl shard list\n", shard);
        return CTL_REFUSED;
    }
    return conclude(&tally);
}
