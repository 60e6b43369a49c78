#include "events/event_json_read.h"

/* ---- One value ---- */

static void skip_space(struct cq_slice *in)
{
    while (in->len && (in->data[0] == ' ' || in->data[0] == '\t' || in->data[0] == '\n' || in->data[0] == '\r'))
        *in = cq_slice_skip(*in, 1);
}

static bool take_byte(struct cq_slice *in, uint8_t byte)
{
    if (!in->len || in->data[0] != byte)
        return false;
    *in = cq_slice_skip(*in, 1);
    return true;
}

static int hex_digit(uint8_t c)
{
    if (cq_ascii_digit(c))
        return c - '0';
    c = cq_ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at s; -1: they are not there. */
static int32_t hex4(struct cq_slice s)
{
    int32_t code = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = i < s.len ? hex_digit(s.data[i]) : -1;
        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

static bool take_escape(struct cq_slice *in)
{
    if (!in->len || !memchr("\"\\/bfnrtu", in->data[0], 9))
        return false;
    size_t len = in->data[0] == 'u' ? 5 : 1;
    if (len == 5 && hex4(cq_slice_skip(*in, 1)) < 0)
        return false;
    *in = cq_slice_skip(*in, len);
    return true;
}

static bool take_string(struct cq_slice *in)
{
    if (!take_byte(in, '"'))
        return false;
    while (in->len && in->data[0] != '"') {
        bool escape = in->data[0] == '\\';
        if (in->data[0] < ' ')
            return false;
        *in = cq_slice_skip(*in, 1);
        if (escape && !take_escape(in))
            return false;
    }
    return take_byte(in, '"');
}

static size_t take_digits(struct cq_slice *in)
{
    size_t count = 0;
    for (; in->len && cq_ascii_digit(in->data[0]); count++)
        *in = cq_slice_skip(*in, 1);
    return count;
}

static bool take_number(struct cq_slice *in)
{
    take_byte(in, '-');
    if (!take_byte(in, '0') && !take_digits(in))
        return false;
    if (take_byte(in, '.') && !take_digits(in))
        return false;
    if (!take_byte(in, 'e') && !take_byte(in, 'E'))
        return true;
    if (!take_byte(in, '+'))
        take_byte(in, '-');
    return take_digits(in) > 0;
}

static bool take_scalar(struct cq_slice *in)
{
    static const char *const words[] = {"true", "false", "null"};
    if (in->len && in->data[0] == '"')
        return take_string(in);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (cq_slice_starts(*in, cq_slice_cstr(words[i]))) {
            *in = cq_slice_skip(*in, strlen(words[i]));
            return true;
        }
    return take_number(in);
}

static bool take_name(struct cq_slice *in)
{
    skip_space(in);
    if (!take_string(in))
        return false;
    skip_space(in);
    return take_byte(in, ':');
}

/* The brackets that are open: a bit per level, 1 for an object. */
struct levels {
    uint32_t objects;
    unsigned depth;
};

static bool in_object(const struct levels *open)
{
    return open->objects >> (open->depth - 1) & 1;
}

/* "{" or "["; *empty_r: closed at once. */
static bool take_open(struct cq_slice *in, struct levels *open, bool *empty_r)
{
    bool object = in->data[0] == '{';
    *in = cq_slice_skip(*in, 1);
    skip_space(in);
    *empty_r = take_byte(in, object ? '}' : ']');
    if (*empty_r)
        return true;
    if (open->depth == EVENT_JSON_DEPTH_MAX)
        return false;
    open->objects = (open->objects & ~(UINT32_C(1) << open->depth)) | (uint32_t)object << open->depth;
    open->depth++;
    return !object || take_name(in);
}

/* After a value: closing brackets, and the comma before the next one. False: neither was there. */
static bool take_end(struct cq_slice *in, struct levels *open)
{
    while (open->depth) {
        skip_space(in);
        if (take_byte(in, ','))
            return !in_object(open) || take_name(in);
        if (!take_byte(in, in_object(open) ? '}' : ']'))
            return false;
        open->depth--;
    }
    return true;
}

bool event_json_take(struct cq_slice *text, struct cq_slice *value_r)
{
    struct cq_slice in = *text;
    struct levels open = {0};
    skip_space(&in);
    const uint8_t *from = in.data;
    do {
        bool complete = true;
        skip_space(&in);
        if (in.len && (in.data[0] == '{' || in.data[0] == '[')) {
            if (!take_open(&in, &open, &complete))
                return false;
        } else if (!take_scalar(&in)) {
            return false;
        }
        if (complete && !take_end(&in, &open))
            return false;
    } while (open.depth);
    *value_r = cq_slice_of(from, (size_t)(in.data - from));
    skip_space(&in);
    *text = in;
    return true;
}

/* ---- Members ---- */

bool event_json_member(struct cq_slice *object, struct cq_slice *name_r, struct cq_slice *value_r)
{
    if (!take_byte(object, '{') && !take_byte(object, ','))
        return false;
    skip_space(object);
    struct cq_slice name = *object;
    if (!take_string(object))
        return false;
    *name_r = cq_slice_sub(name, 1, name.len - object->len - 2);
    skip_space(object);
    return take_byte(object, ':') && event_json_take(object, value_r);
}

/* ---- Strings ---- */

static size_t put_utf8(uint32_t code, uint8_t *out)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t first[] = {[2] = 0xc0, [3] = 0xe0, [4] = 0xf0};
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(first[len] | code);
    return len;
}

/* \uXXXX behind its backslash, and the second half of a pair. 0: a NUL, or half a pair. */
static uint32_t unescape_code(struct cq_slice *in)
{
    int32_t high = hex4(cq_slice_skip(*in, 1));
    *in = cq_slice_skip(*in, 5);
    if (high < 0xd800 || high > 0xdfff)
        return (uint32_t)high;
    if (high > 0xdbff || in->len < 6 || in->data[0] != '\\' || in->data[1] != 'u')
        return 0;
    int32_t low = hex4(cq_slice_skip(*in, 2));
    *in = cq_slice_skip(*in, 6);
    return low < 0xdc00 || low > 0xdfff ? 0 : 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
}

static uint8_t unescape_letter(uint8_t letter)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *at = memchr(letters, letter, sizeof letters - 1);
    return at ? (uint8_t)meant[at - letters] : letter;
}

bool event_json_string(struct cq_slice value, struct cq_pool *pool, struct cq_slice *text_r)
{
    if (value.len < 2 || value.data[0] != '"')
        return false;
    struct cq_slice in = cq_slice_sub(value, 1, value.len - 2);
    uint8_t *out = cq_pool_alloc(pool, in.len + 1); /* an escape is longer than what it means */
    size_t len = 0;
    while (in.len) {
        if (in.data[0] == '\\' && in.data[1] == 'u') {
            in = cq_slice_skip(in, 1);
            uint32_t code = unescape_code(&in);
            if (!code)
                return false;
            len += put_utf8(code, out + len);
            continue;
        }
        bool escape = in.data[0] == '\\';
        out[len++] = escape ? unescape_letter(in.data[1]) : in.data[0];
        in = cq_slice_skip(in, escape ? 2 : 1);
    }
    out[len] = 0;
    *text_r = cq_slice_of(out, len);
    return true;
}
