#include "mail/mail_html.h"

#include "mail_utf8_private.h"

enum state {
    TEXT,
    ENTITY,    /* after "&" */
    TAG_START, /* after "<" */
    TAG_NAME,
    TAG_REST,
    TAG_QUOTE,
    MARKUP,      /* after "<!" */
    MARKUP_DASH, /* after "<!-" */
    COMMENT
};

/* Elements whose content is not text. */
static const char *const SKIPPED[] = {"script", "style", "title"};

/* Elements that do not part words. */
static const char *const INLINE[] = {"a", "abbr",  "b",    "big",    "code",   "em",  "font", "i",  "ins", "del",
                                     "s", "small", "span", "strike", "strong", "sub", "sup",  "tt", "u",   "wbr"};

static const struct {
    const char *name;
    uint32_t cp;
} ENTITIES[] = {
    {"amp", '&'},       {"lt", '<'},        {"gt", '>'},        {"quot", '"'},     {"apos", '\''},    {"nbsp", 0xa0},
    {"iexcl", 0xa1},    {"cent", 0xa2},     {"pound", 0xa3},    {"yen", 0xa5},     {"sect", 0xa7},    {"copy", 0xa9},
    {"laquo", 0xab},    {"shy", 0xad},      {"reg", 0xae},      {"deg", 0xb0},     {"plusmn", 0xb1},  {"acute", 0xb4},
    {"micro", 0xb5},    {"para", 0xb6},     {"middot", 0xb7},   {"raquo", 0xbb},   {"frac14", 0xbc},  {"frac12", 0xbd},
    {"frac34", 0xbe},   {"iquest", 0xbf},   {"Agrave", 0xc0},   {"Aacute", 0xc1},  {"Acirc", 0xc2},   {"Atilde", 0xc3},
    {"Auml", 0xc4},     {"Aring", 0xc5},    {"AElig", 0xc6},    {"Ccedil", 0xc7},  {"Egrave", 0xc8},  {"Eacute", 0xc9},
    {"Ecirc", 0xca},    {"Euml", 0xcb},     {"Igrave", 0xcc},   {"Iacute", 0xcd},  {"Icirc", 0xce},   {"Iuml", 0xcf},
    {"Ntilde", 0xd1},   {"Ograve", 0xd2},   {"Oacute", 0xd3},   {"Ocirc", 0xd4},   {"Otilde", 0xd5},  {"Ouml", 0xd6},
    {"times", 0xd7},    {"Oslash", 0xd8},   {"Ugrave", 0xd9},   {"Uacute", 0xda},  {"Ucirc", 0xdb},   {"Uuml", 0xdc},
    {"Yacute", 0xdd},   {"szlig", 0xdf},    {"agrave", 0xe0},   {"aacute", 0xe1},  {"acirc", 0xe2},   {"atilde", 0xe3},
    {"auml", 0xe4},     {"aring", 0xe5},    {"aelig", 0xe6},    {"ccedil", 0xe7},  {"egrave", 0xe8},  {"eacute", 0xe9},
    {"ecirc", 0xea},    {"euml", 0xeb},     {"igrave", 0xec},   {"iacute", 0xed},  {"icirc", 0xee},   {"iuml", 0xef},
    {"ntilde", 0xf1},   {"ograve", 0xf2},   {"oacute", 0xf3},   {"ocirc", 0xf4},   {"otilde", 0xf5},  {"ouml", 0xf6},
    {"divide", 0xf7},   {"oslash", 0xf8},   {"ugrave", 0xf9},   {"uacute", 0xfa},  {"ucirc", 0xfb},   {"uuml", 0xfc},
    {"yacute", 0xfd},   {"yuml", 0xff},     {"OElig", 0x152},   {"oelig", 0x153},  {"ensp", 0x2002},  {"emsp", 0x2003},
    {"thinsp", 0x2009}, {"zwnj", 0x200c},   {"zwj", 0x200d},    {"ndash", 0x2013}, {"mdash", 0x2014}, {"lsquo", 0x2018},
    {"rsquo", 0x2019},  {"sbquo", 0x201a},  {"ldquo", 0x201c},  {"rdquo", 0x201d}, {"bdquo", 0x201e}, {"bull", 0x2022},
    {"hellip", 0x2026}, {"lsaquo", 0x2039}, {"rsaquo", 0x203a}, {"euro", 0x20ac},  {"trade", 0x2122}, {"rarr", 0x2192},
};

void mail_html_init(struct mail_html *h)
{
    memset(h, 0, sizeof *h);
}

static bool is_letter(uint8_t c)
{
    return cq_ascii_lower(c) >= 'a' && cq_ascii_lower(c) <= 'z';
}

static bool is_name(uint8_t c)
{
    return is_letter(c) || cq_ascii_digit(c);
}

static bool in_names(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

static void emit(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    if (h->skip[0] == '\0')
        cq_buf_byte(out, c);
}

static void emit_cp(struct mail_html *h, uint32_t cp, struct cq_buf *out)
{
    uint8_t utf8[4];
    bool bad = cp == 0 || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000);
    size_t n = mail_utf8_put(bad ? 0xfffd : cp, utf8);
    if (h->skip[0] == '\0')
        cq_buf_add(out, utf8, n);
}

/* "#228", "#xe4" or a name; false when it is none. */
static bool entity_value(const char *name, uint32_t *cp_r)
{
    if (name[0] == '#') {
        bool hex = name[1] == 'x' || name[1] == 'X';
        const char *digits = name + (hex ? 2 : 1);
        uint32_t cp = 0;
        for (const char *p = digits; *p; p++) {
            uint8_t c = cq_ascii_lower((uint8_t)*p);
            bool digit = cq_ascii_digit(c), letter = hex && c >= 'a' && c <= 'f';
            if ((!digit && !letter) || cp > 0x10ffff)
                return false;
            cp = cp * (hex ? 16 : 10) + (uint32_t)(digit ? c - '0' : c - 'a' + 10);
        }
        *cp_r = cp;
        return *digits != '\0';
    }
    for (size_t i = 0; i < sizeof ENTITIES / sizeof *ENTITIES; i++) {
        if (strcmp(name, ENTITIES[i].name) == 0) {
            *cp_r = ENTITIES[i].cp;
            return true;
        }
    }
    return false;
}

static void end_entity(struct mail_html *h, bool semicolon, struct cq_buf *out)
{
    uint32_t cp;
    h->entity[h->entity_len] = '\0';
    h->state = TEXT;
    if (entity_value(h->entity, &cp)) {
        emit_cp(h, cp, out);
        return;
    }
    emit(h, '&', out);
    for (unsigned i = 0; i < h->entity_len; i++)
        emit(h, (uint8_t)h->entity[i], out);
    if (semicolon)
        emit(h, ';', out);
}

static void end_tag(struct mail_html *h, struct cq_buf *out)
{
    h->name[h->name_len] = '\0';
    h->state = TEXT;
    if (h->skip[0]) {
        if (h->closing && strcmp(h->name, h->skip) == 0)
            h->skip[0] = '\0';
        return;
    }
    if (!h->closing && in_names(h->name, SKIPPED, sizeof SKIPPED / sizeof *SKIPPED))
        memcpy(h->skip, h->name, sizeof h->skip);
    else if (!in_names(h->name, INLINE, sizeof INLINE / sizeof *INLINE))
        cq_buf_byte(out, ' ');
}

static void in_text(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    if (c == '<') {
        h->state = TAG_START;
        h->closing = false;
        h->name_len = 0;
    } else if (c == '&' && !h->skip[0]) {
        h->state = ENTITY;
        h->entity_len = 0;
    } else {
        emit(h, c, out);
    }
}

static void in_entity(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    bool fits = h->entity_len < MAIL_HTML_NAME_MAX - 1;
    if (fits && (is_name(c) || (c == '#' && h->entity_len == 0))) {
        h->entity[h->entity_len++] = (char)c;
        return;
    }
    end_entity(h, c == ';', out);
    if (c != ';')
        in_text(h, c, out);
}

/* Inside <script>, <style> and <title> only their own closing tag counts. */
static void in_tag_start(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    if (c == '/' && !h->closing) {
        h->closing = true;
    } else if (h->skip[0] && !h->closing) {
        h->state = TEXT;
        in_text(h, c, out);
    } else if (is_letter(c)) {
        h->state = TAG_NAME;
        h->name[h->name_len++] = (char)cq_ascii_lower(c);
    } else if (!h->closing && (c == '!' || c == '?')) {
        h->state = c == '!' ? MARKUP : TAG_REST;
    } else { /* a "<" that is text */
        h->state = TEXT;
        emit(h, '<', out);
        if (h->closing)
            emit(h, '/', out);
        in_text(h, c, out);
    }
}

static void in_tag_name(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    if (is_name(c)) {
        if (h->name_len < MAIL_HTML_NAME_MAX - 1)
            h->name[h->name_len++] = (char)cq_ascii_lower(c);
        return;
    }
    h->name[h->name_len] = '\0';
    if (h->skip[0] && strcmp(h->name, h->skip) != 0) {
        h->state = TEXT;
        in_text(h, c, out);
    } else if (c == '>') {
        end_tag(h, out);
    } else {
        h->state = TAG_REST;
    }
}

static void in_tag_rest(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    if (c == '>')
        end_tag(h, out);
    else if ((c == '"' || c == '\'') && h->name_len) {
        h->state = TAG_QUOTE;
        h->quote = c;
    }
}

static void in_markup(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    if (c == '>')
        h->state = TEXT;
    else if (c == '-' && h->state == MARKUP)
        h->state = MARKUP_DASH;
    else if (c == '-')
        h->state = COMMENT;
    else
        h->state = TAG_REST;
    h->dashes = h->state == COMMENT ? 2 : 0; /* "<!-->" ends at once */
    (void)out;
}

static void in_comment(struct mail_html *h, uint8_t c)
{
    if (c == '>' && h->dashes >= 2)
        h->state = TEXT;
    h->dashes = (uint8_t)(c != '-' ? 0 : h->dashes < 2 ? h->dashes + 1 : 2);
}

static void step(struct mail_html *h, uint8_t c, struct cq_buf *out)
{
    switch ((enum state)h->state) {
    case TEXT:
        in_text(h, c, out);
        break;
    case ENTITY:
        in_entity(h, c, out);
        break;
    case TAG_START:
        in_tag_start(h, c, out);
        break;
    case TAG_NAME:
        in_tag_name(h, c, out);
        break;
    case TAG_REST:
        in_tag_rest(h, c, out);
        break;
    case TAG_QUOTE:
        h->state = c == h->quote ? TAG_REST : TAG_QUOTE;
        break;
    case MARKUP:
    case MARKUP_DASH:
        in_markup(h, c, out);
        break;
    case COMMENT:
        in_comment(h, c);
        break;
    }
}

void mail_html_strip(struct mail_html *h, struct cq_slice in, struct cq_buf *out)
{
    for (size_t i = 0; i < in.len; i++)
        step(h, in.data[i], out);
}

void mail_html_finish(struct mail_html *h, struct cq_buf *out)
{
    if (h->state == ENTITY)
        end_entity(h, false, out);
    mail_html_init(h);
}
