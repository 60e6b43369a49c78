/* A machine that keeps a list of numbers, for the stories about Raft itself: a command appends one. */
#ifndef SIM_TOY_H
#define SIM_TOY_H

#include "sim.h"

enum cq_rc sim_toy_open(const struct machine_config *config, struct machine **machine_r, struct cq_err *err);

/* An entry that appends the number, with one chunk of chunk_size octets (0: none) that the number determines.
 * References in *proposal_r are released by sim_toy_release(). */
struct sim_toy_entry {
    struct raft_proposal proposal;
    struct raft_body body;
};
void sim_toy_entry(unsigned group, uint64_t number, uint32_t chunk_size, struct sim_toy_entry *entry_r);
void sim_toy_release(struct sim_toy_entry *entry);

size_t sim_toy_count(const struct machine *machine);
uint64_t sim_toy_at(const struct machine *machine, size_t i);

#endif
