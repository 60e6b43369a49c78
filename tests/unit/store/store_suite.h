/* What every store keeps to, whatever is behind it: each test gets an empty store from the factory and closes it. */
#ifndef STORE_SUITE_H
#define STORE_SUITE_H

#include "store/store.h"

/* For cmocka: a test's *state must point to one of these. */
struct store_suite {
    struct store *(*open)(void *arg);
    void *arg;
};

void a_value_is_read_back_as_its_parts_put_together(void **state);
void a_missing_key_is_not_found(void **state);
void a_value_over_the_buffers_maximum_is_a_limit(void **state);
void keys_come_in_byte_order_within_the_range(void **state);
void seek_goes_to_the_first_key_not_below(void **state);
void a_batch_acts_in_the_order_of_its_operations(void **state);
void a_range_deletion_spares_its_end(void **state);
void families_do_not_mix(void **state);
void an_iterator_and_a_snapshot_see_the_moment_of_their_birth(void **state);

#define STORE_SUITE_TESTS(suite)                                                                                       \
    {"a_value_is_read_back_as_its_parts_put_together", a_value_is_read_back_as_its_parts_put_together, NULL, NULL,     \
     (suite)},                                                                                                         \
        {"a_missing_key_is_not_found", a_missing_key_is_not_found, NULL, NULL, (suite)},                               \
        {"a_value_over_the_buffers_maximum_is_a_limit", a_value_over_the_buffers_maximum_is_a_limit, NULL, NULL,       \
         (suite)},                                                                                                     \
        {"keys_come_in_byte_order_within_the_range", keys_come_in_byte_order_within_the_range, NULL, NULL, (suite)},   \
        {"seek_goes_to_the_first_key_not_below", seek_goes_to_the_first_key_not_below, NULL, NULL, (suite)},           \
        {"a_batch_acts_in_the_order_of_its_operations", a_batch_acts_in_the_order_of_its_operations, NULL, NULL,       \
         (suite)},                                                                                                     \
        {"a_range_deletion_spares_its_end", a_range_deletion_spares_its_end, NULL, NULL, (suite)},                     \
        {"families_do_not_mix", families_do_not_mix, NULL, NULL, (suite)},                                             \
    {                                                                                                                  \
        "an_iterator_and_a_snapshot_see_the_moment_of_their_birth",                                                    \
            an_iterator_and_a_snapshot_see_the_moment_of_their_birth, NULL, NULL, (suite)                              \
    }

#endif
