#include "directory/dir_address.h"

#include "base/cq_text.h"

#include <idn2.h>
#include <stdlib.h>
#include <unicase.h>
#include <uninorm.h>

static bool is_ascii(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] >= 0x80)
            return false;
    return true;
}

static bool is_printable(struct cq_slice s)
{
    while (s.len) {
        size_t n;
        if (!cq_text_printable(cq_utf8_next(s, &n)))
            return false;
        s = cq_slice_skip(s, n);
    }
    return true;
}

static struct cq_slice ascii_lower(struct cq_slice s, struct cq_pool *pool)
{
    uint8_t *copy = cq_pool_alloc(pool, s.len);
    for (size_t i = 0; i < s.len; i++)
        copy[i] = cq_ascii_lower(s.data[i]);
    return cq_slice_of(copy, s.len);
}

/* ---- Local part ---- */

/* NFC and lower case without any language's own rules. False only when the library fails. */
static bool unicode_lower(struct cq_slice s, struct cq_pool *pool, struct cq_slice *lower_r)
{
    size_t len = 0;
    uint8_t *lower = u8_tolower(s.data, s.len, NULL, UNINORM_NFC, NULL, &len);
    if (!lower)
        return false;
    *lower_r = cq_pool_slice(pool, cq_slice_of(lower, len));
    free(lower);
    return true;
}

static enum cq_rc canonical_local(struct cq_slice local, struct cq_pool *pool, struct cq_slice *local_r,
                                  struct cq_err *err)
{
    if (local.len > DIR_INPUT_MAX || !is_printable(local))
        return CQ_FAIL(err, CQ_E_INVALID, "local part is too long or has controls");
    if (is_ascii(local))
        *local_r = ascii_lower(local, pool);
    else if (!unicode_lower(local, pool, local_r))
        return CQ_FAIL(err, CQ_E_INVALID, "local part has no canonical form");
    if (local_r->len > DIR_LOCAL_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "local part is over %d octets", DIR_LOCAL_MAX);
    return CQ_OK;
}

/* RFC 5322 section 3.2.3, and RFC 6532 for what is not ASCII. */
static bool is_atext(uint8_t c)
{
    return c >= 0x80 || cq_ascii_digit(c) || (cq_ascii_lower(c) >= 'a' && cq_ascii_lower(c) <= 'z') ||
           (c && strchr("!#$%&'*-/=?^_`{|}~", c));
}

bool dir_local_creatable(struct cq_slice local)
{
    bool atom = false; /* the byte before was one of an atom */
    if (local.len > DIR_LOCAL_MAX || !is_printable(local))
        return false;
    for (size_t i = 0; i < local.len; i++) {
        if (local.data[i] == '.' ? !atom : !is_atext(local.data[i]))
            return false;
        atom = local.data[i] != '.';
    }
    return atom;
}

/* ---- Domain ---- */

/* RFC 5890 section 2.3.1: letters, digits, hyphens within; 1 to 63 octets. */
static bool label_ok(struct cq_slice label)
{
    if (label.len == 0 || label.len > 63 || label.data[0] == '-' || label.data[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = label.data[i];
        if (!(c >= 'a' && c <= 'z') && !cq_ascii_digit(c) && c != '-')
            return false;
    }
    return true;
}

static bool all_digits(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!cq_ascii_digit(s.data[i]))
            return false;
    return true;
}

/* The last label is no number: "192.0.2.1" is not a name. *has_ace_r: some label claims to be an A-label. */
static bool name_ok(struct cq_slice name, bool *has_ace_r)
{
    struct cq_slice label = CQ_SLICE_NONE;
    *has_ace_r = false;
    if (name.len == 0 || name.len > DIR_DOMAIN_MAX || name.data[name.len - 1] == '.')
        return false;
    while (name.len) {
        label = cq_slice_cut(&name, '.');
        if (!label_ok(label))
            return false;
        *has_ace_r = *has_ace_r || cq_slice_starts(label, CQ_SLICE("xn--"));
    }
    return !all_digits(label);
}

/* IDNA2008 with the case mapping of UTS 46 (what people type); also proves that "xn--" labels are real ones. */
static bool to_ascii(struct cq_slice name, struct cq_pool *pool, struct cq_slice *ascii_r)
{
    uint8_t *ascii = NULL;
    const char *text = cq_pool_cstr(pool, name);
    int rc = idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return false;
    *ascii_r = cq_pool_slice(pool, cq_slice_cstr((const char *)ascii));
    idn2_free(ascii);
    return true;
}

enum cq_rc dir_domain_parse(struct cq_slice text, struct cq_pool *pool, struct cq_slice *domain_r, struct cq_err *err)
{
    bool ace = false;
    struct cq_slice name;
    if (text.len == 0 || text.len > DIR_INPUT_MAX || !is_printable(text))
        return CQ_FAIL(err, CQ_E_INVALID, "domain is empty, too long or has controls");
    if (is_ascii(text))
        name = ascii_lower(text, pool);
    else if (!to_ascii(text, pool, &name))
        return CQ_FAIL(err, CQ_E_INVALID, "domain is no internationalised name");
    if (!name_ok(name, &ace) || (ace && !to_ascii(name, pool, &name)))
        return CQ_FAIL(err, CQ_E_INVALID, "domain is no host name");
    *domain_r = name;
    return CQ_OK;
}

/* ---- Both ---- */

static void split_tag(struct dir_address *address)
{
    size_t plus = cq_slice_find(address->local, '+');
    address->base = address->local;
    address->tag = CQ_SLICE_NONE;
    if (plus == 0 || plus == address->local.len)
        return;
    address->base = cq_slice_sub(address->local, 0, plus);
    address->tag = cq_slice_skip(address->local, plus + 1);
}

enum cq_rc dir_address_parts(struct cq_slice local, struct cq_slice domain, struct cq_pool *pool,
                             struct dir_address *address_r, struct cq_err *err)
{
    enum cq_rc rc = dir_domain_parse(domain, pool, &address_r->domain, err);
    if (rc == CQ_OK)
        rc = canonical_local(local, pool, &address_r->local, err);
    if (rc != CQ_OK)
        return rc;
    split_tag(address_r);
    size_t len = address_r->local.len + 1 + address_r->domain.len;
    uint8_t *text = cq_pool_alloc(pool, len);
    if (address_r->local.len)
        memcpy(text, address_r->local.data, address_r->local.len);
    text[address_r->local.len] = '@';
    memcpy(text + address_r->local.len + 1, address_r->domain.data, address_r->domain.len);
    address_r->text = cq_slice_of(text, len);
    return CQ_OK;
}

enum cq_rc dir_address_parse(struct cq_slice text, struct cq_pool *pool, struct dir_address *address_r,
                             struct cq_err *err)
{
    if (text.len > DIR_INPUT_MAX)
        return CQ_FAIL(err, CQ_E_INVALID, "address is over %d octets", DIR_INPUT_MAX);
    for (size_t at = text.len; at-- > 0;)
        if (text.data[at] == '@')
            return dir_address_parts(cq_slice_sub(text, 0, at), cq_slice_skip(text, at + 1), pool, address_r, err);
    return CQ_FAIL(err, CQ_E_INVALID, "address has no @");
}
