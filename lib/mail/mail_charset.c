#include "mail/mail_charset.h"

#include "mail_utf8_private.h"

#include "base/cq_mem.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>

#define CARRY_MAX 32  /* octets of an unfinished character, shift sequences included */
#define PIECE_MAX 512 /* octets of output for one call of iconv */

/* Name in mail -> name for iconv; NULL: UTF-8 or what is like it. */
static const struct charset {
    const char *name, *iconv_name;
} CHARSETS[] = {
    {"utf-8", NULL},
    {"utf8", NULL},
    {"us-ascii", NULL},
    {"ascii", NULL},
    {"ansi_x3.4-1968", NULL},
    {"iso-8859-1", "CP1252"},
    {"iso8859-1", "CP1252"},
    {"iso_8859-1", "CP1252"},
    {"latin1", "CP1252"},
    {"windows-1252", "CP1252"},
    {"cp1252", "CP1252"},
    {"iso-8859-2", "ISO-8859-2"},
    {"iso-8859-3", "ISO-8859-3"},
    {"iso-8859-4", "ISO-8859-4"},
    {"iso-8859-5", "ISO-8859-5"},
    {"iso-8859-6", "ISO-8859-6"},
    {"iso-8859-7", "ISO-8859-7"},
    {"iso-8859-8", "ISO-8859-8"},
    {"iso-8859-8-i", "ISO-8859-8"},
    {"iso-8859-9", "ISO-8859-9"},
    {"iso-8859-10", "ISO-8859-10"},
    {"iso-8859-11", "ISO-8859-11"},
    {"iso-8859-13", "ISO-8859-13"},
    {"iso-8859-14", "ISO-8859-14"},
    {"iso-8859-15", "ISO-8859-15"},
    {"iso-8859-16", "ISO-8859-16"},
    {"windows-874", "CP874"},
    {"tis-620", "TIS-620"},
    {"windows-1250", "CP1250"},
    {"cp1250", "CP1250"},
    {"windows-1251", "CP1251"},
    {"cp1251", "CP1251"},
    {"windows-1253", "CP1253"},
    {"windows-1254", "CP1254"},
    {"windows-1255", "CP1255"},
    {"windows-1256", "CP1256"},
    {"windows-1257", "CP1257"},
    {"windows-1258", "CP1258"},
    {"koi8-r", "KOI8-R"},
    {"koi8-u", "KOI8-U"},
    {"macintosh", "MACINTOSH"},
    {"ibm437", "IBM437"},
    {"cp437", "IBM437"},
    {"ibm850", "IBM850"},
    {"cp850", "IBM850"},
    {"ibm852", "IBM852"},
    {"cp852", "IBM852"},
    {"ibm866", "IBM866"},
    {"cp866", "IBM866"},
    {"gb2312", "GB18030"},
    {"gbk", "GB18030"},
    {"gb18030", "GB18030"},
    {"hz-gb-2312", "HZ"},
    {"big5", "BIG5"},
    {"big5-hkscs", "BIG5-HKSCS"},
    {"euc-jp", "EUC-JP"},
    {"iso-2022-jp", "ISO-2022-JP-2"},
    {"shift_jis", "CP932"},
    {"shift-jis", "CP932"},
    {"sjis", "CP932"},
    {"windows-31j", "CP932"},
    {"cp932", "CP932"},
    {"euc-kr", "UHC"},
    {"ks_c_5601-1987", "UHC"},
    {"iso-2022-kr", "ISO-2022-KR"},
    {"utf-16", "UTF-16"},
    {"utf-16be", "UTF-16BE"},
    {"utf-16le", "UTF-16LE"},
    {"utf-32", "UTF-32"},
};

struct mail_charset {
    const struct charset *set; /* NULL: not known */
    iconv_t cd;                /* (iconv_t)-1: UTF-8, done here */
    uint8_t carry[CARRY_MAX];
    size_t carry_len;
};

static const struct charset *find(struct cq_slice name)
{
    name = cq_slice_trim(name);
    for (size_t i = 0; i < sizeof CHARSETS / sizeof *CHARSETS; i++)
        if (cq_slice_caseeq(name, cq_slice_cstr(CHARSETS[i].name)))
            return &CHARSETS[i];
    return NULL;
}

bool mail_charset_known(struct cq_slice name)
{
    return find(name) != NULL;
}

bool mail_charset_is(const struct mail_charset *cs, struct cq_slice name)
{
    return cs->set && cs->set == find(name);
}

struct mail_charset *mail_charset_new(struct cq_slice name)
{
    struct mail_charset *cs = cq_new(struct mail_charset);
    cs->set = find(name);
    cs->cd = cs->set && cs->set->iconv_name ? iconv_open("UTF-8", cs->set->iconv_name) : (iconv_t)-1;
    return cs;
}

void mail_charset_free(struct mail_charset **cs)
{
    if (*cs && (*cs)->cd != (iconv_t)-1)
        iconv_close((*cs)->cd);
    free(*cs);
    *cs = NULL;
}

/* What is valid goes through, each octet that is not becomes U+FFFD. Returns how many octets were used; less than all
 * only for an unfinished character at the end. */
static size_t utf8_pass(struct cq_slice in, struct cq_buf *out)
{
    size_t at = 0, from = 0;
    while (at < in.len) {
        if (in.data[at] < 0x80) {
            at++;
            continue;
        }
        uint32_t cp;
        size_t n = mail_utf8_take(cq_slice_skip(in, at), &cp);
        if (n && cp != MAIL_UTF8_BAD) {
            at += n;
            continue;
        }
        cq_buf_slice_add(out, cq_slice_sub(in, from, at - from));
        if (n == 0)
            return at;
        cq_buf_cstr(out, MAIL_REPLACEMENT);
        from = ++at;
    }
    cq_buf_slice_add(out, cq_slice_sub(in, from, at - from));
    return at;
}

static size_t iconv_pass(iconv_t cd, struct cq_slice in, struct cq_buf *out)
{
    char *from = (char *)(uintptr_t)in.data;
    size_t left = in.len;
    while (left) {
        char piece[PIECE_MAX], *at = piece;
        size_t room = sizeof piece;
        size_t rc = iconv(cd, &from, &left, &at, &room);
        int why = errno;
        if (!cq_buf_add(out, piece, sizeof piece - room))
            return in.len; /* out is full: its owner sees that */
        if (rc != (size_t)-1 || why == E2BIG)
            continue;
        if (why == EINVAL && left < CARRY_MAX)
            break; /* unfinished */
        cq_buf_cstr(out, MAIL_REPLACEMENT);
        from++;
        left--;
    }
    return in.len - left;
}

static size_t pass(struct mail_charset *cs, struct cq_slice in, struct cq_buf *out)
{
    return cs->cd == (iconv_t)-1 ? utf8_pass(in, out) : iconv_pass(cs->cd, in, out);
}

/* Completes the character that waits with octets of `in`; returns how many of those were used. */
static size_t pass_carry(struct mail_charset *cs, struct cq_slice in, struct cq_buf *out)
{
    size_t used = 0;
    while (used < in.len && cs->carry_len) {
        cs->carry[cs->carry_len++] = in.data[used++]; /* there is room: pass leaves fewer than CARRY_MAX */
        size_t done = pass(cs, cq_slice_of(cs->carry, cs->carry_len), out);
        cs->carry_len -= done;
        memmove(cs->carry, cs->carry + done, cs->carry_len);
    }
    return used;
}

void mail_charset_decode(struct mail_charset *cs, struct cq_slice in, struct cq_buf *out)
{
    in = cq_slice_skip(in, pass_carry(cs, in, out));
    if (in.len == 0)
        return;
    size_t used = pass(cs, in, out);
    cs->carry_len = in.len - used;
    memcpy(cs->carry, in.data + used, cs->carry_len);
}

void mail_charset_finish(struct mail_charset *cs, struct cq_buf *out)
{
    if (cs->carry_len)
        cq_buf_cstr(out, MAIL_REPLACEMENT);
    cs->carry_len = 0;
    if (cs->cd == (iconv_t)-1)
        return;
    char last[64], *at = last;
    size_t room = sizeof last;
    if (iconv(cs->cd, NULL, NULL, &at, &room) != (size_t)-1)
        cq_buf_add(out, last, sizeof last - room);
}
