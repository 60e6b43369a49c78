#include "state/command_version.h"

#include "base/cq_err.h"

const uint16_t command_version_known = 1;

uint16_t command_version_propose(uint32_t active)
{
    if (active < COMMAND_VERSION_FIRST)
        active = COMMAND_VERSION_FIRST;
    return active < command_version_known ? (uint16_t)active : command_version_known;
}

bool command_version_allowed(uint16_t version, uint16_t active)
{
    return version >= COMMAND_VERSION_FIRST && version <= active;
}

enum cq_rc command_version_too_new(uint32_t active, uint32_t known, struct cq_err *err)
{
    return CQ_FAIL(err, CQ_E_VERSION,
                   "command version %u is finalized, this build (" CHASQUI_VERSION
                   ") knows up to %u: start a build that knows %u; no downgrade goes back across a finalized version",
                   active, known, active);
}

void command_version_account(uint16_t version, struct account_record *account)
{
    (void)version, (void)account;
}

void command_version_system(uint16_t version, uint64_t *next_replica)
{
    (void)version, (void)next_replica;
}
