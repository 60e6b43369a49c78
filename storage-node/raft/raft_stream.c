/* Replication to one follower. libraft says which entries; here they are put on the wire as the peer's byte window
 * allows, from memory or from the store, cut into messages that never have a configuration behind another entry. */
#include "raft_private.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define MESSAGE_ENTRIES 256 /* entries in one message, so that no message is huge */
#define WINDOW_MS 100

static bool has_pending(const struct raft_stream *stream)
{
    return stream->next <= stream->end;
}

static bool is_busy(const struct raft_stream *stream)
{
    return has_pending(stream) || stream->flight_count > 0;
}

static bool is_fenced(const struct raft_group *group)
{
    return group->fence > group->host->durable_job;
}

/* ---- Messages under way ---- */

static struct raft_flight *flight_at(const struct raft_stream *stream, size_t i)
{
    return &stream->flights[(stream->flight_front + i) % stream->flight_cap];
}

static void flight_push(struct raft_stream *stream, uint64_t last, uint64_t bytes)
{
    if (stream->flight_count == stream->flight_cap) {
        size_t cap = stream->flight_cap ? stream->flight_cap * 2 : 16;
        struct raft_flight *flights = cq_malloc(cap * sizeof *flights);
        for (size_t i = 0; i < stream->flight_count; i++)
            flights[i] = *flight_at(stream, i);
        free(stream->flights);
        stream->flights = flights;
        stream->flight_cap = cap;
        stream->flight_front = 0;
    }
    *flight_at(stream, stream->flight_count++) = (struct raft_flight){last, bytes, stream->group->host->now_ms};
    stream->flight_bytes += bytes;
    stream->peer->flight_bytes += bytes;
}

static uint64_t flight_pop(struct raft_stream *stream)
{
    uint64_t bytes = flight_at(stream, 0)->bytes;
    stream->flight_front = (stream->flight_front + 1) % stream->flight_cap;
    stream->flight_count--;
    stream->flight_bytes -= bytes;
    stream->peer->flight_bytes -= bytes;
    return bytes;
}

void raft_stream_lost(struct raft_stream *stream)
{
    while (stream->flight_count)
        flight_pop(stream);
    stream->end = stream->next - 1;
    stream->loading = NULL; /* a load that comes back now is nobody's */
    raft_load_free(&stream->loaded);
    cq_list_remove(&stream->ready);
}

void raft_stream_result(struct raft_stream *stream, const struct raft_wire *result)
{
    if (result->rejected) {
        raft_stream_lost(stream);
        return;
    }
    while (stream->flight_count && flight_at(stream, 0)->last <= result->index)
        stream->peer->acked_bytes += flight_pop(stream);
    if (result->index + 1 >= stream->group->log.first)
        stream->behind = false;
}

/* No answer in an election time: a connection that lost something without ending, or a peer that hangs. The next
 * heartbeat finds out where the follower stands. */
void raft_stream_tick(struct raft_stream *stream)
{
    const struct raft_host *host = stream->group->host;
    if (stream->flight_count && flight_at(stream, 0)->sent_ms + host->settings.election_ms < host->now_ms)
        raft_stream_lost(stream);
}

void raft_peer_window_tick(struct raft_host *host, struct raft_peer *peer)
{
    const struct raft_settings *settings = &host->settings;
    if (host->now_ms - peer->window_since_ms < WINDOW_MS)
        return;
    uint64_t want = peer->acked_bytes * 2;
    peer->window = want < settings->window_bytes       ? settings->window_bytes
                   : want > settings->window_bytes_max ? settings->window_bytes_max
                                                       : want;
    peer->acked_bytes = 0;
    peer->window_since_ms = host->now_ms;
}

/* ---- What libraft wants ---- */

static void make_ready(struct raft_stream *stream)
{
    if (has_pending(stream) && !stream->loading && cq_list_empty(&stream->ready))
        cq_list_push_back(&stream->peer->ready, &stream->ready);
}

void raft_streams_unfenced(struct raft_group *group)
{
    for (size_t i = 0; i < group->stream_count; i++)
        make_ready(&group->streams[i]);
}

static struct raft_wire append_head(struct raft_stream *stream, uint64_t prev, uint64_t prev_term)
{
    struct raft_group *group = stream->group;
    return (struct raft_wire){
        .type = RAFT_WIRE_APPEND,
        .group = group->owner.group,
        .from = group->owner.replica,
        .to = stream->replica,
        .term = raft_current_term(&group->raft),
        .index = prev,
        .index_term = prev_term,
        .commit = group->commit,
        .floor = group->floor,
        .flags = stream->behind ? RAFT_WIRE_BEHIND : 0,
    };
}

/* While entries are on their way, libraft's own previous index would overtake them on the control channel and be
 * refused; what the follower has acknowledged always fits. With nothing on the way, libraft's index finds losses. */
static void heartbeat(struct raft_stream *stream, uint64_t prev, uint64_t prev_term)
{
    struct raft_group *group = stream->group;
    raft_index match = 0;
    if (is_busy(stream) && raft_match_index(&group->raft, stream->replica, &match) == 0 &&
        raft_log_term(&group->log, match)) {
        prev = match;
        prev_term = raft_log_term(&group->log, match);
    }
    raft_floor_update(group);
    struct raft_wire message = append_head(stream, prev, prev_term);
    raft_peer_say(group, stream->peer, &message);
}

void raft_stream_append(struct raft_stream *stream, uint64_t prev, uint64_t prev_term, uint32_t count)
{
    uint64_t first = prev + 1, last = prev + count;
    if (!stream->peer->connected)
        return;
    if (count == 0) {
        heartbeat(stream, prev, prev_term);
    } else if (first == stream->end + 1) {
        stream->end = last;
    } else if (is_busy(stream) && first <= stream->end) {
        if (last > stream->end)
            stream->end = last;
        heartbeat(stream, prev, prev_term); /* it is on the way already */
    } else {
        raft_stream_lost(stream);
        stream->next = first;
        stream->end = last;
    }
    make_ready(stream);
}

/* ---- On the wire ---- */

static void ask_load(struct raft_stream *stream)
{
    struct raft_group *group = stream->group;
    raft_load_free(&stream->loaded);
    stream->loading = raft_load_new(&group->owner, stream->replica, stream->next, stream->end, RAFT_APPEND_FRAME);
    raft_host_ask_load(group->host, stream->loading);
}

void raft_stream_loaded(struct raft_stream *stream, struct raft_load *load)
{
    stream->loading = NULL;
    stream->loaded = load;
    if (load->count == 0)
        raft_stream_lost(stream); /* trimmed or overwritten meanwhile: libraft will say what it wants now */
    make_ready(stream);
}

/* The entries of the next message, each with a reference; 0: none can be sent now. */
static uint32_t collect(struct raft_stream *stream, struct raft_wire_entry *entries, uint64_t room, uint64_t *bytes_r)
{
    struct raft_group *group = stream->group;
    uint32_t count = 0;
    for (uint64_t index = stream->next; index <= stream->end && count < MESSAGE_ENTRIES; index++) {
        const struct raft_log_entry *entry = raft_log_at(&group->log, index);
        if (!entry || (count && (entry->kind == RAFT_KIND_CHANGE || *bytes_r >= room)))
            break;
        struct raft_item *item = raft_item_at(group, index, stream->loaded);
        if (!item)
            break;
        entries[count++] = (struct raft_wire_entry){entry->term, item};
        *bytes_r += raft_wire_entry_size(item);
    }
    return count;
}

/* One message; false: this stream cannot go on now and is no longer ready. */
static bool send_one(struct raft_stream *stream, struct raft_wire_out *out, uint64_t room)
{
    struct raft_group *group = stream->group;
    struct raft_wire_entry entries[MESSAGE_ENTRIES];
    uint64_t bytes = 0, prev = stream->next - 1, prev_term = raft_log_term(&group->log, prev);
    cq_list_remove(&stream->ready);
    if (is_fenced(group) || raft_group_is_silent(group))
        return false; /* raft_streams_unfenced() makes it ready again; a silent leader stops its streams */
    if (prev && !prev_term) {
        stream->behind = true;
        raft_stream_lost(stream);
        return false;
    }
    uint32_t count = collect(stream, entries, room, &bytes);
    if (count == 0) {
        ask_load(stream);
        return false;
    }
    struct raft_wire message = append_head(stream, prev, prev_term);
    message.count = count;
    message.entries = entries;
    raft_wire_add(out, &message);
    for (uint32_t i = 0; i < count; i++)
        raft_item_unref(&entries[i].item);
    stream->next += count;
    flight_push(stream, stream->next - 1, bytes);
    make_ready(stream);
    return true;
}

static void send_frame(struct raft_host *host, struct raft_peer *peer)
{
    if (raft_wire_out_empty(&host->append))
        return;
    struct raft_frame frame = raft_wire_finish(&host->append);
    host->output.send(host->output.ctx, &peer->node, RAFT_APPEND, &frame);
    raft_wire_out_reset(&host->append);
}

void raft_peer_flush_append(struct raft_host *host, struct raft_peer *peer)
{
    struct cq_list *first;
    while (peer->flight_bytes < peer->window && (first = cq_list_first(&peer->ready))) {
        uint64_t room = RAFT_APPEND_FRAME - raft_wire_out_size(&host->append);
        send_one(cq_list_entry(first, struct raft_stream, ready), &host->append, room);
        if (raft_wire_out_size(&host->append) >= RAFT_APPEND_FRAME ||
            host->append.messages >= RAFT_FRAME_MESSAGES_MAX - 1)
            send_frame(host, peer);
    }
    send_frame(host, peer);
}

/* ---- The streams of a leader ---- */

void raft_streams_stop(struct raft_group *group)
{
    for (size_t i = 0; i < group->stream_count; i++) {
        raft_stream_lost(&group->streams[i]);
        free(group->streams[i].flights);
    }
    group->stream_count = 0;
}

void raft_streams_start(struct raft_group *group)
{
    const struct raft_conf *conf = raft_group_conf(group);
    raft_streams_stop(group);
    for (size_t i = 0; conf && i < conf->count; i++) {
        if (conf->members[i].replica == group->owner.replica)
            continue;
        struct raft_stream *stream = &group->streams[group->stream_count++];
        *stream = (struct raft_stream){
            .group = group,
            .peer = raft_peer_get(group->host, &conf->members[i].node),
            .replica = conf->members[i].replica,
            .next = 1,
            .taken_ms = group->host->now_ms,
        };
        cq_list_init(&stream->ready);
    }
}

struct raft_stream *raft_stream_of(struct raft_group *group, uint64_t replica)
{
    for (size_t i = 0; i < group->stream_count; i++) {
        if (group->streams[i].replica == replica)
            return &group->streams[i];
    }
    return NULL;
}
