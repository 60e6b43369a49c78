#include "raft_story.h"

#include <stdlib.h>

static void nobody_committed(struct sim *sim, uint32_t group, uint64_t index, uint64_t term, struct cq_slice entry)
{
    (void)sim, (void)group, (void)index, (void)term, (void)entry;
}

static void nobody_applied(struct sim *sim, struct sim_node *node, const struct raft_commit *commit,
                           const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)commit, (void)outcome;
}

static const struct sim_app toy_app = {sim_toy_open, nobody_committed, nobody_applied};

struct sim *story_begin_keeping(unsigned nodes, unsigned groups, uint64_t keep_entries)
{
    const struct sim_options options = {
        .seed = 42, .nodes = nodes, .groups = groups, .trace = getenv("SIM_TRACE"), .keep_entries = keep_entries};
    struct sim *sim = sim_new(&options, &toy_app, NULL);
    assert_non_null(sim);
    return sim;
}

struct sim *story_begin(unsigned nodes, unsigned groups)
{
    return story_begin_keeping(nodes, groups, 0);
}

void story_run(struct sim *sim, uint64_t us)
{
    sim_run(sim, sim->now + us);
    if (sim->failures)
        fail_msg("%s", sim->failure);
}

struct sim_node *story_leader(struct sim *sim, unsigned group)
{
    for (int i = 0; i < 100; i++) {
        story_run(sim, 100 * SIM_MS);
        struct sim_node *leader = sim_leader(sim, group);
        struct raft_group_status status;
        if (leader && raft_host_status(leader->host, group + 1, &status) == CQ_OK && status.has_leader)
            return leader;
    }
    fail_msg("no leader in 10 seconds");
    return NULL;
}

void story_note(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)outcome;
    *(struct story_result *)arg = (struct story_result){true, rc, index};
}

enum cq_rc story_propose(struct sim_node *node, unsigned group, uint64_t number, uint32_t chunk,
                         struct story_result *result)
{
    struct sim_toy_entry entry;
    sim_toy_entry(group, number, chunk, &entry);
    *result = (struct story_result){0};
    enum cq_rc rc = sim_node_propose(node, &entry.proposal, story_note, result, NULL);
    sim_toy_release(&entry);
    sim_node_turn(node);
    return rc;
}

/* Appends the number and waits for it. */
void story_append(struct sim *sim, struct sim_node *node, unsigned group, uint64_t number, uint32_t chunk)
{
    struct story_result result;
    assert_int_equal(story_propose(node, group, number, chunk, &result), CQ_OK);
    for (int i = 0; i < 1000 && !result.done; i++)
        story_run(sim, 5 * SIM_MS);
    assert_true(result.done);
    assert_int_equal(result.rc, CQ_OK);
}

void story_end(struct sim *sim)
{
    sim_net_heal(sim);
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        if (!sim_node_up(sim->nodes[i]))
            sim_node_start(sim->nodes[i]);
    }
    story_run(sim, 8 * SIM_S);
    sim_check_end(sim);
    if (sim->failures)
        fail_msg("%s", sim->failure);
    sim_free(&sim);
}

void story_numbers(const struct sim_node *node, unsigned group, uint64_t first, uint64_t count)
{
    const struct machine *machine = node->groups[group].machine;
    assert_int_equal(sim_toy_count(machine), count);
    for (uint64_t i = 0; i < count; i++)
        assert_true(sim_toy_at(machine, i) == first + i);
}

struct raft_group_status story_status(struct sim_node *node)
{
    struct raft_group_status status;
    assert_int_equal(raft_host_status(node->host, 1, &status), CQ_OK);
    return status;
}

void story_copy_family(struct store *from, struct store *to, enum store_family family)
{
    struct store_batch *batch = store_batch_new(to);
    struct store_iter *iter = store_iter_new(from, NULL, family, CQ_SLICE_NONE, CQ_SLICE_NONE);
    while (store_iter_next(iter) == CQ_OK)
        store_batch_put(batch, family, store_iter_key(iter), store_iter_value(iter));
    store_iter_free(&iter);
    assert_int_equal(store_write(to, batch, true, NULL), CQ_OK);
    store_batch_free(&batch);
}
