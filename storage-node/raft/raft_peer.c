/* Peers: who is connected, and the control channel. */
#include "raft_private.h"

#include "base/cq_mem.h"

#include <stdlib.h>

#define CONTROL_MESSAGES_MAX (RAFT_FRAME_MESSAGES_MAX - 2) /* of one flush; more are dropped, as a network may */

struct raft_peer *raft_peer_find(const struct raft_host *host, const struct raft_node *node)
{
    for (size_t i = 0; i < host->peer_count; i++) {
        if (raft_node_eq(&host->peers[i]->node, node))
            return host->peers[i];
    }
    return NULL;
}

static struct raft_peer *peer_new(struct raft_host *host, const struct raft_node *node)
{
    struct raft_peer *peer = cq_new(struct raft_peer);
    peer->node = *node;
    raft_node_text(node, peer->text);
    raft_wire_out_init(&peer->control);
    cq_list_init(&peer->ready);
    peer->window = host->settings.window_bytes;
    return peer;
}

struct raft_peer *raft_peer_get(struct raft_host *host, const struct raft_node *node)
{
    struct raft_peer *peer = raft_peer_find(host, node);
    if (peer)
        return peer;
    if (host->peer_count == host->peer_cap) {
        host->peer_cap = host->peer_cap ? host->peer_cap * 2 : 8;
        host->peers = cq_realloc(host->peers, host->peer_cap * sizeof(struct raft_peer *));
    }
    peer = peer_new(host, node);
    host->peers[host->peer_count++] = peer;
    return peer;
}

void raft_peer_free(struct raft_peer **peer)
{
    raft_wire_out_fini(&(*peer)->control);
    free((*peer)->rows);
    free(*peer);
    *peer = NULL;
}

static void park(struct raft_group *group, struct raft_peer *peer, const struct raft_wire *message)
{
    if (group->parked_count >= RAFT_PARKED_MAX)
        return;
    struct raft_parked *parked = cq_new(struct raft_parked);
    parked->peer = peer;
    parked->message = *message;
    cq_list_push_back(&group->parked, &parked->link);
    group->parked_count++;
}

void raft_peer_say(struct raft_group *group, struct raft_peer *peer, const struct raft_wire *message)
{
    if (!peer->connected || raft_group_is_silent(group))
        return;
    if (group->fence > group->host->durable_job)
        park(group, peer, message);
    else if (peer->control.messages < CONTROL_MESSAGES_MAX)
        raft_wire_add(&peer->control, message);
}

void raft_peer_unpark(struct raft_group *group)
{
    cq_list_each_safe (&group->parked, link) {
        struct raft_parked *parked = cq_list_entry(link, struct raft_parked, link);
        cq_list_remove(link);
        raft_peer_say(group, parked->peer, &parked->message);
        free(parked);
    }
    group->parked_count = 0;
    raft_streams_unfenced(group);
    raft_host_dirty(group);
}

void raft_peer_flush_control(struct raft_host *host, struct raft_peer *peer)
{
    if (!raft_wire_out_empty(&peer->control)) {
        struct raft_frame frame = raft_wire_finish(&peer->control);
        host->output.send(host->output.ctx, &peer->node, RAFT_CONTROL, &frame);
        raft_wire_out_reset(&peer->control);
    }
}
