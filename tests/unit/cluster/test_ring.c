#include "cluster/ring.h"

#include "unit/cluster/cluster_fixture.h"
#include "unit/cq_cmocka.h"

#define KEYS 4096

static void fill(uint8_t (*ids)[RING_ID_SIZE], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        fixture_uuid(ids[i], i);
}

static void every_node_comes_once_whatever_the_hash(void **state)
{
    (void)state;
    uint8_t ids[7][RING_ID_SIZE];
    static const uint64_t hashes[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 63};
    fill(ids, 7);
    struct ring *ring = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, 7);
    for (size_t h = 0; h < sizeof hashes / sizeof *hashes; h++) {
        uint32_t order[7], seen = 0;
        ring_order(ring, hashes[h], order);
        for (size_t i = 0; i < 7; i++)
            seen |= 1u << order[i];
        assert_int_equal(seen, 127);
    }
    ring_free(&ring);
    assert_null(ring);
}

static void an_empty_ring_has_an_empty_order(void **state)
{
    (void)state;
    uint8_t ids[1][RING_ID_SIZE];
    struct ring *ring = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, 0);
    ring_order(ring, 7, NULL);
    ring_free(&ring);
}

static void the_order_of_the_nodes_given_does_not_matter(void **state)
{
    (void)state;
    uint8_t ids[5][RING_ID_SIZE], turned[5][RING_ID_SIZE];
    fill(ids, 5);
    for (size_t i = 0; i < 5; i++)
        memcpy(turned[4 - i], ids[i], RING_ID_SIZE);
    struct ring *a = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, 5);
    struct ring *b = ring_new((const uint8_t(*)[RING_ID_SIZE])turned, 5);
    for (uint32_t key = 0; key < 200; key++) {
        uint32_t left[5], right[5];
        ring_order(a, ring_hash_group(key), left);
        ring_order(b, ring_hash_group(key), right);
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(left[i], 4 - right[i]);
    }
    ring_free(&a);
    ring_free(&b);
}

/* The values are stored in clusters: they may never change. */
static void the_hashes_are_fixed_for_ever(void **state)
{
    (void)state;
    uint8_t ids[4][RING_ID_SIZE];
    static const uint32_t want[4][4] = {{0, 1, 2, 3}, {1, 3, 0, 2}, {1, 2, 3, 0}, {1, 2, 0, 3}};
    fill(ids, 4);
    struct ring *ring = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, 4);
    for (uint32_t group = 0; group < 4; group++) {
        uint32_t order[4];
        ring_order(ring, ring_hash_group(group), order);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(order[i], want[group][i]);
    }
    assert_true(ring_hash_group(1) == UINT64_C(0xcc4e6a9ebe9eb481));
    ring_free(&ring);
}

static void adding_a_node_moves_only_its_share(void **state)
{
    (void)state;
    for (uint32_t count = 1; count < 12; count++) {
        uint8_t ids[12][RING_ID_SIZE];
        size_t moved = 0;
        fill(ids, count + 1);
        struct ring *before = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, count);
        struct ring *after = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, count + 1);
        for (uint32_t key = 0; key < KEYS; key++) {
            uint32_t old[12], new[12];
            size_t skipped = 0;
            ring_order(before, ring_hash_group(key), old);
            ring_order(after, ring_hash_group(key), new);
            moved += old[0] != new[0];
            /* Without the new node the order is the old one: nothing else has moved. */
            for (size_t i = 0; i <= count; i++) {
                if (new[i] == count)
                    skipped = 1;
                else
                    assert_int_equal(new[i], old[i - skipped]);
            }
        }
        size_t share = KEYS / (count + 1);
        assert_in_range(moved, share * 6 / 10, share * 15 / 10);
        ring_free(&before);
        ring_free(&after);
    }
}

static void keys_are_spread_evenly(void **state)
{
    (void)state;
    uint8_t ids[9][RING_ID_SIZE];
    size_t first[9] = {0};
    fill(ids, 9);
    struct ring *ring = ring_new((const uint8_t(*)[RING_ID_SIZE])ids, 9);
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t order[9];
        ring_order(ring, ring_hash_group(key), order);
        first[order[0]]++;
    }
    for (size_t i = 0; i < 9; i++)
        assert_in_range(first[i], KEYS / 9 * 7 / 10, KEYS / 9 * 14 / 10);
    ring_free(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_comes_once_whatever_the_hash),
        cmocka_unit_test(an_empty_ring_has_an_empty_order),
        cmocka_unit_test(the_order_of_the_nodes_given_does_not_matter),
        cmocka_unit_test(the_hashes_are_fixed_for_ever),
        cmocka_unit_test(adding_a_node_moves_only_its_share),
        cmocka_unit_test(keys_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
