/* One small thing each, done `count` times. bench/micro runs each twice under callgrind, with a small and a large
 * count, and divides the difference of instructions by the difference of counts: what it costs to begin falls out, and
 * a busy machine changes nothing. */
#ifndef MICRO_H
#define MICRO_H

#include <stdint.h>

struct micro {
    const char *name, *what;
    void (*run)(uint64_t count);
    uint64_t few, many; /* counts of the two runs */
};

void micro_mime(uint64_t count);
void micro_imap(uint64_t count);
void micro_append(uint64_t count);
void micro_store(uint64_t count);
void micro_commit(uint64_t count);
void micro_rpc(uint64_t count);

#endif
