/* Hashes that other mail servers wrote: Dovecot's "{SCHEME}text", postfixadmin's bare crypt texts. Verified by libcrypt
 * or libsodium; a log-in that succeeds replaces them by ours (auth.c). What they may cost is bounded, because the text
 * comes from somebody's table. */
#include "directory/auth_private.h"

#include "base/cq_mem.h"

#include <crypt.h>
#include <sodium.h>
#include <stdlib.h>

#define SHA_ROUNDS_MAX 1000000      /* crypt(5): the default is 5,000 */
#define BCRYPT_COST_MAX 14          /* about a second */
#define ARGON2_KIB_MAX (512u << 10) /* memory of one hash */
#define ARGON2_PASSES_MAX 20

/* Without a prefix the text itself says what it is. */
static const struct {
    const char *prefix;
    const char *begins;
    enum auth_scheme scheme;
} schemes[] = {
    {"{SHA512-CRYPT}", "$6$", AUTH_SCHEME_CRYPT},
    {"{SHA256-CRYPT}", "$5$", AUTH_SCHEME_CRYPT},
    {"{BLF-CRYPT}", "$2", AUTH_SCHEME_CRYPT},
    {"{CRYPT}", "$6$", AUTH_SCHEME_CRYPT},
    {"{CRYPT}", "$5$", AUTH_SCHEME_CRYPT},
    {"{CRYPT}", "$2", AUTH_SCHEME_CRYPT},
    {"{ARGON2ID}", "$argon2id$", AUTH_SCHEME_ARGON2},
    {"", "$6$", AUTH_SCHEME_CRYPT},
    {"", "$5$", AUTH_SCHEME_CRYPT},
    {"", "$2", AUTH_SCHEME_CRYPT},
};

/* The number after `key` in the text; `otherwise` when the key is not there, UINT64_MAX when it is no number. */
static uint64_t number_after(struct cq_slice text, const char *key, uint64_t otherwise)
{
    size_t len = strlen(key);
    for (size_t i = 0; i + len <= text.len; i++) {
        uint64_t value = 0;
        size_t digits = 0;
        if (memcmp(text.data + i, key, len) != 0)
            continue;
        while (i + len + digits < text.len && cq_ascii_digit(text.data[i + len + digits]))
            digits++;
        return cq_slice_u64(cq_slice_sub(text, i + len, digits), UINT32_MAX, &value) ? value : UINT64_MAX;
    }
    return otherwise;
}

static bool is_affordable(struct cq_slice text)
{
    if (cq_slice_starts(text, CQ_SLICE("$argon2id$")))
        return number_after(text, "m=", UINT64_MAX) <= ARGON2_KIB_MAX &&
               number_after(text, ",t=", UINT64_MAX) <= ARGON2_PASSES_MAX;
    if (cq_slice_starts(text, CQ_SLICE("$2")))
        return text.len == 60 && number_after(cq_slice_skip(text, 3), "$", UINT64_MAX) <= BCRYPT_COST_MAX;
    return number_after(text, "$rounds=", 5000) <= SHA_ROUNDS_MAX;
}

enum auth_scheme auth_foreign_scheme(struct cq_slice stored, struct cq_slice *text_r)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct cq_slice prefix = cq_slice_cstr(schemes[i].prefix);
        if (!cq_slice_casestarts(stored, prefix))
            continue;
        *text_r = cq_slice_skip(stored, prefix.len);
        if (cq_slice_starts(*text_r, cq_slice_cstr(schemes[i].begins)) && text_r->len < AUTH_FOREIGN_SIZE &&
            cq_slice_find(*text_r, '\0') == text_r->len && is_affordable(*text_r))
            return schemes[i].scheme;
    }
    return AUTH_SCHEME_NONE;
}

/* A NUL would end the password for crypt(3): such a password has no hash of this kind. */
enum cq_rc auth_foreign_crypt(const char *text, struct cq_slice password)
{
    if (cq_slice_find(password, '\0') < password.len)
        return CQ_E_AUTH;
    struct crypt_data *data = cq_new(struct crypt_data);
    char *cstr = cq_strndup(password.len ? (const char *)password.data : "", password.len);
    const char *made = crypt_r(cstr, text, data);
    enum cq_rc rc = !made || made[0] == '*'                                        ? CQ_E_CORRUPT
                    : cq_slice_secret_eq(cq_slice_cstr(made), cq_slice_cstr(text)) ? CQ_OK
                                                                                   : CQ_E_AUTH;
    cq_wipe(cstr, password.len);
    cq_wipe(data, sizeof *data);
    free(cstr);
    free(data);
    return rc;
}
