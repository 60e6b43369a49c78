#include "directory/auth_private.h"

#include "base/cq_mem.h"
#include "base/cq_rand.h"
#include "base/cq_text.h"

#include <stdlib.h>
#include <unictype.h>
#include <uninorm.h>

static bool needs_unicode(struct cq_slice password)
{
    for (size_t i = 0; i < password.len; i++)
        if (password.data[i] >= 0x80)
            return cq_utf8_valid(password);
    return false;
}

/* RFC 8265 section 4.2.2, rule 2: any other space is U+0020. In place; it only gets shorter. */
static size_t plain_spaces(uint8_t *data, size_t len)
{
    size_t to = 0;
    for (size_t from = 0, n; from < len; from += n) {
        uint32_t code = cq_utf8_next(cq_slice_of(data + from, len - from), &n);
        if (code >= 0x80 && uc_is_general_category(code, UC_SPACE_SEPARATOR)) {
            data[to++] = ' ';
            continue;
        }
        memmove(data + to, data + from, n);
        to += n;
    }
    return to;
}

/* 16 letters, in any case, with any spaces and hyphens between them. */
static void find_app_form(struct cq_slice password, char app_r[17])
{
    size_t n = 0;
    app_r[0] = '\0';
    for (size_t i = 0; i < password.len; i++) {
        uint8_t c = cq_ascii_lower(password.data[i]);
        if (c == ' ' || c == '-')
            continue;
        if (c < 'a' || c > 'z' || n == AUTH_APP_LETTERS) {
            app_r[0] = '\0';
            return;
        }
        app_r[n++] = (char)c;
    }
    app_r[n == AUTH_APP_LETTERS ? n : 0] = '\0';
}

void auth_secret_init(struct auth_secret *secret, struct cq_slice password)
{
    *secret = (struct auth_secret){.len = 0};
    find_app_form(password, secret->app);
    if (needs_unicode(password)) {
        secret->data = u8_normalize(UNINORM_NFC, password.data, password.len, NULL, &secret->len);
        if (secret->data) {
            secret->len = plain_spaces(secret->data, secret->len);
            return;
        }
    }
    secret->data = cq_memdup(password.len ? (const void *)password.data : "", password.len);
    secret->len = password.len;
}

void auth_secret_fini(struct auth_secret *secret)
{
    cq_wipe(secret->data, secret->len);
    free(secret->data);
    cq_wipe(secret, sizeof *secret);
}

void auth_app_make(char letters[static AUTH_APP_LETTERS + 1])
{
    for (size_t i = 0; i < AUTH_APP_LETTERS; i++)
        letters[i] = (char)('a' + cq_rand_below(26));
    letters[AUTH_APP_LETTERS] = '\0';
}

void auth_app_show(const char letters[static AUTH_APP_LETTERS + 1], char shown[static AUTH_APP_PASSWORD_SIZE])
{
    for (size_t i = 0; i < AUTH_APP_LETTERS; i++)
        shown[i + i / 4] = letters[i];
    shown[4] = shown[9] = shown[14] = ' ';
    shown[AUTH_APP_PASSWORD_SIZE - 1] = '\0';
}
