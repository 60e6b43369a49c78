/* Parts of a topology as messages of proto/system.proto, for those who answer with them. */
#ifndef TOPOLOGY_MESSAGE_H
#define TOPOLOGY_MESSAGE_H

#include "cluster/topology.h"
#include "proto/system.pb-c.h"

/* The uuids are borrowed from the topology. */
void topology_move_to_proto(const struct topology *topology, const struct topology_move *move,
                            Chasqui__System__Move *out);

#endif
