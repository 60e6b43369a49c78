/* A build with one command version more, and a real difference behind it that reaches the digest: an email id, and an
 * id of a replica, are left out after each command. Linked instead of state/command_version.c into the program that the
 * upgrade test mixes with the real one, and into unit tests.
 *
 * CHASQUI_UPGRADE_PLANT in the environment plants the two mistakes that the rules are there for: "propose" proposes at
 * what this build knows, whatever is active; "apply" also applies it. */
#include "state/command_version.h"
#include "state/records.h"

#include <stdlib.h>
#include <string.h>

#define NEXT 2

const uint16_t command_version_known = NEXT;

static bool planted_here(const char *mistake)
{
    const char *plant = getenv("CHASQUI_UPGRADE_PLANT");
    return plant && strcmp(plant, mistake) == 0;
}

uint16_t command_version_propose(uint32_t active)
{
    if (active < COMMAND_VERSION_FIRST)
        active = COMMAND_VERSION_FIRST;
    if (active > NEXT || planted_here("propose") || planted_here("apply"))
        return NEXT;
    return (uint16_t)active;
}

bool command_version_allowed(uint16_t version, uint16_t active)
{
    return version >= COMMAND_VERSION_FIRST && version <= (planted_here("apply") ? NEXT : active);
}

enum cq_rc command_version_too_new(uint32_t active, uint32_t known, struct cq_err *err)
{
    return CQ_FAIL(err, CQ_E_VERSION, "command version %u is finalized, this build (next) knows up to %u", active,
                   known);
}

void command_version_account(uint16_t version, struct account_record *account)
{
    if (version >= NEXT)
        account->next_email++;
}

void command_version_system(uint16_t version, uint64_t *next_replica)
{
    if (version >= NEXT)
        ++*next_replica;
}
