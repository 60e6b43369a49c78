/* Entries and members for the tests of raft/. */
#ifndef RAFT_SAMPLES_H
#define RAFT_SAMPLES_H

#include "raft/raft_host.h"
#include "raft_item.h"

/* A valid command entry with `count` chunks of these sizes; the body is some text. */
struct raft_item *sample_item(const char *text, const uint32_t *chunk_sizes, size_t count);
struct raft_item *sample_barrier(void);
struct raft_item *sample_change(size_t members);
struct raft_member sample_member(unsigned i); /* replica 100 + i on node i */
struct raft_node sample_node(unsigned i);

#endif
