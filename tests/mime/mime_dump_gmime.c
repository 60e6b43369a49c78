/* The same as mime_dump_ours, from GMime 3. */
#include <gmime/gmime.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put_string(const char *text)
{
    g_autofree char *utf8 = g_utf8_make_valid(text, -1);
    putchar('"');
    for (const char *p = utf8; *p; p++) {
        if ((unsigned char)*p < 32 || *p == '"' || *p == '\\' || *p == 127)
            printf("\\u%04x", (unsigned char)*p);
        else
            putchar(*p);
    }
    putchar('"');
}

static void put_leaf(GMimeObject *object)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    if (GMIME_IS_PART(object)) {
        GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(object));
        if (content)
            g_mime_data_wrapper_write_to_stream(content, stream);
    }
    GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
    g_autofree char *hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes->data, bytes->len);
    hash[16] = '\0';
    printf(",\"len\":%u,\"sha\":\"%s\"", bytes->len, hash);
    g_object_unref(stream);
}

static void put_part(GMimeObject *object)
{
    GMimeContentType *type = object ? g_mime_object_get_content_type(object) : NULL;
    g_autofree char *mime = type ? g_mime_content_type_get_mime_type(type) : g_strdup("none/none");
    g_autofree char *lower = g_ascii_strdown(mime, -1);
    printf("{\"t\":");
    put_string(lower);
    if (object && GMIME_IS_MULTIPART(object) && g_mime_multipart_get_count(GMIME_MULTIPART(object)) > 0) {
        printf(",\"c\":[");
        for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(object)); i++) {
            if (i)
                putchar(',');
            put_part(g_mime_multipart_get_part(GMIME_MULTIPART(object), i));
        }
        putchar(']');
    } else if (object && GMIME_IS_MESSAGE_PART(object)) {
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
        printf(",\"c\":[");
        put_part(inner ? g_mime_message_get_mime_part(inner) : NULL);
        putchar(']');
    } else if (object) {
        put_leaf(object);
    }
    putchar('}');
}

static void put_list(InternetAddressList *list, gboolean *first)
{
    for (int i = 0; list && i < internet_address_list_length(list); i++) {
        InternetAddress *a = internet_address_list_get_address(list, i);
        if (INTERNET_ADDRESS_IS_GROUP(a)) {
            put_list(internet_address_group_get_members(INTERNET_ADDRESS_GROUP(a)), first);
            continue;
        }
        const char *name = internet_address_get_name(a);
        const char *address = internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(a));
        printf(*first ? "[" : ",[");
        *first = FALSE;
        put_string(name ? name : "");
        putchar(',');
        put_string(address ? address : "");
        putchar(']');
    }
}

static void put_addresses(InternetAddressList *list)
{
    gboolean first = TRUE;
    putchar('[');
    put_list(list, &first);
    putchar(']');
}

static void put_message(const char *path)
{
    GMimeStream *stream = g_mime_stream_file_open(path, "r", NULL);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    printf("{\"file\":\"%s\"", path);
    if (message) {
        const char *subject = g_mime_message_get_subject(message), *id = g_mime_message_get_message_id(message);
        GDateTime *date = g_mime_message_get_date(message);
        printf(",\"tree\":");
        put_part(g_mime_message_get_mime_part(message));
        printf(",\"subject\":");
        if (subject)
            put_string(subject);
        else
            printf("null");
        printf(",\"from\":");
        put_addresses(g_mime_message_get_from(message));
        printf(",\"to\":");
        put_addresses(g_mime_message_get_to(message));
        if (date)
            printf(",\"date\":%" PRId64, (int64_t)g_date_time_to_unix(date));
        else
            printf(",\"date\":null");
        printf(",\"id\":");
        put_string(id ? id : "");
        g_object_unref(message);
    }
    printf("}\n");
    g_object_unref(parser);
    g_object_unref(stream);
}

int main(int argc, char **argv)
{
    g_mime_init();
    for (int i = 1; i < argc; i++)
        put_message(argv[i]);
    g_mime_shutdown();
    return 0;
}
