/* Settings as text: the values in force (YAML with dotted keys) and the reference page (Markdown). */
#include "base/cq_config_private.h"

#include "base/cq_text.h"

#include <stdio.h>

static void print_item(struct cq_buf *out, const struct cq_setting *row, const char *item);

static void print_string(struct cq_buf *out, const char *text)
{
    cq_json_string(out, cq_slice_cstr(text));
}

static void print_strings(struct cq_buf *out, const struct cq_strings *list)
{
    cq_buf_byte(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        cq_buf_cstr(out, i ? ", " : "");
        print_string(out, list->items[i]);
    }
    cq_buf_byte(out, ']');
}

static void print_maps(struct cq_buf *out, const struct cq_setting *row, const struct cq_maps *maps)
{
    cq_buf_byte(out, '[');
    for (size_t i = 0; i < maps->count; i++) {
        cq_buf_cstr(out, i ? ",\n  " : "\n  ");
        print_item(out, row, (const char *)maps->items + i * row->item_size);
    }
    cq_buf_byte(out, ']');
}

static void print_value(struct cq_buf *out, const struct cq_setting *row, const void *at)
{
    switch (row->type) {
    case CQ_SETTING_BOOL:
        cq_buf_cstr(out, *(const bool *)at ? "true" : "false");
        break;
    case CQ_SETTING_INT:
        cq_buf_printf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case CQ_SETTING_SIZE:
    case CQ_SETTING_DURATION:
        cq_setting_print_unsigned(out, row->type, *(const uint64_t *)at);
        break;
    case CQ_SETTING_STRING:
    case CQ_SETTING_PATH:
        print_string(out, *(const char *const *)at);
        break;
    case CQ_SETTING_CHOICE:
        cq_buf_cstr(out, row->choices[*(const int *)at]);
        break;
    case CQ_SETTING_STRINGS:
        print_strings(out, at);
        break;
    case CQ_SETTING_MAPS:
        print_maps(out, row, at);
        break;
    }
}

static void print_item(struct cq_buf *out, const struct cq_setting *row, const char *item)
{
    cq_buf_byte(out, '{');
    for (size_t i = 0; i < row->item_row_count; i++) {
        cq_buf_printf(out, "%s\"%s\": ", i ? ", " : "", row->item_rows[i].key);
        print_value(out, &row->item_rows[i], item + row->item_rows[i].offset);
    }
    cq_buf_byte(out, '}');
}

bool cq_config_print(struct cq_buf *out, const struct cq_config_part *parts, size_t part_count)
{
    for (size_t p = 0; p < part_count; p++)
        for (size_t i = 0; i < parts[p].count; i++) {
            const struct cq_setting *row = &parts[p].rows[i];
            cq_buf_printf(out, "%s: ", row->key);
            print_value(out, row, (const char *)parts[p].values + row->offset);
            cq_buf_byte(out, '\n');
        }
    return cq_buf_ok(out);
}

static void print_doc_row(struct cq_buf *out, const struct cq_setting *row)
{
    char allowed[256];
    cq_setting_allowed(row, allowed, sizeof allowed);
    cq_buf_printf(out, "| `%s` | ", row->key);
    if (!row->fallback)
        cq_buf_cstr(out, "required");
    else
        cq_buf_printf(out, "`%s`", *row->fallback ? row->fallback : "\"\"");
    cq_buf_printf(out, " | %s | %s |\n", allowed, row->help);
}

static void print_doc_table(struct cq_buf *out, const char *title, const struct cq_setting *rows, size_t count)
{
    cq_buf_printf(out, "### %s\n\n| key | default | allowed | what it does |\n|---|---|---|---|\n", title);
    for (size_t i = 0; i < count; i++)
        print_doc_row(out, &rows[i]);
    cq_buf_cstr(out, "\n");
}

bool cq_config_print_docs(struct cq_buf *out, const struct cq_config_part *parts, size_t part_count)
{
    for (size_t p = 0; p < part_count; p++) {
        print_doc_table(out, parts[p].title, parts[p].rows, parts[p].count);
        for (size_t i = 0; i < parts[p].count; i++) {
            const struct cq_setting *row = &parts[p].rows[i];
            char title[CQ_CONFIG_KEY_MAX + 32];
            snprintf(title, sizeof title, "Each map of `%s`", row->key);
            if (row->type == CQ_SETTING_MAPS)
                print_doc_table(out, title, row->item_rows, row->item_row_count);
        }
    }
    return cq_buf_ok(out);
}
