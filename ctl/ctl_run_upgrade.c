/* chasquictl upgrade: which node can apply what, what is finalized, and finalizing. The system shard judges a finalize
 * once more by itself; the shards follow by themselves, so --watch only looks on. */
#include "ctl_storage.h"

#include "io/io_fiber.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_COLUMN 9 /* of `upgrade status` */
#define WATCH_MS 500
#define WATCH_SAY_EVERY 10 /* looks between two words when nothing has changed */

/* How far the cluster is. */
struct stand {
    uint32_t finalized, lowest, target; /* target: the highest that a node knows */
    size_t shards, raised;              /* the system shard is one of them; raised: the leader says so */
};

static struct stand stand_of(const struct ctl_view *view)
{
    const struct topology *t = view->topology;
    struct stand s = {.finalized = t->finalized_version, .shards = t->shard_count};
    topology_versions(t, &s.lowest, &s.target);
    for (size_t i = 0; i < t->shard_count; i++) {
        size_t node;
        const Chasqui__System__ReplicaState *leader = ctl_find_leader(view, t->shards[i].group, &node);
        s.raised += leader && leader->active_version >= t->finalized_version;
    }
    return s;
}

/* What the process that answers there now can apply; 0: nobody answers. It may have another build than registered last.
 */
static uint32_t running_version(struct ctl *ctl, const char *address)
{
    Chasqui__Mail__Empty message = CHASQUI__MAIL__EMPTY__INIT;
    Chasqui__Mail__Answer *answer = ctl_ask_node(ctl, address, CHASQUI__SYSTEM__METHOD__NODE_INFO, &message.base);
    Chasqui__System__NodeInfo *info =
        answer ? chasqui__system__node_info__unpack(NULL, answer->body.len, answer->body.data) : NULL;
    uint32_t version = info && info->node ? info->node->command_version : 0;
    if (info && info->node && !version)
        version = 1;
    if (info)
        chasqui__system__node_info__free_unpacked(info, NULL);
    ctl_free_answer(answer);
    return version;
}

/* Why the node keeps a version from being finalized; "": it does not. */
static const char *block_of(struct ctl *ctl, const struct topology_node *node, uint32_t target, uint32_t running)
{
    uint32_t known = running && running < node->command_version ? running : node->command_version;
    if (node->state == TOPOLOGY_NODE_GONE)
        return "";
    if (known < target)
        return cq_pool_printf(ctl->pool, "can apply %u, not %u: %supgrade it%s", known, target,
                              running ? "" : "it does not answer; ", running ? "" : ", or decommission it");
    return running ? "" : "does not answer, and may come back as another version: start it, or decommission it";
}

static uint64_t raised_on(const struct ctl_view *view, size_t n, uint64_t *leads_r)
{
    uint64_t raised = 0;
    *leads_r = 0;
    for (size_t i = 0; view->groups[n] && i < view->groups[n]->n_replicas; i++) {
        const Chasqui__System__ReplicaState *r = view->groups[n]->replicas[i];
        bool leads = strcmp(r->role, "leader") == 0;
        *leads_r += leads;
        raised += leads && r->active_version >= view->topology->finalized_version;
    }
    return raised;
}

/* One row for each node that has not gone. Returns how many are in the way. */
static size_t node_rows(struct ctl *ctl, const struct ctl_view *view, const struct stand *s, struct ctl_rows *rows)
{
    const struct topology *t = view->topology;
    size_t blocked = 0;
    for (size_t n = 0; n < t->node_count; n++) {
        const struct topology_node *node = &t->nodes[n];
        if (node->state == TOPOLOGY_NODE_GONE)
            continue;
        uint32_t running = view->groups[n] ? running_version(ctl, node->address) : 0;
        uint64_t leads, raised = raised_on(view, n, &leads);
        const char *block = s->target > s->finalized ? block_of(ctl, node, s->target, running) : "";
        blocked += block[0] != '\0';
        CTL_ADD_ROW(ctl, rows, ctl_uuid_text(ctl, node->uuid), cq_pool_cstr(ctl->pool, cq_slice_cstr(node->address)),
                    running ? ctl_node_state(node) : "unreachable",
                    cq_pool_cstr(ctl->pool, cq_slice_cstr(node->version)), ctl_number(ctl, node->command_version),
                    ctl_number(ctl, s->finalized), ctl_number(ctl, s->target), ctl_number(ctl, leads),
                    ctl_number(ctl, raised), block);
    }
    return blocked;
}

static void say_stand(const struct stand *s, size_t blocked)
{
    fprintf(stderr, "chasquictl: command version %u is finalized; %zu of %zu shards are raised to it\n", s->finalized,
            s->raised, s->shards);
    if (s->target <= s->finalized)
        fprintf(stderr, "chasquictl: no node knows a later one: there is nothing to finalize\n");
    else if (blocked)
        fprintf(stderr, "chasquictl: %u cannot be finalized yet: %zu nodes are in the way; rolling back is possible\n",
                s->target, blocked);
    else
        fprintf(stderr,
                "chasquictl: %u can be finalized: chasquictl upgrade finalize; until then rolling back is possible\n",
                s->target);
}

static enum ctl_exit status(struct ctl *ctl, struct ctl_view *view, struct ctl_rows *rows)
{
    const struct stand s = stand_of(view);
    say_stand(&s, node_rows(ctl, view, &s, rows));
    return CTL_DONE;
}

/* ---- Finalizing ---- */

static void say_raised(const struct stand *s, size_t *said, unsigned looks)
{
    if (s->raised != *said || looks % WATCH_SAY_EVERY == 0)
        fprintf(stderr, "chasquictl: %zu of %zu shards are raised to command version %u\n", s->raised, s->shards,
                s->finalized);
    *said = s->raised;
}

/* Until all shards have been raised. */
static enum ctl_exit watch(struct ctl *ctl, struct stand *s_r)
{
    size_t said = SIZE_MAX;
    for (unsigned looks = 0;; looks++) {
        struct ctl_view view = {0};
        bool seen = ctl_look(ctl, true, &view) == CTL_DONE;
        if (seen) {
            *s_r = stand_of(&view);
            say_raised(s_r, &said, looks);
        }
        ctl_view_release(&view);
        if (seen && s_r->raised == s_r->shards)
            break;
        if (io_fiber_sleep(WATCH_MS) != CQ_OK)
            return CTL_LATER;
    }
    fprintf(stderr, "chasquictl: done\n");
    return CTL_DONE;
}

static enum ctl_exit tell(struct ctl *ctl, const struct topology *t, uint32_t version)
{
    Chasqui__System__FinalizeVersion message = CHASQUI__SYSTEM__FINALIZE_VERSION__INIT;
    Chasqui__Mail__Answer *answer = NULL;
    message.version = version;
    enum ctl_exit done = ctl_tell_system(ctl, t, CHASQUI__SYSTEM__METHOD__FINALIZE_VERSION, &message.base, &answer);
    ctl_free_answer(answer);
    return done;
}

static void say_blocks(const struct ctl_rows *nodes)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (nodes->rows[i][BLOCK_COLUMN][0])
            fprintf(stderr, "chasquictl: %s %s\n", nodes->rows[i][1], nodes->rows[i][BLOCK_COLUMN]);
}

static enum ctl_exit finalize_rows(struct ctl *ctl, const struct stand *s, struct ctl_rows *rows)
{
    CTL_ADD_ROW(ctl, rows, ctl_number(ctl, s->finalized), ctl_number(ctl, s->target), ctl_number(ctl, s->shards),
                ctl_number(ctl, s->raised));
    return CTL_DONE;
}

static enum ctl_exit finalize(struct ctl *ctl, const struct ctl_request *request, struct ctl_view *view,
                              struct ctl_rows *rows)
{
    struct stand s = stand_of(view);
    struct ctl_rows nodes = {0};
    struct cq_slice given;
    size_t blocked = node_rows(ctl, view, &s, &nodes);
    if (blocked) {
        say_blocks(&nodes);
        fprintf(stderr, "chasquictl: command version %u was not finalized; nothing has changed\n", s.target);
        return CTL_REFUSED;
    }
    if (s.target <= s.finalized)
        fprintf(stderr, "chasquictl: command version %u is finalized already, and no node knows a later one\n",
                s.finalized);
    if (ctl_field(request, "dry-run", &given)) {
        if (s.target > s.finalized)
            fprintf(stderr, "chasquictl: %u would be finalized; after that no node goes back behind it\n", s.target);
        return finalize_rows(ctl, &s, rows);
    }
    if (s.target > s.finalized) {
        enum ctl_exit told = tell(ctl, view->topology, s.target);
        if (told != CTL_DONE)
            return told;
        fprintf(stderr, "chasquictl: command version %u is finalized; all shards are raised to it now\n", s.target);
        s.finalized = s.target;
        s.raised = 0;
    }
    enum ctl_exit done = ctl_field(request, "watch", &given) ? watch(ctl, &s) : CTL_DONE;
    finalize_rows(ctl, &s, rows);
    return done;
}

bool ctl_is_upgrade_command(const struct ctl_request *request)
{
    return strncmp(request->command->name, "upgrade ", 8) == 0;
}

enum ctl_exit ctl_upgrade(struct ctl *ctl, const struct ctl_request *request, struct ctl_rows *rows)
{
    struct ctl_view view = {0};
    enum ctl_exit done = ctl_look(ctl, true, &view);
    if (done != CTL_DONE)
        fprintf(stderr, "chasquictl: no storage node leads the system shard; is the cluster initialised and a majority "
                        "of its nodes up?\n");
    else if (strcmp(request->command->name, "upgrade status") == 0)
        done = status(ctl, &view, rows);
    else
        done = finalize(ctl, request, &view, rows);
    ctl_view_release(&view);
    return done;
}
