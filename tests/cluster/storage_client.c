/* A client of storage nodes for tests: speaks with them directly, as a router would, and keeps a record of what was
 * acknowledged that no node can touch.
 *
 *     storage_client load   CA CERT KEY CLUSTER FILE SEED SECONDS ADDRESS...
 *     storage_client probe  CA CERT KEY CLUSTER FILE SEED SECONDS ADDRESS...
 *     storage_client fill   CA CERT KEY CLUSTER FILE SEED SECONDS ADDRESS...
 *     storage_client empty  CA CERT KEY CLUSTER FILE ADDRESS...
 *     storage_client poison CA CERT KEY CLUSTER FILE ADDRESS...
 *     storage_client verify CA CERT KEY CLUSTER FILE ADDRESS...
 *     storage_client watch  CA CERT KEY CLUSTER FILE ADDRESS...
 *     storage_client roles  CA CERTS_FOLDER - CLUSTER - ADDRESS
 *
 * load: appends messages to ACCOUNTS accounts for that long, reads some back at once, and writes a line per message to
 * FILE: "ok ACCOUNT UID SEED SIZE", or "unknown ACCOUNT 0 SEED SIZE" when the outcome is not known. fill: the same
 * with large messages into accounts that a load has made, until each account's shard says that there is too little
 * space. empty: removes all messages of all accounts. verify: reads everything; each acknowledged message is there
 * once, whole, under its UID; nothing else is there but what was unknown. A message's octets follow from its seed.
 * probe: storage_client_probe.c; verify reads its FILE too. */
#include "storage_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/cq_time.h"

#define ACCOUNTS 24

volatile sig_atomic_t client_stopped;

static void on_stop(int number)
{
    (void)number;
    client_stopped = 1;
}

int main(int argc, char **argv)
{
    static struct client client = {.accounts = ACCOUNTS};
    bool load = argc >= 10 && strcmp(argv[1], "load") == 0;
    bool probe = argc >= 10 && strcmp(argv[1], "probe") == 0;
    bool fill = argc >= 10 && strcmp(argv[1], "fill") == 0;
    bool poison = argc >= 8 && strcmp(argv[1], "poison") == 0;
    bool empty = argc >= 8 && strcmp(argv[1], "empty") == 0;
    bool verify = argc >= 8 && strcmp(argv[1], "verify") == 0;
    bool watch = argc >= 8 && strcmp(argv[1], "watch") == 0;
    if (argc == 8 && strcmp(argv[1], "roles") == 0)
        return check_roles(&client, argv + 2, argv[7]);
    if (!load && !probe && !fill && !empty && !poison && !verify && !watch) {
        fprintf(stderr, "usage: storage_client load|probe|fill CA CERT KEY CLUSTER FILE SEED SECONDS ADDRESS...\n"
                        "       storage_client verify CA CERT KEY CLUSTER FILE ADDRESS...\n");
        return 2;
    }
    client.file = fopen(argv[6], verify || empty || poison ? "r" : "a");
    if (!client.file) {
        perror(argv[6]);
        return 1;
    }
    int rc;
    if (probe) {
        char path[4096];
        snprintf(path, sizeof path, "%s.times", argv[6]);
        client.arg = fopen(path, "a");
        client.attempt_ms = ATTEMPT_PROBE_MS;
        signal(SIGTERM, on_stop);
        if (!client.arg) {
            perror(path);
            return 1;
        }
    }
    if (load || probe) {
        client.seed = strtoull(argv[7], NULL, 10);
        client.until_us = cq_time_mono_us() + strtoull(argv[8], NULL, 10) * CQ_US_PER_S;
        rc = run_sessions(&client, argv + 2, argv + 9, argc - 9, probe ? probe_fiber : load_fiber);
        printf("%u acknowledged, %u unknown, %u failures, longest wait %llu ms\n", client.acked, client.unknown,
               client.failures, (unsigned long long)client.longest_us / 1000);
    } else if (fill) {
        client.seed = strtoull(argv[7], NULL, 10);
        client.until_us = cq_time_mono_us() + strtoull(argv[8], NULL, 10) * CQ_US_PER_S;
        rc = run_sessions(&client, argv + 2, argv + 9, argc - 9, fill_fiber);
        printf("%u acknowledged, %u accounts refused, %u failures\n", client.acked, client.refused, client.failures);
    } else if (poison) {
        rc = run_sessions(&client, argv + 2, argv + 7, argc - 7, poison_fiber);
    } else if (empty) {
        rc = run_sessions(&client, argv + 2, argv + 7, argc - 7, empty_fiber);
        printf("%u removed, %u failures\n", client.acked, client.failures);
    } else if (watch) {
        client.seed = cq_rand_u64() >> 16;
        rc = run_sessions(&client, argv + 2, argv + 7, argc - 7, watch_fiber);
    } else {
        verify_read_file(client.file);
        rc = run_sessions(&client, argv + 2, argv + 7, argc - 7, verify_fiber);
        printf("%zu lines checked, %u failures\n", verify_line_count(), client.failures);
    }
    fclose(client.file);
    return rc;
}
