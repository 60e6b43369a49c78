/* The system shard's state machine (group 0): nodes, labels, shards and their replicas, who holds which slots, and the
 * next replica id. Commands and reads of proto/system.proto; formats in docs/formats/system.md. Pure and deterministic.
 *
 * The present topology is an immutable value behind a reference count: take a reference on the machine's thread and
 * hand it to any thread. Its epoch rises by one with each change; epoch 0 means that no cluster was initialised.
 *
 * After an apply: compare the epoch of system_machine_topology() with the one that was published last. */
#ifndef SYSTEM_MACHINE_H
#define SYSTEM_MACHINE_H

#include "cluster/topology.h"
#include "state/machine.h"

#define SYSTEM_GROUP 0

/* The first id that the system shard gives away is above those of its own replicas (BOOTSTRAP_SYSTEM: 1, 2, 3...). */

/* Reads where the last written effects left off. CQ_E_CORRUPT, CQ_E_VERSION (as mail_machine_open), CQ_E_IO. */
enum cq_rc system_machine_open(const struct machine_config *config, struct machine **machine_r, struct cq_err *err);

/* A new reference: topology_unref() it. On the machine's thread. */
const struct topology *system_machine_topology(const struct machine *machine);

/* The group's entry time (us): the stamp of answers, and the floor of the next entry's time. */
uint64_t system_machine_time(const struct machine *machine);

/* The group's active command version, which is also what the cluster has finalized (command_version.h). */
uint16_t system_machine_active_version(const struct machine *machine);

struct system_method {
    uint32_t method; /* enum Method of proto/system.proto */
    const char *name;
    bool command; /* else: a read */
};
/* The commands and reads of group 0; NULL for others. */
const struct system_method *system_method_find(uint32_t method);

#endif
