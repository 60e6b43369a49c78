/* The cache of bodies: whose piece is found, what stays and what goes, and that its memory has an end. */
#include "mailstore/body_cache.h"

#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "unit/cq_cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define KIB 1024u
#define SIZE (8 * KIB) /* of a test's piece */
#define MAX (64 * SIZE)

static struct body_key key_of(uint64_t email)
{
    return (struct body_key){.account = 1, .incarnation = 2, .email = email, .saved = 3, .size = SIZE, .index = 0};
}

/* Octets that tell whose they are. */
static struct body_piece *piece_of(uint64_t email, uint32_t size)
{
    struct cq_pool *pool = cq_pool_new(64);
    uint8_t *octets = cq_pool_alloc(pool, size);
    memset(octets, (int)(email & 0xff), size);
    return body_piece_new(&pool, cq_slice_of(octets, size));
}

static void put(struct body_cache *cache, uint64_t email)
{
    const struct body_key key = key_of(email);
    struct body_piece *piece = piece_of(email, SIZE);
    body_cache_put(cache, &key, piece, SIZE);
    body_piece_unref(&piece);
}

/* The whole piece, held. */
static struct body_piece *hold(struct body_cache *cache, uint64_t email)
{
    const struct body_key key = key_of(email);
    return body_cache_get(cache, &key, 0, SIZE);
}

static bool has(struct body_cache *cache, uint64_t email)
{
    struct body_piece *piece = hold(cache, email);
    bool there = piece;
    if (there) {
        const struct cq_slice octets = body_piece_octets(piece);
        assert_int_equal(octets.len, SIZE);
        assert_int_equal(octets.data[0], email & 0xff);
        assert_int_equal(octets.data[SIZE - 1], email & 0xff);
    }
    body_piece_unref(&piece);
    return there;
}

/* What a client does: looks, and brings what is not there. */
static bool read_once(struct body_cache *cache, uint64_t email)
{
    bool there = has(cache, email);
    if (!there)
        put(cache, email);
    return there;
}

static void a_piece_is_found_under_its_own_key_and_no_other(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    put(cache, 7);
    assert_true(has(cache, 7));
    const struct body_key own = key_of(7);
    struct body_key others[6];
    for (int i = 0; i < 6; i++)
        others[i] = own;
    others[0].account++;     /* somebody else's mail of the same number */
    others[1].incarnation++; /* the account was deleted and made anew, or restored */
    others[2].email++;
    others[3].saved++; /* the number was given again after a recovery with loss */
    others[4].size++;
    others[5].index++;
    for (int i = 0; i < 6; i++)
        assert_null(body_cache_get(cache, &others[i], 0, 1));
    body_cache_free(&cache);
    assert_null(cache);
}

static void without_memory_nothing_is_kept_and_nothing_breaks(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(0);
    const struct body_key key = key_of(1);
    assert_null(cache);
    put(cache, 1);
    assert_false(has(cache, 1));
    assert_false(body_cache_asked_before(cache, &key));
    assert_int_equal(body_cache_state(cache).bytes, 0);
    body_cache_free(&cache);
}

static void the_first_of_two_that_bring_the_same_stays(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    put(cache, 1);
    struct body_piece *first = hold(cache, 1);
    put(cache, 1);
    struct body_piece *second = hold(cache, 1);
    assert_ptr_equal(first, second);
    assert_int_equal(body_cache_state(cache).pieces, 1);
    body_piece_unref(&first);
    body_piece_unref(&second);
    body_cache_free(&cache);
}

static void memory_never_passes_the_maximum(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 100, 1 * KIB, 8 * KIB, 64 * KIB};
    static const size_t maxima[] = {1, 4000, 20 * KIB, 75 * KIB, 1024 * KIB};
    struct cq_prng random = {.state = 42};
    for (size_t m = 0; m < sizeof maxima / sizeof *maxima; m++) {
        struct body_cache *cache = body_cache_new(maxima[m]);
        for (int i = 0; i < 3000; i++) {
            const struct body_key key = key_of(cq_prng_next(&random) % 300);
            uint32_t size = sizes[key.email % 5];
            struct body_piece *piece = body_cache_get(cache, &key, 0, size);
            if (!piece) {
                piece = piece_of(key.email, size);
                body_cache_put(cache, &key, piece, size);
            }
            assert_int_equal(body_piece_octets(piece).len, size);
            body_piece_unref(&piece);
            const struct body_cache_state s = body_cache_state(cache);
            assert_true(s.bytes <= maxima[m]);
            assert_true(s.remembered <= maxima[m] / 8192);
        }
        body_cache_free(&cache);
    }
}

static void a_piece_larger_than_all_is_not_kept_and_pushes_nothing_out(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(4 * SIZE);
    const struct body_key big = key_of(9);
    struct body_piece *piece = piece_of(9, 5 * SIZE);
    put(cache, 1);
    body_cache_put(cache, &big, piece, 5 * SIZE);
    assert_true(has(cache, 1));
    assert_false(has(cache, 9));
    body_piece_unref(&piece);
    body_cache_free(&cache);
}

static void what_somebody_holds_is_not_pushed_out_and_stays_inside_the_maximum(void **state)
{
    (void)state;
    struct body_piece *held[MAX / SIZE];
    struct body_cache *cache = body_cache_new(MAX);
    size_t count = 0;
    for (uint64_t i = 0; i < MAX / SIZE; i++) {
        put(cache, i);
        held[count] = hold(cache, i);
        count += held[count] != NULL;
    }
    assert_true(count >= MAX / SIZE - 8); /* entries and keys take some */
    for (uint64_t i = 1000; i < 2000; i++) {
        put(cache, i);
        assert_false(has(cache, i)); /* there is no room: not kept */
        assert_true(body_cache_state(cache).bytes <= MAX);
    }
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(body_piece_octets(held[i]).data[0], i & 0xff);
    body_piece_unref(&held[5]);
    for (uint64_t i = 3000; i < 3010; i++)
        put(cache, i);
    assert_true(body_cache_state(cache).bytes <= MAX);
    body_cache_free(&cache); /* pieces outlive it */
    for (uint64_t i = 0; i < count; i++) {
        assert_true(!held[i] || body_piece_is_alone(held[i]));
        body_piece_unref(&held[i]);
    }
}

static void as_long_as_there_is_room_what_was_read_once_is_there(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    for (uint64_t i = 0; i < 50; i++)
        assert_false(read_once(cache, i));
    for (uint64_t i = 0; i < 50; i++)
        assert_true(read_once(cache, i));
    body_cache_free(&cache);
}

static void a_backup_that_reads_each_body_once_pushes_out_none_that_was_read_again(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < 40; i++)
            read_once(cache, i);
    for (uint64_t i = 1000; i < 20000; i++)
        assert_false(read_once(cache, i));
    unsigned there = 0;
    for (uint64_t i = 0; i < 40; i++)
        there += has(cache, i);
    assert_int_equal(there, 40);
    body_cache_free(&cache);
}

static void what_comes_back_soon_after_it_went_stays(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    read_once(cache, 1);
    for (uint64_t i = 100; i < 100 + MAX / SIZE + 10; i++)
        read_once(cache, i);
    assert_false(read_once(cache, 1)); /* gone, but remembered */
    for (uint64_t i = 1000; i < 1200; i++)
        read_once(cache, i);
    assert_true(has(cache, 1));
    body_cache_free(&cache);
}

static void what_nobody_reads_any_more_goes_however_often_it_was_read(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    for (int round = 0; round < 10; round++)
        for (uint64_t i = 0; i < 50; i++)
            read_once(cache, i);
    for (int round = 0; round < 10; round++)
        for (uint64_t i = 100; i < 150; i++)
            read_once(cache, i);
    unsigned old = 0, new = 0;
    for (uint64_t i = 0; i < 50; i++) {
        old += has(cache, i);
        new += has(cache, 100 + i);
    }
    assert_true(new == 50 && old < 15);
    body_cache_free(&cache);
}

static void a_download_in_parts_is_one_reading(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    for (uint64_t i = 0; i < 500; i++) {
        const struct body_key key = key_of(i);
        struct body_piece *piece = piece_of(i, SIZE);
        body_cache_put(cache, &key, piece, SIZE / 8);
        body_piece_unref(&piece);
        for (uint32_t from = SIZE / 8; from < SIZE; from += SIZE / 8) {
            piece = body_cache_get(cache, &key, from, from + SIZE / 8);
            assert_non_null(piece);
            body_piece_unref(&piece);
        }
        if (i < 40)
            assert_true(has(cache, i)); /* only these are read again */
    }
    unsigned there = 0;
    for (uint64_t i = 0; i < 40; i++)
        there += has(cache, i);
    assert_int_equal(there, 40);
    body_cache_free(&cache);
}

static void a_part_that_was_asked_for_before_is_worth_the_whole_and_that_is_no_second_reading(void **state)
{
    (void)state;
    struct body_cache *cache = body_cache_new(MAX);
    const struct body_key key = key_of(1);
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 100; i < 140; i++)
            read_once(cache, i);
    assert_false(body_cache_asked_before(cache, &key));
    assert_true(body_cache_asked_before(cache, &key));
    assert_false(has(cache, 1));
    put(cache, 1);
    assert_true(body_cache_state(cache).bytes <= MAX);
    for (uint64_t i = 1000; i < 1500; i++)
        read_once(cache, i);
    assert_false(has(cache, 1)); /* it was read once */
    body_cache_free(&cache);
}

/* ---- Several workers ---- */

static struct body_cache *shared;
static atomic_uint hits;

static void *work(void *arg)
{
    struct cq_prng random = {.state = (uint64_t)(uintptr_t)arg};
    struct body_piece *slow[8] = {0}; /* of clients that read slowly */
    for (int i = 0; i < 4000; i++) {
        uint64_t r = cq_prng_next(&random), email = r % 3 ? r / 3 % 40 : r / 3 % 400;
        const struct body_key key = key_of(email);
        struct body_piece *piece = hold(shared, email);
        atomic_fetch_add(&hits, piece != NULL);
        if (!piece) {
            piece = piece_of(email, SIZE);
            if (r % 5 || body_cache_asked_before(shared, &key))
                body_cache_put(shared, &key, piece, SIZE);
            assert_true(body_cache_state(shared).bytes <= MAX);
        }
        assert_int_equal(body_piece_octets(piece).data[r / 7 % SIZE], email & 0xff);
        body_piece_unref(&slow[i % 8]);
        slow[i % 8] = piece;
    }
    for (int i = 0; i < 8; i++)
        body_piece_unref(&slow[i]);
    return NULL;
}

static void workers_share_it(void **state)
{
    (void)state;
    pthread_t threads[4];
    shared = body_cache_new(MAX);
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&hits) > 4 * 4000 / 2);
    assert_true(body_cache_state(shared).bytes <= MAX);
    body_cache_free(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_piece_is_found_under_its_own_key_and_no_other),
        cmocka_unit_test(without_memory_nothing_is_kept_and_nothing_breaks),
        cmocka_unit_test(the_first_of_two_that_bring_the_same_stays),
        cmocka_unit_test(memory_never_passes_the_maximum),
        cmocka_unit_test(a_piece_larger_than_all_is_not_kept_and_pushes_nothing_out),
        cmocka_unit_test(what_somebody_holds_is_not_pushed_out_and_stays_inside_the_maximum),
        cmocka_unit_test(as_long_as_there_is_room_what_was_read_once_is_there),
        cmocka_unit_test(a_backup_that_reads_each_body_once_pushes_out_none_that_was_read_again),
        cmocka_unit_test(what_comes_back_soon_after_it_went_stays),
        cmocka_unit_test(what_nobody_reads_any_more_goes_however_often_it_was_read),
        cmocka_unit_test(a_download_in_parts_is_one_reading),
        cmocka_unit_test(a_part_that_was_asked_for_before_is_worth_the_whole_and_that_is_no_second_reading),
        cmocka_unit_test(workers_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
