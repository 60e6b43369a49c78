/* A replica's records as they were in the store when the process started. Private to raft/. */
#ifndef RAFT_BOOT_H
#define RAFT_BOOT_H

#include "raft_conf.h"
#include "raft_log.h"

struct raft_boot {
    uint64_t term, vote;
    struct raft_log log; /* terms of all entries; octets of configurations only */
    uint64_t marker_conf_index;
    struct raft_bytes *marker_conf; /* NULL: nothing was ever trimmed */
};

#endif
