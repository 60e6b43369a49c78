/* A group's configuration as bytes: the payload of a configuration entry, of the marker, and what libraft is given. The
 * bytes are libraft's own encoding; libraft reads them without checking bounds, so nothing reaches it that
 * raft_conf_parse() has not accepted. Private to raft/. */
#ifndef RAFT_CONF_H
#define RAFT_CONF_H

#include "base/cq_buf.h"
#include "raft/raft_host.h"

#include <raft.h>

#define RAFT_CONF_BYTES_MAX 4096

struct raft_conf {
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t count;
};

/* CQ_E_INVALID: none, too many, a replica of 0, a replica or a node twice, no voter. */
enum cq_rc raft_conf_check(const struct raft_member *members, size_t count, struct cq_err *err);
void raft_conf_encode(const struct raft_member *members, size_t count, struct cq_buf *out);
/* CQ_E_CORRUPT for what raft_conf_encode() does not make from checked members. */
enum cq_rc raft_conf_parse(struct cq_slice bytes, struct raft_conf *conf_r, struct cq_err *err);
/* For libraft; to be closed by whoever keeps it. */
void raft_conf_to_raft(const struct raft_conf *conf, struct raft_configuration *out);

const struct raft_member *raft_conf_find(const struct raft_conf *conf, uint64_t replica);
size_t raft_conf_voters(const struct raft_conf *conf);

#endif
