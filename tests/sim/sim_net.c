/* Connections between nodes: two channels each, in order within a channel. A blocked direction swallows frames; a
 * connection that is blocked for a while ends, and is made again when both directions work. */
#include "sim.h"

#include "base/cq_mem.h"

#include <stdlib.h>
#include <string.h>

#define RECONNECT_US (50 * SIM_MS)

struct link { /* one direction */
    bool blocked;
    uint64_t last_arrival[2]; /* of a frame, by channel: later ones come later */
};

struct sim_net {
    struct link links[SIM_NODES_MAX][SIM_NODES_MAX];
    bool up[SIM_NODES_MAX][SIM_NODES_MAX];             /* from < to: the connection */
    uint32_t generation[SIM_NODES_MAX][SIM_NODES_MAX]; /* of the connection: frames of an older one are lost */
    uint32_t drop, twice;
    uint64_t delay_us;
};

struct sim_frame {
    struct raft_node from;
    unsigned from_index, to_index;
    uint32_t generation;
    struct raft_bytes *bytes;
};

static bool *up_of(struct sim_net *net, unsigned a, unsigned b)
{
    return a < b ? &net->up[a][b] : &net->up[b][a];
}

static uint32_t *generation_of(struct sim_net *net, unsigned a, unsigned b)
{
    return a < b ? &net->generation[a][b] : &net->generation[b][a];
}

/* ---- Connections ---- */

static void tell_gone(struct sim *sim, void *arg, uint64_t peer, uint64_t b)
{
    struct sim_node *node = arg;
    (void)b;
    sim_trace(sim, "n%u: connection to n%llu ended", node->index, (unsigned long long)peer);
    raft_host_peer_gone(node->host, &sim->nodes[peer]->id, false);
    sim_node_turn(node);
}

static void tell_connected(struct sim *sim, void *arg, uint64_t peer, uint64_t b)
{
    struct sim_node *node = arg;
    (void)b;
    raft_host_peer_connected(node->host, &sim->nodes[peer]->id);
    sim_node_turn(node);
}

static void disconnect(struct sim *sim, unsigned a, unsigned b)
{
    if (!*up_of(sim->net, a, b))
        return;
    *up_of(sim->net, a, b) = false;
    ++*generation_of(sim->net, a, b);
    if (sim_node_up(sim->nodes[a]))
        sim_at_node(sim, sim->nodes[a], sim_between(sim, 50, 2000), tell_gone, sim->nodes[a], NULL, b, 0);
    if (sim_node_up(sim->nodes[b]))
        sim_at_node(sim, sim->nodes[b], sim_between(sim, 50, 2000), tell_gone, sim->nodes[b], NULL, a, 0);
}

static bool can_connect(const struct sim *sim, unsigned a, unsigned b)
{
    return sim_node_up(sim->nodes[a]) && sim_node_up(sim->nodes[b]) && !sim->net->links[a][b].blocked &&
           !sim->net->links[b][a].blocked;
}

static void connect_all(struct sim *sim, void *arg, uint64_t x, uint64_t y)
{
    (void)arg, (void)x, (void)y;
    for (unsigned a = 0; a < sim->options.nodes; a++) {
        for (unsigned b = a + 1; b < sim->options.nodes; b++) {
            if (*up_of(sim->net, a, b) || !can_connect(sim, a, b))
                continue;
            *up_of(sim->net, a, b) = true;
            /* Behind a tell_gone of the last connection that may still be on its way. */
            sim_at_node(sim, sim->nodes[a], 2100, tell_connected, sim->nodes[a], NULL, b, 0);
            sim_at_node(sim, sim->nodes[b], 2100, tell_connected, sim->nodes[b], NULL, a, 0);
        }
    }
    sim_at(sim, RECONNECT_US, connect_all, NULL, 0, 0);
}

/* TCP gives up on a direction that carries nothing. */
static void give_up(struct sim *sim, void *arg, uint64_t from, uint64_t to)
{
    (void)arg;
    if (sim->net->links[from][to].blocked)
        disconnect(sim, (unsigned)from, (unsigned)to);
}

void sim_net_block(struct sim *sim, unsigned from, unsigned to, bool blocked)
{
    sim->net->links[from][to].blocked = blocked;
    if (blocked)
        sim_at(sim, sim_between(sim, 300 * SIM_MS, 4 * SIM_S), give_up, NULL, from, to);
}

bool sim_net_blocked(const struct sim *sim, unsigned from, unsigned to)
{
    return sim->net->links[from][to].blocked;
}

uint64_t sim_net_delay(struct sim *sim)
{
    return sim_between(sim, 50, 50 + sim->net->delay_us);
}

void sim_net_heal(struct sim *sim)
{
    for (unsigned a = 0; a < sim->options.nodes; a++) {
        for (unsigned b = 0; b < sim->options.nodes; b++)
            sim->net->links[a][b].blocked = false;
    }
    sim_net_weather(sim, 0, 0, 300);
}

void sim_net_weather(struct sim *sim, uint32_t drop, uint32_t twice, uint64_t delay_us)
{
    sim->net->drop = drop;
    sim->net->twice = twice;
    sim->net->delay_us = delay_us;
}

void sim_net_node_down(struct sim *sim, unsigned node)
{
    for (unsigned i = 0; i < sim->options.nodes; i++) {
        if (i != node)
            disconnect(sim, node, i);
    }
}

void sim_net_node_up(struct sim *sim, unsigned node)
{
    (void)sim, (void)node; /* connect_all finds it */
}

/* ---- Frames ---- */

static void frame_free(void *arg)
{
    struct sim_frame *frame = arg;
    raft_bytes_unref(&frame->bytes);
    free(frame);
}

static void deliver(struct sim *sim, void *arg, uint64_t a, uint64_t b)
{
    struct sim_frame *frame = arg;
    struct sim_node *node = sim->nodes[frame->to_index];
    struct cq_err err = {0};
    (void)a, (void)b;
    if (frame->generation == *generation_of(sim->net, frame->from_index, frame->to_index)) {
        enum cq_rc rc = raft_host_receive(node->host, &frame->from, frame->bytes, &err);
        if (rc != CQ_OK)
            sim_fail(sim, "n%u refuses a frame of n%u: %s %s", node->index, frame->from_index, cq_rc_name(rc),
                     err.text);
        sim_node_turn(node);
    }
    frame_free(frame);
}

static struct raft_bytes *join(const struct raft_frame *frame)
{
    uint8_t *at;
    struct raft_bytes *bytes = raft_bytes_new(frame->size, &at);
    memcpy(at, frame->head.data, frame->head.len);
    at += frame->head.len;
    for (size_t i = 0; i < frame->body_count; i++) {
        memcpy(at, frame->bodies[i].octets.data, frame->bodies[i].octets.len);
        at += frame->bodies[i].octets.len;
    }
    return bytes;
}

static void plan(struct sim *sim, struct sim_node *from, struct sim_node *to, enum raft_channel channel,
                 struct raft_bytes *bytes)
{
    struct link *link = &sim->net->links[from->index][to->index];
    struct sim_frame *frame = cq_new(struct sim_frame);
    *frame = (struct sim_frame){from->id, from->index, to->index, *generation_of(sim->net, from->index, to->index),
                                raft_bytes_ref(bytes)};
    uint64_t arrival = sim->now + sim_between(sim, 50, 50 + sim->net->delay_us);
    if (arrival < link->last_arrival[channel])
        arrival = link->last_arrival[channel];
    link->last_arrival[channel] = arrival;
    sim_at_node(sim, to, arrival - sim->now, deliver, frame, frame_free, 0, 0);
}

void sim_net_send(struct sim_node *from, const struct raft_node *id, enum raft_channel channel,
                  const struct raft_frame *frame)
{
    struct sim *sim = from->sim;
    struct sim_node *to = sim_node_of(sim, id);
    if (!to || !sim_node_up(to) || !*up_of(sim->net, from->index, to->index) ||
        sim->net->links[from->index][to->index].blocked)
        return;
    if (sim->net->drop && sim_chance(sim, sim->net->drop))
        return;
    struct raft_bytes *bytes = join(frame);
    plan(sim, from, to, channel, bytes);
    if (sim->net->twice && sim_chance(sim, sim->net->twice))
        plan(sim, from, to, channel, bytes);
    raft_bytes_unref(&bytes);
}

void sim_net_new(struct sim *sim)
{
    sim->net = cq_new(struct sim_net);
    sim->net->delay_us = 300;
    sim_at(sim, 0, connect_all, NULL, 0, 0);
}

void sim_net_free(struct sim *sim)
{
    free(sim->net);
}
