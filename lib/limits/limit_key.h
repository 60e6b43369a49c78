/* A kind and a key as 128 bits under a random key of this process: entries have one size whatever strangers send, and
 * nobody can choose keys that meet. */
#ifndef CHASQUI_LIMIT_KEY_H
#define CHASQUI_LIMIT_KEY_H

#include "base/cq_slice.h"

struct limit_key {
    uint8_t bytes[16];
};

struct limit_key limit_key_of(uint32_t kind, struct cq_slice key);

#endif
