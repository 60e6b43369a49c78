/* Prints what lib/mail makes of messages, one JSON object a line: the tree of parts with the SHA-256 of each leaf's
 * decoded content, subject, date, addresses. Arguments: files. The GMime and Python dumpers print the same form. */
#include "mail/mail_address.h"
#include "mail/mail_build.h"
#include "mail/mail_msgid.h"
#include "mail/mail_word.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_MAX (64u << 20)

static void put_string(struct cq_slice utf8)
{
    putchar('"');
    for (size_t i = 0; i < utf8.len; i++) {
        if (utf8.data[i] < 32 || utf8.data[i] == '"' || utf8.data[i] == '\\' || utf8.data[i] == 127)
            printf("\\u%04x", utf8.data[i]);
        else
            putchar(utf8.data[i]);
    }
    putchar('"');
}

static void put_lower(struct cq_slice a, struct cq_slice b)
{
    putchar('"');
    for (size_t i = 0; i < a.len; i++)
        printf(a.data[i] < 33 || a.data[i] == '"' || a.data[i] == '\\' ? "?" : "%c", cq_ascii_lower(a.data[i]));
    putchar('/');
    for (size_t i = 0; i < b.len; i++)
        printf(b.data[i] < 33 || b.data[i] == '"' || b.data[i] == '\\' ? "?" : "%c", cq_ascii_lower(b.data[i]));
    putchar('"');
}

static void put_content(const struct mail_part *part, struct cq_slice message)
{
    struct mail_transfer transfer;
    struct cq_buf out;
    uint8_t hash[crypto_hash_sha256_BYTES];
    struct cq_slice body = cq_slice_sub(message, part->body_off, part->end_off - part->body_off);
    cq_buf_init(&out, 2 * MESSAGE_MAX);
    mail_transfer_init(&transfer, part->encoding);
    mail_transfer_decode(&transfer, body, &out);
    mail_transfer_finish(&transfer, &out);
    crypto_hash_sha256(hash, out.data, out.len);
    printf(",\"len\":%zu,\"enc\":%d,\"sha\":\"", out.len, (int)part->encoding);
    for (size_t i = 0; i < 8; i++)
        printf("%02x", hash[i]);
    printf("\"");
    cq_buf_fini(&out);
}

static void put_tree(const struct mail_index *ix, struct cq_slice message)
{
    uint32_t i = 0;
    while (i != MAIL_PART_NONE) {
        const struct mail_part *part = mail_index_part(ix, i);
        printf("{\"t\":");
        put_lower(part->type, part->subtype);
        printf(",\"head\":%" PRIu64 ",\"body\":%" PRIu64 ",\"end\":%" PRIu64, part->header_off, part->body_off,
               part->end_off);
        if (part->opaque)
            printf(",\"opaque\":1");
        if (part->first_child != MAIL_PART_NONE) {
            printf(",\"c\":[");
            i = part->first_child;
            continue;
        }
        put_content(part, message);
        putchar('}');
        while (part->next == MAIL_PART_NONE && part->parent != MAIL_PART_NONE) {
            part = mail_index_part(ix, part->parent);
            printf("]}");
        }
        if (part->next != MAIL_PART_NONE)
            putchar(',');
        i = part->next;
    }
}

static void put_text(const struct mail_part *root, enum mail_field_id id)
{
    const struct mail_field *field = mail_part_field(root, id, NULL);
    struct cq_buf out;
    if (!field) {
        printf("null");
        return;
    }
    cq_buf_init(&out, MESSAGE_MAX);
    mail_word_decode(field->value, &out);
    put_string(cq_buf_slice(&out));
    cq_buf_fini(&out);
}

static void put_addresses(const struct mail_part *root, enum mail_field_id id)
{
    const struct mail_field *field = mail_part_field(root, id, NULL);
    struct mail_address_parser parser;
    struct mail_address a;
    bool first = true;
    putchar('[');
    mail_address_parser_init(&parser, field ? field->value : CQ_SLICE_NONE);
    while (mail_address_next(&parser, &a)) {
        struct cq_buf name, address;
        if (a.kind != MAIL_ADDRESS_MAILBOX)
            continue;
        cq_buf_init(&name, MESSAGE_MAX);
        cq_buf_init(&address, MESSAGE_MAX);
        mail_word_decode(a.name, &name);
        cq_buf_slice_add(&address, a.local);
        if (a.domain.len)
            cq_buf_byte(&address, '@');
        cq_buf_slice_add(&address, a.domain);
        struct cq_buf clean;
        cq_buf_init(&clean, MESSAGE_MAX);
        mail_utf8_clean(cq_buf_slice(&address), &clean);
        printf(first ? "[" : ",[");
        first = false;
        put_string(cq_buf_slice(&name));
        putchar(',');
        put_string(cq_buf_slice(&clean));
        putchar(']');
        cq_buf_fini(&name);
        cq_buf_fini(&address);
        cq_buf_fini(&clean);
    }
    mail_address_parser_fini(&parser);
    putchar(']');
}

static void put_message(const char *path, struct cq_slice message)
{
    struct mail_index *ix = mail_index_new(NULL, NULL);
    for (struct cq_slice rest = message; rest.len; rest = cq_slice_skip(rest, 777))
        mail_index_feed(ix, cq_slice_sub(rest, 0, 777));
    mail_index_finish(ix);
    const struct mail_part *root = mail_index_part(ix, 0);
    const struct mail_field *date = mail_part_field(root, MAIL_FIELD_DATE, NULL);
    const struct mail_field *id = mail_part_field(root, MAIL_FIELD_MESSAGE_ID, NULL);
    struct mail_time time;
    printf("{\"file\":\"%s\",\"tree\":", path);
    put_tree(ix, message);
    printf(",\"subject\":");
    put_text(root, MAIL_FIELD_SUBJECT);
    printf(",\"from\":");
    put_addresses(root, MAIL_FIELD_FROM);
    printf(",\"to\":");
    put_addresses(root, MAIL_FIELD_TO);
    if (date && mail_date_parse(date->value, &time))
        printf(",\"date\":%" PRId64, time.utc_s);
    else
        printf(",\"date\":null");
    struct cq_slice rest = id ? id->value : CQ_SLICE_NONE, one;
    struct cq_buf text, clean;
    cq_buf_init(&text, MESSAGE_MAX);
    cq_buf_init(&clean, MESSAGE_MAX);
    if (mail_msgid_next(&rest, &one))
        mail_msgid_write(one, &text);
    mail_utf8_clean(cq_buf_slice(&text), &clean);
    printf(",\"id\":");
    put_string(cq_buf_slice(&clean));
    printf("}\n");
    cq_buf_fini(&text);
    cq_buf_fini(&clean);
    mail_index_free(&ix);
}

int main(int argc, char **argv)
{
    uint8_t *octets = malloc(MESSAGE_MAX);
    if (!octets || sodium_init() < 0)
        return 1;
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        size_t n = fread(octets, 1, MESSAGE_MAX, f);
        fclose(f);
        put_message(argv[i], cq_slice_of(octets, n));
    }
    free(octets);
    return 0;
}
