/* What stories about the Raft host share: some nodes with the toy machine in the simulator. A function that does not
 * get what it asks for fails the test. */
#ifndef RAFT_STORY_H
#define RAFT_STORY_H

#include "sim_toy.h"

#include "unit/cq_cmocka.h"

/* Nodes that run; ended by story_end. Keeping: so many entries of a log for a member that is away; 0: as is usual. */
struct sim *story_begin(unsigned nodes, unsigned groups);
struct sim *story_begin_keeping(unsigned nodes, unsigned groups, uint64_t keep_entries);
/* All links are healed and all nodes started; after 8 s everything must be in order. */
void story_end(struct sim *sim);

void story_run(struct sim *sim, uint64_t us);
/* Waits until somebody leads; groups are counted from 0. */
struct sim_node *story_leader(struct sim *sim, unsigned group);
struct raft_group_status story_status(struct sim_node *node); /* of its first group */

/* What became of a proposal: the `arg` of story_note, which is a sim_node's callback. */
struct story_result {
    bool done;
    enum cq_rc rc;
    uint64_t index;
};
void story_note(struct sim *sim, struct sim_node *node, void *arg, enum cq_rc rc, uint64_t index,
                const struct machine_outcome *outcome);
enum cq_rc story_propose(struct sim_node *node, unsigned group, uint64_t number, uint32_t chunk,
                         struct story_result *result);
/* Proposes the number, and a chunk of so many octets, and waits until it is applied. */
void story_append(struct sim *sim, struct sim_node *node, unsigned group, uint64_t number, uint32_t chunk);
/* The node has applied just these numbers, in order. */
void story_numbers(const struct sim_node *node, unsigned group, uint64_t first, uint64_t count);

void story_copy_family(struct store *from, struct store *to, enum store_family family);

#endif
