/* Requests to a group: the commands and reads of proto/mail.proto for a shard, those of proto/system.proto for group 0.
 *
 * A command: checked (size, hashes of what follows it), made into a log entry, proposed; its outcome is the answer. A
 * read: confirmed by a ReadIndex round, run on the group's apply thread, answered. A body: the machine gives the
 * chunks, the read pool reads and verifies them. A watch: watch.h.
 *
 * The rows are INLINE: no fiber waits; what a request needs is in a struct that travels between the threads and comes
 * back to its worker's loop once. */
#ifndef SERVICE_GROUP_H
#define SERVICE_GROUP_H

#include "node/worker.h"

struct rpc_service service_group(struct worker *worker);

#endif
