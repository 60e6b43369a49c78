/* The settings of chasqui-storage-node. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "base/cq_config.h"
#include "events/event_config.h"
#include "io/admin_http.h"
#include "node/disk_config.h"
#include "raft/raft_host.h"
#include "rpc/rpc_client.h"
#include "rpc/rpc_server.h"
#include "store/store_rocksdb.h"

enum raft_profile { RAFT_LAN, RAFT_WAN };

struct node_settings {
    const char *cluster;
    const char *data_dir;
    const char *listen;
    const char *advertise; /* "": listen */
    struct cq_strings seeds;
    const char *region, *dc, *zone, *host;
    const char *tls_ca, *tls_cert, *tls_key;
    int64_t workers, apply_threads, read_threads;
    uint64_t stop_timeout_us;
    int raft_profile;                   /* enum raft_profile */
    uint64_t election_us, heartbeat_us; /* 0: as the profile says; node_election_us() */
    uint64_t window, window_max, cache, pending;
    uint64_t outbox_max;
    int64_t trim_entries, keep_entries;
    uint64_t keep_bytes, keep_us;
    int64_t reseed_concurrency, reseed_sources, moves_per_node;
    uint64_t reseed_rate, reseed_time_us, reseed_retry_us;
    uint64_t verify_rate, scrub_rate, scrub_interval_us;
};

struct node_config {
    struct node_settings node;
    struct disk_settings disk;
    struct store_rocksdb_config store;
    struct rpc_server_limits server;
    struct rpc_client_limits client;
    struct event_config events;
    struct admin_config admin;
    struct cq_log_config log;
};

#define NODE_CONFIG_PARTS (7 + EVENT_CONFIG_PARTS)

/* The parts of the settings file, for cq_program_start(). */
void node_config_parts(struct node_config *config, struct cq_config_part parts_r[static NODE_CONFIG_PARTS]);

struct raft_settings node_raft_settings(const struct node_settings *settings);

/* RPC servers of the node: one for each thread of rpc.workers; without such threads one on the Raft thread. */
unsigned node_rpc_servers(const struct node_settings *settings);

/* The election time-out that is in force. */
uint64_t node_election_us(const struct node_settings *settings);

#endif
