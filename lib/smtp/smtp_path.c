#include "smtp/smtp_path.h"

#include "base/cq_buf.h"

/* atext of RFC 5322 3.2.3, and every octet of UTF-8 (RFC 6531 3.3). */
static bool is_atext(uint8_t c)
{
    if (c >= 128)
        return true;
    if (cq_ascii_digit(c) || (cq_ascii_lower(c) >= 'a' && cq_ascii_lower(c) <= 'z'))
        return true;
    return c && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

static bool is_domain_octet(uint8_t c)
{
    return c >= 128 || cq_ascii_digit(c) || (cq_ascii_lower(c) >= 'a' && cq_ascii_lower(c) <= 'z') || c == '-' ||
           c == '_';
}

/* Length of a dotted run of `ok` octets: no empty label, no dot at either end; 0 when there is none. */
static size_t dotted(struct cq_slice text, bool (*ok)(uint8_t))
{
    size_t at = 0;
    bool label = false;
    for (; at < text.len; at++) {
        if (ok(text.data[at]))
            label = true;
        else if (text.data[at] == '.' && label)
            label = false;
        else
            break;
    }
    return label ? at : 0;
}

/* "[IPv6:...]" or "[192.0.2.1]": its length with the brackets; the address itself is judged by whoever uses it. */
static size_t literal(struct cq_slice text)
{
    if (text.len < 3 || text.data[0] != '[')
        return 0;
    for (size_t at = 1; at < text.len; at++) {
        uint8_t c = text.data[at];
        if (c == ']')
            return at > 1 ? at + 1 : 0;
        if (c <= ' ' || c >= 127 || c == '[' || c == '\\')
            return 0;
    }
    return 0;
}

static size_t domain_length(struct cq_slice text)
{
    size_t len = literal(text);
    if (!len)
        len = dotted(text, is_domain_octet);
    return len <= SMTP_DOMAIN_MAX ? len : 0;
}

bool smtp_domain_ok(struct cq_slice text)
{
    return text.len && domain_length(text) == text.len;
}

/* Quoted-string (4.1.2): printable octets, a backslash before any of them. The value goes to the pool. */
static size_t quoted(struct cq_slice text, struct cq_pool *pool, struct cq_slice *value_r)
{
    uint8_t value[SMTP_LOCAL_MAX];
    size_t n = 0;
    for (size_t at = 1; at < text.len; at++) {
        uint8_t c = text.data[at];
        if (c == '"') {
            *value_r = cq_pool_slice(pool, cq_slice_of(value, n));
            return at + 1;
        }
        if (c == '\\' && at + 1 < text.len)
            c = text.data[++at];
        if (c < ' ' || c == 127 || n == sizeof value)
            return 0;
        value[n++] = c;
    }
    return 0;
}

/* Skips "@a,@b:" */
static bool skip_route(struct cq_slice *text)
{
    if (!text->len || text->data[0] != '@')
        return true;
    struct cq_slice rest = *text;
    for (;;) {
        if (!rest.len || rest.data[0] != '@')
            return false;
        rest = cq_slice_skip(rest, 1);
        size_t len = domain_length(rest);
        rest = cq_slice_skip(rest, len);
        if (!len || !rest.len)
            return false;
        uint8_t c = rest.data[0];
        rest = cq_slice_skip(rest, 1);
        if (c == ':')
            break;
        if (c != ',')
            return false;
    }
    *text = rest;
    return true;
}

static bool has_high_octet(struct cq_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] >= 128)
            return true;
    return false;
}

/* local-part ["@" domain] up to ">" */
static bool take_mailbox(struct cq_slice *rest, struct cq_pool *pool, struct smtp_path *path)
{
    size_t len;
    if (rest->len && rest->data[0] == '"') {
        len = quoted(*rest, pool, &path->local);
    } else {
        len = dotted(*rest, is_atext);
        path->local = cq_slice_sub(*rest, 0, len);
    }
    if (!len || path->local.len > SMTP_LOCAL_MAX)
        return false;
    *rest = cq_slice_skip(*rest, len);
    if (rest->len && rest->data[0] == '@') {
        *rest = cq_slice_skip(*rest, 1);
        len = domain_length(*rest);
        if (!len)
            return false;
        path->domain = cq_slice_sub(*rest, 0, len);
        *rest = cq_slice_skip(*rest, len);
    } else if (!cq_slice_caseeq(path->local, CQ_SLICE("postmaster"))) {
        return false; /* 4.1.1.3: only postmaster may stand without a domain */
    }
    return path->local.len + path->domain.len + 3 <= SMTP_PATH_MAX;
}

bool smtp_path_take(struct cq_slice *text, bool allow_null, struct cq_pool *pool, struct smtp_path *path_r)
{
    struct cq_slice rest = *text;
    *path_r = (struct smtp_path){.null = false};
    if (!rest.len || rest.data[0] != '<')
        return false;
    rest = cq_slice_skip(rest, 1);
    if (rest.len && rest.data[0] == '>') {
        if (!allow_null)
            return false;
        path_r->null = true;
    } else {
        if (!skip_route(&rest) || !take_mailbox(&rest, pool, path_r))
            return false;
        if (!rest.len || rest.data[0] != '>')
            return false;
    }
    path_r->utf8 = has_high_octet(path_r->local) || has_high_octet(path_r->domain);
    *text = cq_slice_skip(rest, 1);
    return true;
}

struct cq_slice smtp_path_text(const struct smtp_path *path, struct cq_pool *pool)
{
    if (path->null)
        return CQ_SLICE_NONE;
    struct cq_buf out;
    cq_buf_init(&out, 2 * SMTP_LOCAL_MAX + SMTP_DOMAIN_MAX + 4);
    if (dotted(path->local, is_atext) == path->local.len && path->local.len) {
        cq_buf_slice_add(&out, path->local);
    } else {
        cq_buf_byte(&out, '"');
        for (size_t i = 0; i < path->local.len; i++) {
            if (path->local.data[i] == '"' || path->local.data[i] == '\\')
                cq_buf_byte(&out, '\\');
            cq_buf_byte(&out, path->local.data[i]);
        }
        cq_buf_byte(&out, '"');
    }
    if (path->domain.len) {
        cq_buf_byte(&out, '@');
        cq_buf_slice_add(&out, path->domain);
    }
    struct cq_slice copy = cq_pool_slice(pool, cq_buf_slice(&out));
    cq_buf_fini(&out);
    return copy;
}
