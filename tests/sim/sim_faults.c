/* What goes wrong, when, and for how long. */
#include "sim_mail.h"

#include <stdlib.h>

struct fault {
    const char *name;
    unsigned weight;
    void (*begin)(struct mail *mail);
};

static struct sim_node *any_node(struct sim *sim)
{
    return sim->nodes[sim_below(sim, sim->options.nodes)];
}

/* Leaders are where it hurts. */
static struct sim_node *some_node(struct sim *sim)
{
    struct sim_node *leader = sim_leader(sim, sim_below(sim, sim->options.groups));
    return leader && sim_chance(sim, 2) ? leader : any_node(sim);
}

/* ---- Processes ---- */

static void start_again(struct sim *sim, void *arg, uint64_t life, uint64_t b)
{
    struct sim_node *node = arg;
    (void)sim, (void)b;
    if (!sim_node_up(node) && node->life == life)
        sim_node_start(node);
}

static void crash(struct sim *sim, struct sim_node *node, bool power)
{
    if (!sim_node_up(node))
        return;
    sim_node_crash(node, power);
    uint64_t rest = sim_chance(sim, 3) ? sim_between(sim, SIM_S, 4 * SIM_S) : sim_between(sim, 1, 400 * SIM_MS);
    sim_at(sim, rest, start_again, node, node->life, 0);
}

static void power_cut(struct mail *mail)
{
    crash(mail->sim, some_node(mail->sim), true);
}

static void kill_process(struct mail *mail)
{
    crash(mail->sim, some_node(mail->sim), false);
}

/* A process is killed while its disk is slow and starts again: what it reads then is in the page cache only. If it
 * spoke of it now, the power cut that follows would make it a liar; the leaders that believed it lose power too. */
static void power_cut_after_kill(struct sim *sim, void *arg, uint64_t life, uint64_t b)
{
    struct sim_node *node = arg;
    (void)b;
    for (unsigned g = 0; g < sim->options.groups; g++) {
        struct sim_node *leader = sim_leader(sim, g);
        if (leader && leader != node && sim_chance(sim, 2))
            crash(sim, leader, true);
    }
    if (node->life == life)
        crash(sim, node, true);
    node->sync_us = 800;
}

static void kill_on_slow_disk(struct sim *sim, void *arg, uint64_t life, uint64_t b)
{
    struct sim_node *node = arg;
    (void)b;
    if (!sim_node_up(node) || node->life != life)
        return;
    sim_node_crash(node, false);
    sim_node_start(node);
    sim_at(sim, sim_between(sim, 50 * SIM_MS, 150 * SIM_MS), power_cut_after_kill, node, node->life, 0);
}

static void kill_then_power(struct mail *mail)
{
    struct sim *sim = mail->sim;
    struct sim_node *node = some_node(sim);
    if (!sim_node_up(node))
        return;
    node->sync_us = sim_between(sim, 200 * SIM_MS, 800 * SIM_MS);
    sim_at(sim, sim_between(sim, 1 * SIM_MS, 100 * SIM_MS), kill_on_slow_disk, node, node->life, 0);
}

static void power_cut_of_all(struct mail *mail)
{
    for (unsigned i = 0; i < mail->sim->options.nodes; i++)
        crash(mail->sim, mail->sim->nodes[i], true);
}

static void power_cut_of_majority(struct mail *mail)
{
    unsigned first = sim_below(mail->sim, mail->sim->options.nodes);
    for (unsigned i = 0; i <= mail->sim->options.nodes / 2; i++)
        crash(mail->sim, mail->sim->nodes[(first + i) % mail->sim->options.nodes], true);
}

static void pause_process(struct mail *mail)
{
    struct sim_node *node = some_node(mail->sim);
    if (sim_node_up(node) && node->paused_until <= mail->sim->now)
        sim_node_pause(node, sim_between(mail->sim, 50 * SIM_MS, 4 * SIM_S));
}

/* ---- The disk ---- */

static void disk_is_well(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    (void)sim, (void)a, (void)b;
    ((struct sim_node *)arg)->sync_us = 800;
}

static void slow_disk(struct mail *mail)
{
    struct sim_node *node = some_node(mail->sim);
    node->sync_us = sim_between(mail->sim, 10 * SIM_MS, 600 * SIM_MS);
    sim_at(mail->sim, sim_between(mail->sim, 100 * SIM_MS, 3 * SIM_S), disk_is_well, node, 0, 0);
}

/* ---- The network ---- */

static void unblock(struct sim *sim, void *arg, uint64_t from, uint64_t to)
{
    (void)arg;
    sim_net_block(sim, (unsigned)from, (unsigned)to, false);
}

static void block(struct sim *sim, unsigned from, unsigned to, uint64_t us)
{
    if (from == to)
        return;
    sim_net_block(sim, from, to, true);
    sim_at(sim, us, unblock, NULL, from, to);
}

static void cut_off(struct mail *mail)
{
    struct sim *sim = mail->sim;
    unsigned node = some_node(sim)->index;
    uint64_t us = sim_between(sim, 100 * SIM_MS, 4 * SIM_S);
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        block(sim, node, i, us);
        block(sim, i, node, us);
    }
}

static void cut_one_way(struct mail *mail)
{
    struct sim *sim = mail->sim;
    unsigned node = some_node(sim)->index;
    bool out = sim_chance(sim, 2);
    uint64_t us = sim_between(sim, 100 * SIM_MS, 4 * SIM_S);
    for (unsigned i = 0; i < sim->options.nodes; i++)
        block(sim, out ? node : i, out ? i : node, us);
}

static void cut_a_pair(struct mail *mail)
{
    struct sim *sim = mail->sim;
    unsigned a = some_node(sim)->index, b = any_node(sim)->index;
    uint64_t us = sim_between(sim, 100 * SIM_MS, 4 * SIM_S);
    block(sim, a, b, us);
    block(sim, b, a, us);
}

static void weather_clears(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    (void)arg, (void)a, (void)b;
    sim_net_weather(sim, 0, 0, 300);
}

static void bad_weather(struct mail *mail)
{
    struct sim *sim = mail->sim;
    sim_net_weather(sim, 3 + sim_below(sim, 30), 3 + sim_below(sim, 30), sim_between(sim, 300, 60 * SIM_MS));
    sim_at(sim, sim_between(sim, 100 * SIM_MS, 2 * SIM_S), weather_clears, NULL, 0, 0);
}

static void slow_network(struct mail *mail)
{
    struct sim *sim = mail->sim;
    sim_net_weather(sim, 0, 0, sim_between(sim, 20 * SIM_MS, 300 * SIM_MS));
    sim_at(sim, sim_between(sim, 100 * SIM_MS, 2 * SIM_S), weather_clears, NULL, 0, 0);
}

static void clients_are_heard_again(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    (void)sim, (void)a, (void)b;
    ((struct mail *)arg)->lossy_clients = false;
}

static void lossy_clients(struct mail *mail)
{
    mail->lossy_clients = true;
    sim_at(mail->sim, sim_between(mail->sim, 100 * SIM_MS, 2 * SIM_S), clients_are_heard_again, mail, 0, 0);
}

/* ---- Clocks and operators ---- */

static void skew_clock(struct mail *mail)
{
    struct sim_node *node = some_node(mail->sim);
    node->wall_offset = (int64_t)sim_between(mail->sim, 0, 7200 * SIM_S) - (int64_t)(3600 * SIM_S);
    /* The monotonic clock only ever runs at another speed; going on from where it is. */
    uint64_t before = sim_node_clock(node);
    node->clock_ppm = (int32_t)sim_between(mail->sim, 0, 200000) - 100000;
    node->clock_offset += before - sim_node_clock(node);
}

static void hand_over(struct mail *mail)
{
    struct sim *sim = mail->sim;
    unsigned group = sim_below(sim, sim->options.groups);
    struct sim_node *leader = sim_leader(sim, group);
    if (!leader || leader->paused_until > sim->now)
        return;
    raft_host_transfer(leader->host, group + 1, sim_chance(sim, 2) ? NULL : &any_node(sim)->id);
    sim_node_turn(leader);
}

/* ---- Members ---- */

#define MEMBERS_IN 8 /* one seed of so many; the others are as they were before there was this */

/* One voter loses its vote, or one gets it back: mostly the latter, and never fewer than a majority's worth are left.
 */
static void change_roles(struct sim *sim, struct sim_node *leader, unsigned group)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t count = raft_host_members(leader->host, group + 1, members, RAFT_MEMBERS_MAX);
    size_t at = count, voters = 0;
    for (size_t i = 0; i < count; i++) {
        voters += members[i].role == RAFT_MEMBER_VOTER;
        if (members[i].role != RAFT_MEMBER_VOTER)
            at = i;
    }
    bool promote = at < count && (voters <= count / 2 + 1 || !sim_chance(sim, 4));
    if (!promote)
        at = sim_below(sim, (uint32_t)count);
    if (!promote && (voters <= count / 2 + 1 || members[at].role != RAFT_MEMBER_VOTER))
        return;
    members[at].role = promote ? RAFT_MEMBER_VOTER : RAFT_MEMBER_STANDBY;
    enum cq_rc rc = raft_host_reconfigure(leader->host, group + 1, members, count);
    sim_trace(sim, "group %u: replica %llu %s: %s", group + 1, (unsigned long long)members[at].replica,
              promote ? "gets its vote" : "loses its vote", cq_rc_text(rc));
    sim_node_turn(leader);
}

static void next_change(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct mail *mail = arg;
    (void)a, (void)b;
    if (mail->quiet)
        return;
    unsigned group = sim_below(sim, sim->options.groups);
    struct sim_node *leader = sim_leader(sim, group);
    if (leader && leader->paused_until <= sim->now)
        change_roles(sim, leader, group);
    sim_at(sim, sim_between(sim, 20 * SIM_MS, 600 * SIM_MS), next_change, mail, 0, 0);
}

static const struct fault faults[] = {
    {"power cut", 14, power_cut},
    {"kill", 10, kill_process},
    {"kill, then power cut", 5, kill_then_power},
    {"power cut of all", 3, power_cut_of_all},
    {"power cut of a majority", 4, power_cut_of_majority},
    {"pause", 10, pause_process},
    {"slow disk", 10, slow_disk},
    {"partition of a node", 10, cut_off},
    {"one-way partition", 8, cut_one_way},
    {"partition of a pair", 6, cut_a_pair},
    {"loss, repetition and delay", 8, bad_weather},
    {"slow network", 5, slow_network},
    {"lost requests and answers", 8, lossy_clients},
    {"clock", 4, skew_clock},
    {"hand-over", 6, hand_over},
};

static const struct fault *choose(struct sim *sim)
{
    unsigned total = 0, at;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        total += faults[i].weight;
    at = sim_below(sim, total);
    for (size_t i = 0;; i++) {
        if (at < faults[i].weight)
            return &faults[i];
        at -= faults[i].weight;
    }
}

static void next_fault(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct mail *mail = arg;
    (void)a, (void)b;
    if (mail->quiet)
        return;
    const struct fault *fault = choose(sim);
    sim_trace(sim, "fault: %s", fault->name);
    mail->faults++;
    fault->begin(mail);
    sim_at(sim, sim_chance(sim, 4) ? sim_between(sim, 1, 60 * SIM_MS) : sim_between(sim, 50 * SIM_MS, 900 * SIM_MS),
           next_fault, mail, 0, 0);
}

/* The leader's own disk may be the only one that knows; or it was the one that did not. */
void sim_fault_after(struct mail *mail, unsigned group)
{
    struct sim *sim = mail->sim;
    struct sim_node *leader = sim_leader(sim, group);
    if (!leader)
        return;
    sim_trace(sim, "fault: after an expunge, to the leader of group %u", group + 1);
    mail->faults++;
    switch (sim_below(sim, 4)) {
    case 0:
        crash(sim, leader, false);
        break;
    case 1:
        power_cut_of_all(mail);
        break;
    default:
        crash(sim, leader, true);
    }
}

void sim_faults_start(struct mail *mail)
{
    sim_at(mail->sim, 300 * SIM_MS, next_fault, mail, 0, 0);
    if (mail->sim->options.seed % MEMBERS_IN == MEMBERS_IN - 1)
        sim_at(mail->sim, 350 * SIM_MS, next_change, mail, 0, 0);
}

void sim_faults_stop(struct mail *mail)
{
    struct sim *sim = mail->sim;
    sim_trace(sim, "everything is healed");
    sim_net_heal(sim);
    mail->lossy_clients = false;
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        struct sim_node *node = sim->nodes[i];
        node->sync_us = 800;
        if (!sim_node_up(node) && !sim->failures)
            sim_node_start(node);
    }
}
