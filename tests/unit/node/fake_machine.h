/* A machine for tests: the sum of the numbers in its entries, 8 bytes each, kept as two records (sum and applied
 * index). An entry of another length is refused; an entry FAKE_POISON makes the machine fail for good. */
#ifndef FAKE_MACHINE_H
#define FAKE_MACHINE_H

#include "state/machine.h"

#define FAKE_POISON UINT64_MAX

struct machine *fake_machine_open(struct store *store, uint32_t group);

/* What the store has: 0 and 0 when nothing. */
void fake_machine_stored(struct store *store, uint32_t group, uint64_t *sum_r, uint64_t *applied_r);

/* From an apply_call. */
uint64_t fake_machine_sum(const struct machine *machine);

/* Machines that exist. */
int fake_machine_count(void);

#endif
