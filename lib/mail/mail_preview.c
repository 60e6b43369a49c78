#include "mail/mail_preview.h"

#include "mail_utf8_private.h"

void mail_preview_init(struct mail_preview *p)
{
    p->len = p->characters = 0;
    p->blank = false;
}

static bool is_blank(uint32_t cp)
{
    return cp <= 32 || (cp >= 127 && cp <= 0xa0) || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* Characters without width and controls of direction, with which advertisements pad the beginning of their mail. */
static bool is_invisible(uint32_t cp)
{
    return cp == 0xad || cp == 0x34f || cp == 0x180e || (cp >= 0x200b && cp <= 0x200f) ||
           (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff || cp == MAIL_UTF8_BAD ||
           (cp >= 0xe0000 && cp <= 0xe007f);
}

static void add(struct mail_preview *p, struct cq_slice character)
{
    if (p->characters == MAIL_PREVIEW_MAX_CHARACTERS)
        return;
    memcpy(p->text + p->len, character.data, character.len);
    p->len = (uint16_t)(p->len + character.len);
    p->characters++;
}

void mail_preview_add(struct mail_preview *p, struct cq_slice utf8)
{
    while (utf8.len && !mail_preview_full(p)) {
        uint32_t cp;
        size_t n = mail_utf8_take(utf8, &cp);
        n = n ? n : 1;
        if (is_blank(cp)) {
            p->blank = p->len > 0;
        } else if (!is_invisible(cp)) {
            if (p->blank)
                add(p, CQ_SLICE(" "));
            p->blank = false;
            add(p, cq_slice_sub(utf8, 0, n));
        }
        utf8 = cq_slice_skip(utf8, n);
    }
}

bool mail_preview_full(const struct mail_preview *p)
{
    return p->characters == MAIL_PREVIEW_MAX_CHARACTERS;
}

struct cq_slice mail_preview_text(const struct mail_preview *p)
{
    size_t len = p->len;
    return cq_slice_of(p->text, len && p->text[len - 1] == ' ' ? len - 1 : len);
}
