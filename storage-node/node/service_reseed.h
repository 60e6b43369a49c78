/* The source's side of re-seeding over RPC (proto/reseed.proto): storage nodes alone may ask, the leader alone answers.
 */
#ifndef SERVICE_RESEED_H
#define SERVICE_RESEED_H

#include "node/worker.h"

struct rpc_service service_reseed(struct worker *worker);

#endif
