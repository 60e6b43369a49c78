/* Three nodes of the simulator: the real Raft host, log formats and frames; network, clock and disk are made up. The
 * simulator's own checks are counted too, the same for every version. */
#include "micro.h"
#include "sim_toy.h"

#include "base/cq_assert.h"

#define ELECTION_S 5

static uint64_t done_count;

static void committed(struct sim *sim, uint32_t group, uint64_t index, uint64_t term, struct cq_slice entry)
{
    (void)sim, (void)group, (void)index, (void)term, (void)entry;
}

static void applied(struct sim *sim, struct sim_node *node, const struct raft_commit *commit,
                    const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)commit, (void)outcome;
}

static void done(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                 const struct machine_outcome *outcome)
{
    (void)sim, (void)node, (void)arg, (void)index, (void)outcome;
    CQ_ASSERT(rc == CQ_OK);
    done_count++;
}

void micro_commit(uint64_t count)
{
    static const struct sim_app app = {sim_toy_open, committed, applied};
    const struct sim_options options = {.seed = 1, .nodes = 3, .groups = 1};
    struct sim *sim = sim_new(&options, &app, NULL);
    sim_run(sim, sim->now + ELECTION_S * SIM_S);
    struct sim_node *leader = sim_leader(sim, 0);
    CQ_ASSERT(leader);
    for (uint64_t i = 0; i < count; i++) {
        struct sim_toy_entry entry;
        sim_toy_entry(0, i, 0, &entry);
        CQ_ASSERT(sim_node_propose(leader, &entry.proposal, done, NULL, NULL) == CQ_OK);
        sim_toy_release(&entry);
        sim_node_turn(leader);
        while (done_count <= i)
            sim_run(sim, sim->now + SIM_MS);
    }
    CQ_ASSERT(!sim->failures);
    sim_free(&sim);
}
