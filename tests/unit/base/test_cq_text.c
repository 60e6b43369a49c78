#include "base/cq_b64.h"
#include "base/cq_hash.h"
#include "base/cq_hex.h"
#include "base/cq_list.h"
#include "base/cq_rand.h"
#include "base/cq_text.h"

#include "unit/cq_cmocka.h"

#include <stdlib.h>

#define SLICE_OF_CASE(c) cq_slice_of((c).text, (c).len)

static void utf8_is_decoded_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        uint32_t code;
        size_t used;
    } cases[] = {
        {"a", 1, 'a', 1},
        {"\x00", 1, 0, 1},
        {"\xc3\xa9", 2, 0xe9, 2},
        {"\xe2\x82\xac", 3, 0x20ac, 3},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff, 4},
        {"\xf4\x90\x80\x80", 4, CQ_UTF8_BAD, 1}, /* over the last code point */
        {"\xc0\xaf", 2, CQ_UTF8_BAD, 1},         /* overlong "/" */
        {"\xe0\x80\xaf", 3, CQ_UTF8_BAD, 1},
        {"\xed\xa0\x80", 3, CQ_UTF8_BAD, 1}, /* surrogate */
        {"\xc3", 1, CQ_UTF8_BAD, 1},         /* ends early */
        {"\xe2\x82", 2, CQ_UTF8_BAD, 1},
        {"\xc3\x28", 2, CQ_UTF8_BAD, 1},
        {"\x80", 1, CQ_UTF8_BAD, 1},
        {"\xff", 1, CQ_UTF8_BAD, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t used = 0;
        assert_int_equal(cq_utf8_next(SLICE_OF_CASE(cases[i]), &used), cases[i].code);
        assert_int_equal(used, cases[i].used);
        assert_int_equal(cq_utf8_valid(SLICE_OF_CASE(cases[i])), cases[i].code != CQ_UTF8_BAD);
    }
}

static void json_text_cannot_leave_its_quotes_or_drive_a_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *escaped;
    } cases[] = {
        {"", 0, ""},
        {"plain", 5, "plain"},
        {"a\"b\\c", 5, "a\\\"b\\\\c"},
        {"line\r\n\tend", 10, "line\\r\\n\\tend"},
        {"\x1b[31m\x7f", 6, "\\u001b[31m\\u007f"},
        {"a\0b", 3, "a\\u0000b"},
        {"\xc2\x9b", 2, "\\u009b"},                /* C1 CSI */
        {"\xe2\x80\xae", 3, "\\u202e"},            /* right-to-left override */
        {"\xf3\xa0\x80\x81", 4, "\\udb40\\udc01"}, /* tag character */
        {"\xc3\xa9", 2, "\xc3\xa9"},
        {"\xe9t\xe9", 3, "\xef\xbf\xbdt\xef\xbf\xbd"}, /* Latin-1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_buf out;
        cq_buf_init(&out, 1000);
        assert_true(cq_json_escape(&out, SLICE_OF_CASE(cases[i])));
        assert_slice(cq_buf_slice(&out), cases[i].escaped);
        cq_buf_fini(&out);
    }
}

static void hex_goes_there_and_back(void **state)
{
    (void)state;
    char text[CQ_HEX64_SIZE];
    uint64_t value = 0;
    cq_hex_u64(UINT64_C(0x0123456789abcdef), text);
    assert_string_equal(text, "0123456789abcdef");
    assert_true(cq_hex_u64_parse(CQ_SLICE("0123456789ABCDEF"), &value));
    assert_true(value == UINT64_C(0x0123456789abcdef));
    assert_false(cq_hex_u64_parse(CQ_SLICE("0123456789abcde"), &value));
    assert_false(cq_hex_u64_parse(CQ_SLICE("0123456789abcdeg"), &value));
    assert_false(cq_hex_u64_parse(CQ_SLICE("0123456789abcdef0"), &value));

    uint8_t bytes[2];
    size_t len = 9;
    assert_true(cq_hex_decode(CQ_SLICE("00fF"), bytes, 2, &len));
    assert_int_equal(len, 2);
    assert_memory_equal(bytes, "\x00\xff", 2);
    assert_false(cq_hex_decode(CQ_SLICE("00ff00"), bytes, 2, &len));
    assert_false(cq_hex_decode(CQ_SLICE("0"), bytes, 2, &len));
    assert_false(cq_hex_decode(CQ_SLICE("0x"), bytes, 2, &len));
    struct cq_buf out;
    cq_buf_init(&out, 4);
    assert_true(cq_hex_add(&out, cq_slice_of(bytes, 2)));
    assert_false(cq_hex_add(&out, cq_slice_of(bytes, 1)));
    assert_slice(cq_buf_slice(&out), "00ff");
    cq_buf_fini(&out);
}

static void base64_of_the_rfc_goes_there_and_back(void **state)
{
    (void)state;
    /* RFC 4648 section 10 */
    static const char *const cases[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "-__-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int url = 0; url < 2; url++) {
            struct cq_buf out;
            cq_buf_init(&out, 100);
            assert_true(cq_b64_encode(&out, cq_slice_cstr(cases[i][0]), url ? CQ_B64_URL : CQ_B64_STD));
            assert_slice(cq_buf_slice(&out), cases[i][1 + url]);
            cq_buf_reset(&out, 100);
            assert_true(cq_b64_decode(&out, cq_slice_cstr(cases[i][1 + url]), url ? CQ_B64_URL : CQ_B64_STD));
            assert_slice(cq_buf_slice(&out), cases[i][0]);
            cq_buf_fini(&out);
        }
}

static void base64_that_is_not_strict_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum cq_b64_alphabet alphabet;
    } cases[] = {
        {"Zg", CQ_B64_STD},      {"Zg=", CQ_B64_STD},      {"Zg===", CQ_B64_STD}, {"=", CQ_B64_STD},
        {"====", CQ_B64_STD},    {"Z===", CQ_B64_STD},     {"Zh==", CQ_B64_STD},  {"Zm9=", CQ_B64_STD},
        {"Zm9v\n", CQ_B64_STD},  {"Zg==Zg==", CQ_B64_STD}, {"Zm-v", CQ_B64_STD},  {"Zm+v", CQ_B64_URL},
        {"Zg==", CQ_B64_URL},    {"Z", CQ_B64_URL},        {"Zh", CQ_B64_URL},    {" Zg=", CQ_B64_STD},
        {"Zm\xc3v", CQ_B64_STD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cq_buf out;
        cq_buf_init(&out, 100);
        cq_buf_cstr(&out, "kept");
        assert_false(cq_b64_decode(&out, cq_slice_cstr(cases[i].text), cases[i].alphabet));
        assert_slice(cq_buf_slice(&out), "kept");
        cq_buf_fini(&out);
    }
    struct cq_buf tight;
    cq_buf_init(&tight, 2);
    assert_false(cq_b64_decode(&tight, CQ_SLICE("Zm9v"), CQ_B64_STD));
    assert_int_equal(tight.len, 0);
    cq_buf_fini(&tight);
}

static void hashes_are_what_is_on_disk_for_ever(void **state)
{
    (void)state;
    assert_true(cq_xxh3_64(CQ_SLICE_NONE) == UINT64_C(0x2d06800538d394c2));
    struct cq_hash128 none = cq_xxh3_128(CQ_SLICE_NONE);
    assert_true(none.low == UINT64_C(0x6001c324468d497f) && none.high == UINT64_C(0x99aa06d3014798d8));
    assert_true(cq_xxh3_64_seed(CQ_SLICE("x"), 0) == cq_xxh3_64(CQ_SLICE("x")));
    assert_true(cq_xxh3_64_seed(CQ_SLICE("x"), 1) != cq_xxh3_64(CQ_SLICE("x")));

    char text[1000];
    memset(text, 'm', sizeof text);
    struct cq_xxh3 *hash = cq_xxh3_new();
    for (size_t i = 0; i < sizeof text; i += 100)
        cq_xxh3_update(hash, cq_slice_of(text + i, 100));
    assert_true(cq_hash128_eq(cq_xxh3_digest128(hash), cq_xxh3_128(cq_slice_of(text, sizeof text))));
    assert_true(cq_xxh3_digest64(hash) == cq_xxh3_64(cq_slice_of(text, sizeof text)));
    cq_xxh3_reset(hash);
    assert_true(cq_xxh3_digest64(hash) == cq_xxh3_64(CQ_SLICE_NONE));
    cq_xxh3_free(&hash);
    cq_xxh3_free(&hash);

    /* RFC 4231 test case 2 */
    uint8_t mac[CQ_HMAC_SIZE];
    struct cq_buf hex;
    cq_buf_init(&hex, 64);
    cq_hmac_sha256(CQ_SLICE("Jefe"), CQ_SLICE("what do ya want for nothing?"), mac);
    cq_hex_add(&hex, cq_slice_of(mac, sizeof mac));
    assert_slice(cq_buf_slice(&hex), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    cq_buf_fini(&hex);
    assert_true(cq_siphash(CQ_SLICE("a")) == cq_siphash(CQ_SLICE("a")));
    assert_true(cq_siphash(CQ_SLICE("a")) != cq_siphash(CQ_SLICE("b")));
}

static void random_numbers_stay_below_their_bound(void **state)
{
    (void)state;
    struct cq_prng prng = {1};
    unsigned seen = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = cq_rand_below(3);
        assert_true(value < 3);
        seen |= 1u << value;
        assert_true(cq_prng_below(&prng, 7) < 7);
    }
    assert_int_equal(seen, 7);
    assert_true(cq_rand_below(1) == 0);
    assert_true(cq_rand_u64() != cq_rand_u64());
}

struct item {
    int n;
    struct cq_list link;
};

static void list_keeps_order_and_survives_removal_in_a_walk(void **state)
{
    (void)state;
    struct cq_list head;
    struct item items[5];
    cq_list_init(&head);
    assert_true(cq_list_empty(&head) && !cq_list_first(&head) && !cq_list_last(&head));
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        cq_list_push_back(&head, &items[i].link);
    }
    cq_list_each_safe (&head, node) {
        struct item *item = cq_list_entry(node, struct item, link);
        if (item->n % 2)
            cq_list_remove(node);
    }
    cq_list_remove(&items[1].link); /* again: harmless */
    cq_list_push_front(&head, &items[3].link);
    int want[] = {3, 0, 2, 4}, i = 0;
    cq_list_each (&head, node)
        assert_int_equal(cq_list_entry(node, struct item, link)->n, want[i++]);
    assert_int_equal(i, 4);
    assert_ptr_equal(cq_list_last(&head), &items[4].link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_decoded_strictly),
        cmocka_unit_test(json_text_cannot_leave_its_quotes_or_drive_a_terminal),
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(base64_of_the_rfc_goes_there_and_back),
        cmocka_unit_test(base64_that_is_not_strict_is_refused),
        cmocka_unit_test(hashes_are_what_is_on_disk_for_ever),
        cmocka_unit_test(random_numbers_stay_below_their_bound),
        cmocka_unit_test(list_keeps_order_and_survives_removal_in_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
