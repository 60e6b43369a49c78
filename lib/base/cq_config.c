#include "base/cq_config_private.h"

#include "base/cq_assert.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Rows and where their values go: the parts of the program, or the one kind of item of a list of maps. */
struct scope {
    const struct cq_config_part *parts;
    size_t part_count;
    unsigned *seen_line; /* per row of all parts, in order; 0: not given */
    const char *prefix;  /* "" or "imap.listeners[2]." for messages */
};

struct load {
    const char *name; /* of the file */
    const char *dir;  /* of the file, for relative paths */
    struct cq_pool *pool;
    struct cq_err *err;
};

static enum cq_rc load_map(struct load *load, struct scope *scope, const struct cq_yaml *map, const char *path);

static enum cq_rc fail_at(struct load *load, unsigned line, const char *prefix, const char *key, const char *what)
{
    return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: %s", load->name, line, prefix, key, what);
}

/* ---- The nearest word ---- */

/* Levenshtein with neighbour swaps counted as one; both at most CQ_CONFIG_KEY_MAX long. */
static size_t edit_distance(struct cq_slice a, struct cq_slice b)
{
    uint8_t rows[3][CQ_CONFIG_KEY_MAX + 1];
    uint8_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        last[j] = (uint8_t)j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = (uint8_t)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned best = (unsigned)last[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            if (last[j] + 1u < best)
                best = last[j] + 1u;
            if (now[j - 1] + 1u < best)
                best = now[j - 1] + 1u;
            bool swapped = i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1];
            if (swapped && before[j - 2] + 1u < best)
                best = before[j - 2] + 1u;
            now[j] = (uint8_t)best;
        }
        uint8_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.len];
}

const char *cq_nearest_word(struct cq_slice word, const char *const *candidates, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    if (word.len > CQ_CONFIG_KEY_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct cq_slice candidate = cq_slice_cstr(candidates[i]);
        size_t distance = candidate.len <= CQ_CONFIG_KEY_MAX ? edit_distance(word, candidate) : SIZE_MAX;
        if (distance < best_distance) {
            best_distance = distance;
            best = candidates[i];
        }
    }
    return best_distance <= word.len / 3 + 1 ? best : NULL;
}

/* ---- Rows by key ---- */

static size_t scope_rows(const struct scope *scope)
{
    size_t n = 0;
    for (size_t p = 0; p < scope->part_count; p++)
        n += scope->parts[p].count;
    return n;
}

static const struct cq_setting *scope_row(const struct scope *scope, size_t i, void **values_r)
{
    const struct cq_config_part *part = scope->parts;
    while (i >= part->count)
        i -= part++->count;
    *values_r = part->values;
    return &part->rows[i];
}

/* Index of the row with this key; SIZE_MAX without one. *section_r: some row's key begins with "path.". */
static size_t find_row(const struct scope *scope, const char *path, bool *section_r)
{
    size_t len = strlen(path);
    void *values;
    *section_r = false;
    for (size_t i = 0; i < scope_rows(scope); i++) {
        const char *key = scope_row(scope, i, &values)->key;
        if (strcmp(key, path) == 0)
            return i;
        *section_r = *section_r || (strncmp(key, path, len) == 0 && key[len] == '.');
    }
    return SIZE_MAX;
}

static enum cq_rc unknown_key(struct load *load, const struct scope *scope, unsigned line, const char *path)
{
    size_t count = scope_rows(scope);
    const char **keys = cq_pool_calloc(load->pool, count, sizeof *keys);
    void *values;
    for (size_t i = 0; i < count; i++)
        keys[i] = scope_row(scope, i, &values)->key;
    const char *nearest = cq_nearest_word(cq_slice_cstr(path), keys, count);
    if (!nearest)
        return fail_at(load, line, scope->prefix, path, "unknown key");
    return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: unknown key; the nearest known one is \"%s\"", load->name,
                   line, scope->prefix, path, nearest);
}

/* ---- Values ---- */

static enum cq_rc wrong_value(struct load *load, const struct scope *scope, const struct cq_setting *row,
                              const struct cq_yaml *node, const char *wanted)
{
    static const char *const kinds[] = {"", "a list", "a map"};
    if (cq_yaml_is_null(node))
        return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: has no value; allowed is %s", load->name, node->line,
                       scope->prefix, row->key, wanted);
    if (node->kind != CQ_YAML_SCALAR)
        return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: is %s; allowed is %s", load->name, node->line,
                       scope->prefix, row->key, kinds[node->kind], wanted);
    return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: \"%.*s\" is wrong; allowed is %s", load->name, node->line,
                   scope->prefix, row->key, CQ_SLICE_ARG(cq_slice_sub(node->text, 0, 80)), wanted);
}

static enum cq_rc load_strings(struct load *load, const struct scope *scope, const struct cq_setting *row,
                               const struct cq_yaml *node, struct cq_strings *at)
{
    char wanted[256];
    cq_setting_allowed(row, wanted, sizeof wanted);
    bool single = node->kind == CQ_YAML_SCALAR;
    size_t count = single ? 1 : node->count;
    if (node->kind == CQ_YAML_MAP || count > row->items_max || cq_yaml_is_null(node))
        return wrong_value(load, scope, row, node, wanted);
    const char **items = cq_pool_calloc(load->pool, count + 1, sizeof *items);
    size_t i = 0;
    for (const struct cq_yaml *item = single ? node : node->first; item; item = single ? NULL : item->next) {
        if (item->kind != CQ_YAML_SCALAR || cq_yaml_is_null(item) || item->text.len > CQ_CONFIG_TEXT_MAX)
            return wrong_value(load, scope, row, item, wanted);
        items[i++] = cq_pool_cstr(load->pool, item->text);
    }
    *at = (struct cq_strings){items, count};
    return CQ_OK;
}

static enum cq_rc check_required(struct load *load, const struct scope *scope, unsigned line)
{
    void *values;
    for (size_t i = 0; i < scope_rows(scope); i++) {
        const struct cq_setting *row = scope_row(scope, i, &values);
        if (!row->fallback && !scope->seen_line[i])
            return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: is required and not given: %s", load->name, line,
                           scope->prefix, row->key, row->help);
    }
    return CQ_OK;
}

static enum cq_rc load_item(struct load *load, const struct scope *outer, const struct cq_setting *row,
                            const struct cq_yaml *item, size_t number, void *values)
{
    const struct cq_config_part part = {.rows = row->item_rows, .count = row->item_row_count, .values = values};
    struct scope scope = {
        .parts = &part,
        .part_count = 1,
        .seen_line = cq_pool_calloc(load->pool, row->item_row_count, sizeof(unsigned)),
        .prefix = cq_pool_printf(load->pool, "%s%s[%zu].", outer->prefix, row->key, number),
    };
    if (item->kind != CQ_YAML_MAP)
        return wrong_value(load, outer, row, item, "a list of maps");
    cq_setting_defaults(row->item_rows, row->item_row_count, load->dir, load->pool, values);
    enum cq_rc rc = load_map(load, &scope, item, "");
    return rc == CQ_OK ? check_required(load, &scope, item->line) : rc;
}

static enum cq_rc load_maps(struct load *load, const struct scope *scope, const struct cq_setting *row,
                            const struct cq_yaml *node, struct cq_maps *at)
{
    char wanted[256];
    cq_setting_allowed(row, wanted, sizeof wanted);
    if (node->kind != CQ_YAML_LIST || node->count > row->items_max)
        return wrong_value(load, scope, row, node, wanted);
    char *items = cq_pool_calloc(load->pool, node->count + 1, row->item_size);
    size_t i = 0;
    for (const struct cq_yaml *item = node->first; item; item = item->next, i++) {
        enum cq_rc rc = load_item(load, scope, row, item, i, items + i * row->item_size);
        if (rc != CQ_OK)
            return rc;
    }
    *at = (struct cq_maps){items, node->count};
    return CQ_OK;
}

static enum cq_rc load_value(struct load *load, const struct scope *scope, const struct cq_setting *row,
                             const struct cq_yaml *node, void *at)
{
    char wanted[256] = "";
    if (row->type == CQ_SETTING_STRINGS)
        return load_strings(load, scope, row, node, at);
    if (row->type == CQ_SETTING_MAPS)
        return load_maps(load, scope, row, node, at);
    if (node->kind != CQ_YAML_SCALAR || cq_yaml_is_null(node)) {
        cq_setting_allowed(row, wanted, sizeof wanted);
        return wrong_value(load, scope, row, node, wanted);
    }
    if (!cq_setting_scalar(row, node->text, load->dir, load->pool, at, wanted, sizeof wanted))
        return wrong_value(load, scope, row, node, wanted);
    return CQ_OK;
}

static enum cq_rc load_entry(struct load *load, struct scope *scope, const struct cq_yaml *node, const char *path)
{
    bool section;
    void *values;
    size_t i = find_row(scope, path, &section);
    if (i == SIZE_MAX && section && (node->kind == CQ_YAML_MAP || cq_yaml_is_null(node)))
        return load_map(load, scope, node, path); /* a section, perhaps with all its lines commented out */
    if (i == SIZE_MAX)
        return unknown_key(load, scope, node->key_line, path);
    if (scope->seen_line[i])
        return CQ_FAIL(load->err, CQ_E_CONFIG, "%s:%u: %s%s: is given again, first in line %u", load->name,
                       node->key_line, scope->prefix, path, scope->seen_line[i]);
    scope->seen_line[i] = node->key_line;
    const struct cq_setting *row = scope_row(scope, i, &values);
    return load_value(load, scope, row, node, (char *)values + row->offset);
}

/* Depth is bounded by CQ_YAML_DEPTH_MAX. */
static enum cq_rc load_map(struct load *load, struct scope *scope, const struct cq_yaml *map, const char *path)
{
    for (const struct cq_yaml *node = map->first; node; node = node->next) {
        const char *key = cq_pool_printf(load->pool, "%s%s%.*s", path, *path ? "." : "", CQ_SLICE_ARG(node->key));
        if (strlen(key) > CQ_CONFIG_KEY_MAX)
            return fail_at(load, node->key_line, "", "", "a key that is too long");
        enum cq_rc rc = load_entry(load, scope, node, key);
        if (rc != CQ_OK)
            return rc;
    }
    return CQ_OK;
}

static const char *folder_of(const char *path, struct cq_pool *pool)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return "";
    return slash == path ? "/" : cq_pool_cstr(pool, cq_slice_of(path, (size_t)(slash - path)));
}

enum cq_rc cq_config_parse(const struct cq_config_part *parts, size_t part_count, const char *name,
                           struct cq_slice text, struct cq_pool *pool, struct cq_err *err)
{
    struct load load = {.name = name, .dir = folder_of(name, pool), .pool = pool, .err = err};
    struct scope scope = {.parts = parts, .part_count = part_count, .prefix = ""};
    scope.seen_line = cq_pool_calloc(pool, scope_rows(&scope) + 1, sizeof(unsigned));
    for (size_t p = 0; p < part_count; p++)
        cq_setting_defaults(parts[p].rows, parts[p].count, load.dir, pool, parts[p].values);
    if (text.len > CQ_CONFIG_FILE_MAX)
        return CQ_FAIL(err, CQ_E_CONFIG, "%s:1: is over %u bytes", name, CQ_CONFIG_FILE_MAX);
    struct cq_yaml *root = NULL;
    enum cq_rc rc = cq_yaml_parse(name, text, pool, &root, err);
    if (rc != CQ_OK)
        return rc;
    if (root && root->kind != CQ_YAML_MAP)
        return CQ_FAIL(err, CQ_E_CONFIG, "%s:%u: is no map of settings (key: value)", name, root->line);
    if (root)
        rc = load_map(&load, &scope, root, "");
    return rc == CQ_OK ? check_required(&load, &scope, root ? root->line : 1) : rc;
}

enum cq_rc cq_config_defaults(const struct cq_config_part *parts, size_t part_count, struct cq_pool *pool,
                              struct cq_err *err)
{
    return cq_config_parse(parts, part_count, "(no --config)", CQ_SLICE_NONE, pool, err);
}

/* One byte more than the limit is read, so that a longer file is seen to be longer. */
static enum cq_rc read_file(const char *path, struct cq_buf *out, struct cq_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    enum cq_rc rc = CQ_OK;
    ssize_t n = 1;
    while (n > 0) {
        uint8_t *to = cq_buf_reserve(out, 16384);
        if (!to)
            break;
        n = read(fd, to, 16384);
        if (n > 0)
            cq_buf_commit(out, (size_t)n);
    }
    if (n < 0)
        rc = CQ_FAIL(err, CQ_E_IO, "%s: %s", path, strerror(errno));
    else if (n > 0)
        rc = CQ_FAIL(err, CQ_E_CONFIG, "%s:1: is over %u bytes", path, CQ_CONFIG_FILE_MAX);
    close(fd);
    return rc;
}

enum cq_rc cq_config_load(const struct cq_config_part *parts, size_t part_count, const char *path, struct cq_pool *pool,
                          struct cq_err *err)
{
    struct cq_buf text;
    cq_buf_init(&text, CQ_CONFIG_FILE_MAX + 16384);
    enum cq_rc rc = read_file(path, &text, err);
    if (rc == CQ_OK)
        rc = cq_config_parse(parts, part_count, path, cq_buf_slice(&text), pool, err);
    cq_buf_fini(&text);
    return rc;
}

/* ---- The log's own settings ---- */

static const char *const level_choices[] = {
#define LEVEL_TEXT(name, text) text,
    CQ_LOG_LEVELS(LEVEL_TEXT)
#undef LEVEL_TEXT
        NULL};
static const char *const format_choices[] = {"auto", "json", "logfmt", NULL};

static const struct cq_setting log_rows[] = {
    CQ_SET_CHOICE(struct cq_log_config, level, "log.level", "info", level_choices,
                  "The least weight of lines that are written."),
    CQ_SET_CHOICE(struct cq_log_config, format, "log.format", "auto", format_choices,
                  "Form of a line; auto is logfmt on a terminal and JSON otherwise."),
};

struct cq_config_part cq_log_config_part(struct cq_log_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("Log", log_rows, values);
}
