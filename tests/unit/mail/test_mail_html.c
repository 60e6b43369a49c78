#include "mail/mail_html.h"

#include "unit/mail/mail_test.h"

static const struct {
    const char *in, *want;
} CASES[] = {
    {"plain", "plain"},
    {"a<b>b</b>c", "abc"},
    {"a<br>b<P>c</p>d", "a b c d"},
    {"a<!-- x > <b> -- - -->b", "ab"},
    {"a<!-->b", "ab"},
    {"a<!DOCTYPE html>b", "a b"},
    {"a<?xml x?>b", "a b"},
    {"a<style>x<y</style>b", "ab"},
    {"a<script>if (a<b) x=\"</b>\";</script >b", "ab"},
    {"a<SCRIPT>x</script\n>b", "ab"},
    {"a<title>t</title>b", "ab"},
    {"a<img alt=\">\" src='>'>b", "a b"},
    {"1 < 2 > 0 <3", "1 < 2 > 0 <3"},
    {"a</ b", "a</ b"},
    {"&lt;&amp;&gt;&quot;&nbsp;&auml;&AUML;", "<&>\"\xc2\xa0\xc3\xa4&AUML;"},
    {"&#228;&#xE4;&#XE4;", "\xc3\xa4\xc3\xa4\xc3\xa4"},
    {"&#0;&#xD800;&#x110000;&#99999999999;", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd&#99999999999;"},
    {"&#;&#x;&;& &nosuch; &amp", "&#;&#x;&;& &nosuch; &"},
    {"&amp&lt;", "&<"},
    {"<unfinished", ""},
    {"<a href=\"x", ""},
    {"<style>never closed", ""},
    {"", ""},
};

static void html_becomes_the_text_that_a_person_reads_however_it_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROWS(CASES); i++) {
        for (size_t step = 1; step < 50; step += 24) {
            struct mail_html h;
            struct cq_buf out;
            struct cq_slice in = cq_slice_cstr(CASES[i].in);
            cq_buf_init(&out, 1000);
            mail_html_init(&h);
            for (; in.len; in = cq_slice_skip(in, step))
                mail_html_strip(&h, cq_slice_sub(in, 0, step), &out);
            mail_html_finish(&h, &out);
            assert_row_text(i, text_of(&out), CASES[i].want);
            cq_buf_fini(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(html_becomes_the_text_that_a_person_reads_however_it_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
