/* One setting: its text, its type, its bounds. */
#include "base/cq_config_private.h"

#include "base/cq_assert.h"

#include <stdio.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* From the largest that matters to people to the smallest; printing takes the first that divides. */
static const struct unit size_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"TB", UINT64_C(1000000000000)},
    {"GB", UINT64_C(1000000000)},
    {"MB", UINT64_C(1000000)},
    {"KB", UINT64_C(1000)},
    {"B", 1},
    {"", 1},
};
static const struct unit duration_units[] = {
    {"d", UINT64_C(86400000000)}, {"h", UINT64_C(3600000000)}, {"m", UINT64_C(60000000)},
    {"s", UINT64_C(1000000)},     {"ms", UINT64_C(1000)},      {"us", 1},
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool parse_with_unit(struct cq_slice text, const struct unit *units, size_t count, uint64_t *value_r)
{
    size_t n = 0;
    uint64_t number;
    while (n < text.len && cq_ascii_digit(text.data[n]))
        n++;
    struct cq_slice suffix = cq_slice_skip(text, n);
    if (!cq_slice_u64(cq_slice_sub(text, 0, n), UINT64_MAX, &number))
        return false;
    for (size_t i = 0; i < count; i++)
        if (cq_slice_eq(suffix, cq_slice_cstr(units[i].suffix)))
            return !__builtin_mul_overflow(number, units[i].factor, value_r);
    return false;
}

bool cq_config_size(struct cq_slice text, uint64_t *bytes_r)
{
    return parse_with_unit(text, size_units, COUNT(size_units), bytes_r);
}

bool cq_config_duration(struct cq_slice text, uint64_t *us_r)
{
    if (cq_slice_eq(text, CQ_SLICE("0"))) {
        *us_r = 0;
        return true;
    }
    return parse_with_unit(text, duration_units, COUNT(duration_units), us_r);
}

static bool parse_int(struct cq_slice text, int64_t *value_r)
{
    bool negative = text.len && text.data[0] == '-';
    uint64_t number;
    if (!cq_slice_u64(cq_slice_skip(text, negative), INT64_MAX, &number))
        return false;
    *value_r = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

/* Bounds are our own text: wrong ones are a bug. */
static int64_t int_bound(const char *text, int64_t otherwise)
{
    int64_t value = otherwise;
    CQ_ASSERT(!text || parse_int(cq_slice_cstr(text), &value));
    return value;
}

static uint64_t unsigned_bound(const struct cq_setting *row, const char *text, uint64_t otherwise)
{
    uint64_t value = otherwise;
    bool ok = !text || (row->type == CQ_SETTING_SIZE ? cq_config_size(cq_slice_cstr(text), &value)
                                                     : cq_config_duration(cq_slice_cstr(text), &value));
    CQ_ASSERT(ok);
    return value;
}

static bool set_int(const struct cq_setting *row, struct cq_slice text, int64_t *at)
{
    int64_t value;
    if (!parse_int(text, &value) || value < int_bound(row->min, INT64_MIN) || value > int_bound(row->max, INT64_MAX))
        return false;
    *at = value;
    return true;
}

static bool set_unsigned(const struct cq_setting *row, struct cq_slice text, uint64_t *at)
{
    uint64_t value;
    bool ok = row->type == CQ_SETTING_SIZE ? cq_config_size(text, &value) : cq_config_duration(text, &value);
    if (!ok || value < unsigned_bound(row, row->min, 0) || value > unsigned_bound(row, row->max, UINT64_MAX))
        return false;
    *at = value;
    return true;
}

static bool set_bool(struct cq_slice text, bool *at)
{
    *at = cq_slice_eq(text, CQ_SLICE("true"));
    return *at || cq_slice_eq(text, CQ_SLICE("false"));
}

static bool set_choice(const struct cq_setting *row, struct cq_slice text, int *at)
{
    for (int i = 0; row->choices[i]; i++)
        if (cq_slice_eq(text, cq_slice_cstr(row->choices[i]))) {
            *at = i;
            return true;
        }
    return false;
}

static bool set_string(struct cq_slice text, const char *dir, struct cq_pool *pool, const char **at)
{
    if (text.len > CQ_CONFIG_TEXT_MAX)
        return false;
    bool relative = dir && *dir && text.len && text.data[0] != '/';
    *at = relative ? cq_pool_printf(pool, "%s/%.*s", dir, CQ_SLICE_ARG(text)) : cq_pool_cstr(pool, text);
    return true;
}

bool cq_setting_scalar(const struct cq_setting *row, struct cq_slice text, const char *dir, struct cq_pool *pool,
                       void *at, char *wanted_r, size_t wanted_size)
{
    bool ok = false;
    switch (row->type) {
    case CQ_SETTING_BOOL:
        ok = set_bool(text, at);
        break;
    case CQ_SETTING_INT:
        ok = set_int(row, text, at);
        break;
    case CQ_SETTING_SIZE:
    case CQ_SETTING_DURATION:
        ok = set_unsigned(row, text, at);
        break;
    case CQ_SETTING_STRING:
        ok = set_string(text, NULL, pool, at);
        break;
    case CQ_SETTING_PATH:
        ok = set_string(text, dir, pool, at);
        break;
    case CQ_SETTING_CHOICE:
        ok = set_choice(row, text, at);
        break;
    case CQ_SETTING_STRINGS:
    case CQ_SETTING_MAPS:
        break;
    }
    if (!ok)
        cq_setting_allowed(row, wanted_r, wanted_size);
    return ok;
}

static void allowed_range(const struct cq_setting *row, const char *what, char *out, size_t size)
{
    const char *unit = row->unit ? row->unit : "";
    const char *gap = row->unit ? " " : "";
    if (row->min && row->max)
        snprintf(out, size, "%s from %s to %s%s%s", what, row->min, row->max, gap, unit);
    else if (row->min || row->max)
        snprintf(out, size, "%s of at %s %s%s%s", what, row->min ? "least" : "most", row->min ? row->min : row->max,
                 gap, unit);
    else
        snprintf(out, size, "%s%s%s", what, gap, unit);
}

static void allowed_choices(const struct cq_setting *row, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; row->choices[i] && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "one of: ", row->choices[i]);
}

void cq_setting_allowed(const struct cq_setting *row, char *out, size_t size)
{
    switch (row->type) {
    case CQ_SETTING_BOOL:
        snprintf(out, size, "true or false");
        break;
    case CQ_SETTING_INT:
        allowed_range(row, "a whole number", out, size);
        break;
    case CQ_SETTING_SIZE:
        allowed_range(row, "a size (like 64KiB, 50MiB)", out, size);
        break;
    case CQ_SETTING_DURATION:
        allowed_range(row, "a duration (like 250ms, 30s, 5m, 12h, 7d)", out, size);
        break;
    case CQ_SETTING_STRING:
        snprintf(out, size, "a text of at most %d bytes", CQ_CONFIG_TEXT_MAX);
        break;
    case CQ_SETTING_PATH:
        snprintf(out, size, "a path of at most %d bytes", CQ_CONFIG_TEXT_MAX);
        break;
    case CQ_SETTING_CHOICE:
        allowed_choices(row, out, size);
        break;
    case CQ_SETTING_STRINGS:
        snprintf(out, size, "a list of at most %zu texts", row->items_max);
        break;
    case CQ_SETTING_MAPS:
        snprintf(out, size, "a list of at most %zu maps", row->items_max);
        break;
    }
}

static struct cq_strings default_list(const char *text, struct cq_pool *pool)
{
    struct cq_slice rest = cq_slice_cstr(text);
    const char **items = cq_pool_calloc(pool, rest.len / 2 + 1, sizeof *items);
    size_t count = 0;
    while (rest.len) {
        struct cq_slice word = cq_slice_cut(&rest, ' ');
        if (word.len)
            items[count++] = cq_pool_cstr(pool, word);
    }
    return (struct cq_strings){items, count};
}

void cq_setting_defaults(const struct cq_setting *rows, size_t count, const char *dir, struct cq_pool *pool,
                         void *values)
{
    for (size_t i = 0; i < count; i++) {
        const struct cq_setting *row = &rows[i];
        void *at = (char *)values + row->offset;
        const char *text = row->fallback;
        char wanted[256];
        if (row->type == CQ_SETTING_MAPS)
            *(struct cq_maps *)at = (struct cq_maps){NULL, 0};
        else if (row->type == CQ_SETTING_STRINGS)
            *(struct cq_strings *)at = default_list(text ? text : "", pool);
        else if (!text && (row->type == CQ_SETTING_STRING || row->type == CQ_SETTING_PATH))
            *(const char **)at = "";
        else if (text)
            CQ_ASSERT(cq_setting_scalar(row, cq_slice_cstr(text), dir, pool, at, wanted, sizeof wanted));
    }
}

/* ---- Printing: in cq_config_print.c; the notation is here, beside its parser ---- */

void cq_setting_print_unsigned(struct cq_buf *out, enum cq_setting_type type, uint64_t value)
{
    const struct unit *units = type == CQ_SETTING_SIZE ? size_units : duration_units;
    size_t count = type == CQ_SETTING_SIZE ? COUNT(size_units) : COUNT(duration_units);
    for (size_t i = 0; i < count; i++)
        if (value && value % units[i].factor == 0) {
            cq_buf_printf(out, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].suffix);
            return;
        }
    cq_buf_cstr(out, "0");
}
