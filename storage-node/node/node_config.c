#include "node/node_config.h"

#define ELECTION_MIN_US 50000
#define HEARTBEAT_MIN_US 10000

static const char *const profile_names[] = {[RAFT_LAN] = "lan", [RAFT_WAN] = "wan", NULL};

/* An election time-out is many heartbeats, and a heartbeat many round trips. */
static const struct {
    uint64_t election_us, heartbeat_us;
} profiles[] = {[RAFT_LAN] = {1000000, 100000}, [RAFT_WAN] = {1500000, 150000}};

static const struct cq_setting rows[] = {
    CQ_SET_STRING(struct node_settings, cluster, "cluster", NULL,
                  "Id of the cluster: 1 to 63 of a-z, 0-9 and -. Certificates and data directories carry it too."),
    CQ_SET_PATH(struct node_settings, data_dir, "data_dir", NULL,
                "Folder of this node's data: its identity and all replicas. An empty one becomes a new node."),
    CQ_SET_STRING(struct node_settings, listen, "rpc.listen", "127.0.0.1:7100",
                  "Address for routers, front-ends with the role admin, and the other storage nodes (mutual TLS)."),
    CQ_SET_STRING(struct node_settings, advertise, "rpc.advertise", "",
                  "The same address as others reach it: host:port. Empty: rpc.listen."),
    CQ_SET_INT(struct node_settings, workers, "rpc.workers", "2", 0, 64, "threads",
               "Threads that serve requests. 0: the Raft thread does, which saves waking one thread for another: for a "
               "node with no more than a core."),
    CQ_SET_STRINGS(struct node_settings, seeds, "seeds", "", 64,
                   "Addresses (host:port) of some storage nodes, this one included or not: where to find the others "
                   "at the start. Later ones are learnt."),
    CQ_SET_STRING(struct node_settings, region, "labels.region", "",
                  "Where the node is: replicas of a shard are "
                  "placed apart by these labels."),
    CQ_SET_STRING(struct node_settings, dc, "labels.dc", "default", "Its data centre."),
    CQ_SET_STRING(struct node_settings, zone, "labels.zone", "", "Its zone in the data centre."),
    CQ_SET_STRING(struct node_settings, host, "labels.host", "", "Its machine, when several nodes share one."),
    CQ_SET_PATH(struct node_settings, tls_ca, "tls.ca", NULL, "The cluster's CA (PEM)."),
    CQ_SET_PATH(struct node_settings, tls_cert, "tls.cert", NULL, "This node's certificate, role storage (PEM)."),
    CQ_SET_PATH(struct node_settings, tls_key, "tls.key", NULL, "Its key (PEM)."),
    CQ_SET_INT(struct node_settings, apply_threads, "threads.apply", "2", 1, 64, "threads",
               "Threads that apply commands and answer reads; a shard belongs to one of them."),
    CQ_SET_INT(struct node_settings, read_threads, "threads.read", "4", 1, 64, "threads",
               "Threads that read bodies from the disk."),
    CQ_SET_DURATION(struct node_settings, stop_timeout_us, "stop_timeout", "8s", "0", "10m",
                    "At a stop: how long leadership is handed over and requests may finish."),
    CQ_SET_CHOICE(struct node_settings, raft_profile, "raft.profile", "lan", profile_names,
                  "How far storage nodes are apart: lan, round trips of a few milliseconds (election time-out 1s, "
                  "heartbeat 100ms); wan, data centres with up to 100 ms between them (1500ms, 150ms). The same on all "
                  "nodes."),
    CQ_SET_DURATION(struct node_settings, election_us, "raft.election_timeout", "0", "0", "60s",
                    "A replica that hears nothing from its leader for one to two of these stands for election. The end "
                    "of a leader's process is noticed at once. 0: as raft.profile says; else 50ms at least."),
    CQ_SET_DURATION(struct node_settings, heartbeat_us, "raft.heartbeat", "0", "0", "10s",
                    "Between two signs of life of a leader; well below raft.election_timeout. 0: as raft.profile says; "
                    "else 10ms at least."),
    CQ_SET_SIZE(struct node_settings, window, "raft.window", "1MiB", "64KiB", "1GiB",
                "Bytes on their way to one node that are not acknowledged yet, at least."),
    CQ_SET_SIZE(struct node_settings, window_max, "raft.window_max", "16MiB", "64KiB", "1GiB",
                "The same at most, for a node that takes more in 100 ms."),
    CQ_SET_SIZE(struct node_settings, cache, "raft.cache", "64MiB", "1MiB", "64GiB",
                "Entries and bodies that are kept in memory for followers."),
    CQ_SET_SIZE(struct node_settings, pending, "raft.pending_max", "32MiB", "1MiB", "4GiB",
                "Proposals of one shard that are not committed yet; more are refused as overload."),
    CQ_SET_INT(struct node_settings, trim_entries, "raft.trim_entries", "4096", 16, 1000000, "entries",
               "A shard's log is trimmed when so many entries are needed by no replica."),
    CQ_SET_SIZE(struct node_settings, outbox_max, "events.outbox.max_bytes", "64MiB", "1MiB", "1TiB",
                "Events of one shard that wait for being published. Past it the oldest are dropped and counted, final "
                "ones last; mail is never held up."),
    CQ_SET_INT(struct node_settings, keep_entries, "raft.log_keep_entries", "1000000", 64, 1000000000, "entries",
               "A leader keeps its log for a replica that lacks up to so many entries; one that lacks more is "
               "re-seeded when it comes back."),
    CQ_SET_SIZE(struct node_settings, keep_bytes, "raft.log_keep_bytes", "4GiB", "64KiB", "1TiB",
                "The same in bytes of entries and their bodies, for each shard."),
    CQ_SET_DURATION(struct node_settings, keep_us, "raft.log_keep_time", "24h", "1s", "1000h",
                    "The same in time, since the replica last took something."),
    CQ_SET_INT(struct node_settings, reseed_concurrency, "reseed.concurrency", "2", 1, 64, "replicas",
               "Replicas of this node that are copied from other nodes at the same time."),
    CQ_SET_INT(struct node_settings, reseed_sources, "reseed.sources", "4", 1, 64, "copies",
               "Copies that other nodes read from this node at the same time; more wait."),
    CQ_SET_SIZE(struct node_settings, reseed_rate, "reseed.rate", "64MiB", "64KiB", "1TiB",
                "Bytes a second that this node copies, of all its replicas together."),
    CQ_SET_DURATION(struct node_settings, reseed_time_us, "reseed.source_time", "30m", "5s", "1000h",
                    "How long a copy may hold this node's snapshot and log: then it is given up and begun again."),
    CQ_SET_DURATION(struct node_settings, reseed_retry_us, "reseed.retry", "5s", "100ms", "1h",
                    "After an attempt to re-seed a replica that failed."),
    CQ_SET_INT(struct node_settings, moves_per_node, "moves.per_node", "2", 1, 16, "moves",
               "Moves of replicas from or to one node at the same time; more wait. What the node that leads the system "
               "shard has here counts."),
    CQ_SET_SIZE(struct node_settings, verify_rate, "verify.rate", "64MiB", "64KiB", "1TiB",
                "Bytes a second that chasquictl verify makes this node read."),
    CQ_SET_SIZE(struct node_settings, scrub_rate, "scrub.rate", "4MiB", "0", "1TiB",
                "Bytes a second at which this node reads all its replicas in the background and checks them; one that "
                "is damaged is copied again. 0: never."),
    CQ_SET_DURATION(struct node_settings, scrub_interval_us, "scrub.interval", "168h", "1s", "10000h",
                    "From the beginning of one round through all replicas to that of the next, which waits for its "
                    "end. The first begins ten minutes after the start, or after this time when it is shorter."),
};

void node_config_parts(struct node_config *config, struct cq_config_part parts_r[static NODE_CONFIG_PARTS])
{
    parts_r[0] = (struct cq_config_part)CQ_CONFIG_PART("storage node", rows, &config->node);
    parts_r[1] = store_rocksdb_config_part(&config->store);
    parts_r[2] = rpc_server_config_part(&config->server);
    parts_r[3] = rpc_client_config_part(&config->client);
    parts_r[4] = admin_config_part(&config->admin);
    parts_r[5] = cq_log_config_part(&config->log);
    parts_r[6] = disk_config_part(&config->disk);
    event_config_parts(&config->events, parts_r + 7);
}

static uint64_t chosen(uint64_t setting, uint64_t of_profile, uint64_t least)
{
    if (setting == 0)
        return of_profile;
    return setting < least ? least : setting;
}

uint64_t node_election_us(const struct node_settings *settings)
{
    return chosen(settings->election_us, profiles[settings->raft_profile].election_us, ELECTION_MIN_US);
}

unsigned node_rpc_servers(const struct node_settings *settings)
{
    return settings->workers > 0 ? (unsigned)settings->workers : 1;
}

struct raft_settings node_raft_settings(const struct node_settings *settings)
{
    struct raft_settings raft;
    raft_settings_default(&raft);
    raft.election_ms = (uint32_t)(node_election_us(settings) / 1000);
    raft.heartbeat_ms =
        (uint32_t)(chosen(settings->heartbeat_us, profiles[settings->raft_profile].heartbeat_us, HEARTBEAT_MIN_US) /
                   1000);
    raft.window_bytes = settings->window;
    raft.window_bytes_max = settings->window_max;
    raft.cache_bytes_max = settings->cache;
    raft.pending_bytes_max = settings->pending;
    raft.trim_entries = (uint32_t)settings->trim_entries;
    raft.keep_entries = (uint64_t)settings->keep_entries;
    raft.keep_bytes = settings->keep_bytes;
    raft.keep_ms = settings->keep_us / 1000;
    return raft;
}
