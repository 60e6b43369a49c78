/* chasqui-micro NAME COUNT, or chasqui-micro --list: see micro.h. */
#include "micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct micro all[] = {
    {"mime-index", "parsing a message of 16 KiB and making its summary", micro_mime, 50, 250},
    {"imap-parse", "cutting and parsing one IMAP command, of ten kinds", micro_imap, 2000, 12000},
    {"apply-append", "APPEND in the mailbox state machine, entry included", micro_append, 500, 2500},
    {"apply-store", "STORE of one flag there", micro_store, 500, 2500},
    {"commit", "one entry without a body, on three replicas: log, frames, majority, apply", micro_commit, 200, 1200},
    {"rpc-echo", "a call through a router worker to a node and back: three processes' work, TLS included", micro_rpc,
     200, 1200},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (argc == 2 && strcmp(argv[1], "--list") == 0)
            printf("%s\t%llu\t%llu\t%s\n", all[i].name, (unsigned long long)all[i].few, (unsigned long long)all[i].many,
                   all[i].what);
        if (argc == 3 && strcmp(argv[1], all[i].name) == 0) {
            all[i].run(strtoull(argv[2], NULL, 10));
            return 0;
        }
    }
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return 0;
    fprintf(stderr, "usage: chasqui-micro NAME COUNT | --list\n");
    return 2;
}
