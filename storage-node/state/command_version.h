/* Command versions: what apply does with an entry is fixed by the version that the entry carries (docs/upgrades.md).
 *
 * A group proposes only up to its active version, which is part of its replicated state, starts at
 * COMMAND_VERSION_FIRST and is raised by a command when every member's build can apply the next one. So builds that
 * know different versions can hold replicas of one group, and each of them may lead it.
 *
 * Any observable change of what apply does, a bug fix or a limit included, is a new version: raise
 * command_version_known, ask the entry's version where the difference is, and keep the old code while such entries can
 * exist. A new field of a command or a record counts only from that version on. */
#ifndef COMMAND_VERSION_H
#define COMMAND_VERSION_H

#include "base/cq_err.h"

#include <stdbool.h>
#include <stdint.h>

#define COMMAND_VERSION_FIRST 1 /* of new groups */

/* The highest that this build can apply. */
extern const uint16_t command_version_known;

/* What a leader proposes at in a group with this active version; 0 stands for COMMAND_VERSION_FIRST. */
uint16_t command_version_propose(uint32_t active);

/* Does apply take an entry of this version? Every replica must answer alike: nothing else is asked. */
bool command_version_allowed(uint16_t version, uint16_t active);

/* CQ_E_VERSION with a text that says what to do: `active` is above what this build (known) can apply. */
enum cq_rc command_version_too_new(uint32_t active, uint32_t known, struct cq_err *err);

/* What a version does beside what it says elsewhere: nothing. The build that the upgrade test mixes with this one
 * (tests/upgrade/command_version_next.c) has one version more and does something here. On the apply thread, after a
 * command of an account has been carried out; and after each command of the system shard. */
struct account_record;
void command_version_account(uint16_t version, struct account_record *account);
void command_version_system(uint16_t version, uint64_t *next_replica);

#endif
