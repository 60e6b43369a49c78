/* The function that RocksDB finds under its name, whoever made it. */
#include "store/store_crc32c.h"

#include "unit/cq_cmocka.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_rocksdb.h"

static uint32_t (*extend)(uint32_t crc, const void *data, size_t n);
static void *found;

static int find(void **state)
{
    (void)state;
    found = dlsym(RTLD_DEFAULT, "_ZN7rocksdb6crc32c6ExtendEjPKcm");
    assert_non_null(found);
    memcpy(&extend, &found, sizeof extend);
    return 0;
}

/* Bit by bit, from the definition. */
static uint32_t reference(uint32_t crc, const uint8_t *data, size_t n)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void fill(uint8_t *data, size_t n)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
}

static void rfc_3720_examples_come_out(void **state)
{
    (void)state;
    uint8_t data[32];
    memset(data, 0, sizeof data);
    assert_int_equal(extend(0, data, 32), 0x8A9136AA);
    memset(data, 0xff, sizeof data);
    assert_int_equal(extend(0, data, 32), 0x62A8AB43);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    assert_int_equal(extend(0, data, 32), 0x46DD794E);
    assert_int_equal(extend(0, "123456789", 9), 0xE3069283);
    assert_int_equal(extend(0, data, 0), 0);
}

static void every_length_and_alignment_is_as_defined(void **state)
{
    (void)state;
    enum { MAX = 7000 };
    uint8_t *data = malloc(MAX + 16);
    fill(data, MAX + 16);
    for (size_t n = 0; n <= MAX; n += n < 800 ? 1 : 61)
        for (size_t at = 0; at < 9; at += 4)
            assert_int_equal(extend(77, data + at, n), reference(77, data + at, n));
    free(data);
}

static void a_sum_can_be_continued_anywhere(void **state)
{
    (void)state;
    uint8_t data[5000];
    fill(data, sizeof data);
    uint32_t whole = reference(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut += 37)
        assert_int_equal(extend(extend(0, data, cut), data + cut, sizeof data - cut), whole);
}

/* Both are in this program, and not in the library. */
static void it_is_ours_where_the_processor_can(void **state)
{
    (void)state;
    Dl_info of_extend, of_ours;
    assert_int_not_equal(dladdr(found, &of_extend), 0);
    assert_int_not_equal(dladdr((void *)(uintptr_t)find, &of_ours), 0);
    if (store_crc32c_is_fast())
        assert_string_equal(of_extend.dli_fname, of_ours.dli_fname);
    assert_ptr_not_equal(store_rocksdb_open, NULL); /* the library is linked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_3720_examples_come_out),
        cmocka_unit_test(every_length_and_alignment_is_as_defined),
        cmocka_unit_test(a_sum_can_be_continued_anywhere),
        cmocka_unit_test(it_is_ours_where_the_processor_can),
    };
    return cmocka_run_group_tests(tests, find, NULL);
}
