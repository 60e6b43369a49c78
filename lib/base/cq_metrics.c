#include "base/cq_metrics.h"

#include "base/cq_assert.h"
#include "base/cq_mem.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Every count of the process has one cell number. A thread counts in its own block of cells with plain loads and
 * stores (relaxed atomics: the scrape reads them at the same time); gauges have one shared block. A block outlives its
 * thread and is taken over, counts and all, by the next thread that starts. */

#define MODULES_MAX 64
#define BEFORE_MAX 32

struct row_state {
    size_t base;   /* first cell */
    size_t stride; /* cells of one label combination: 1, or buckets + Inf + sum */
    size_t combinations;
    cq_metric_collect_fn *collect;
    void *collect_ctx;
};

struct cq_metrics_state {
    size_t count;
    struct row_state row[];
};

struct block {
    struct block *next; /* in all_blocks, for ever */
    struct block *next_free;
    uint64_t cells[CQ_METRIC_CELLS_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the lists and registration */
static struct block *all_blocks;
static struct block *free_blocks;
static struct cq_metrics *modules[MODULES_MAX];
static size_t module_count;
static size_t cells_used = 1; /* cell 0 is nobody's */
static struct {
    cq_metrics_before_fn *fn;
    void *ctx;
} before[BEFORE_MAX];
static size_t before_count;

static int64_t shared_cells[CQ_METRIC_CELLS_MAX];
static _Thread_local struct block *my_block;
static pthread_key_t block_key;
static pthread_once_t block_once = PTHREAD_ONCE_INIT;

struct cq_metric_out {
    struct cq_buf *buf;
    const struct cq_metric *row;
};

/* ---- Buckets ---- */

#define BUCKETS(name, unit_, ...)                                                                                      \
    static const uint64_t name##_le[] = {__VA_ARGS__};                                                                 \
    const struct cq_metric_buckets cq_buckets_##name = {name##_le, sizeof name##_le / sizeof *name##_le, unit_}

#define MS UINT64_C(1000)
#define SEC UINT64_C(1000000)
#define KIB UINT64_C(1024)

BUCKETS(latency, CQ_METRIC_US, 500, 1 * MS, 2500, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS,
        1 * SEC, 2500 * MS, 5 * SEC, 10 * SEC, 30 * SEC, 60 * SEC);
BUCKETS(io, CQ_METRIC_US, 50, 100, 250, 500, 1 * MS, 2500, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS,
        500 * MS, 1 * SEC, 5 * SEC);
BUCKETS(delivery, CQ_METRIC_US, 100 * MS, 500 * MS, 1 * SEC, 5 * SEC, 10 * SEC, 60 * SEC, 300 * SEC, 1800 * SEC,
        3600 * SEC, 4 * 3600 * SEC, 12 * 3600 * SEC, 24 * 3600 * SEC, 48 * 3600 * SEC, 120 * 3600 * SEC);
BUCKETS(duration, CQ_METRIC_US, 1 * SEC, 5 * SEC, 30 * SEC, 60 * SEC, 300 * SEC, 900 * SEC, 1800 * SEC, 3600 * SEC,
        4 * 3600 * SEC, 12 * 3600 * SEC, 24 * 3600 * SEC);
BUCKETS(size, CQ_METRIC_ONE, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, KIB *KIB, 4 * KIB * KIB, 10 * KIB * KIB,
        25 * KIB * KIB, 50 * KIB * KIB, 100 * KIB * KIB);
BUCKETS(count, CQ_METRIC_ONE, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000);

/* ---- Registration ---- */

static bool name_ok_n(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalpha((unsigned char)name[i]) && name[i] != '_' && (i == 0 || !isdigit((unsigned char)name[i])))
            return false;
    return len > 0;
}

static bool name_ok(const char *name)
{
    return name_ok_n(name, strlen(name));
}

/* Takes the part before the next comma off; NULL: there is none any more. */
static const char *next_part(const char **rest, size_t *len_r)
{
    const char *part = *rest;
    if (!part)
        return NULL;
    *len_r = strcspn(part, ",");
    *rest = part[*len_r] ? part + *len_r + 1 : NULL;
    return part;
}

/* Its names are right, and each value has as many parts. */
static bool label_ok(const struct cq_metric_label *label)
{
    size_t len, names = 0;
    for (const char *rest = label->name, *name; (name = next_part(&rest, &len)); names++)
        if (!name_ok_n(name, len))
            return false;
    for (size_t i = 0; names > 1 && i < label->count; i++) {
        size_t parts = 0;
        for (const char *rest = label->values[i]; next_part(&rest, &len);)
            parts++;
        if (parts != names)
            return false;
    }
    return true;
}

static size_t label_count(const struct cq_metric *row)
{
    size_t n = 0;
    while (n < CQ_METRIC_LABELS_MAX && row->labels[n].name)
        n++;
    return n;
}

static bool has_name(const struct cq_metric *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return true;
    return false;
}

static bool name_is_new(const struct cq_metrics *module, size_t row)
{
    const char *name = module->rows[row].name;
    for (size_t m = 0; m < module_count; m++)
        if (has_name(modules[m]->rows, modules[m]->count, name))
            return false;
    return !has_name(module->rows, row, name);
}

/* A row whose label values are known at run time only has no cells: 0 combinations. */
static struct row_state place_row(const struct cq_metric *row)
{
    struct row_state state = {.stride = row->buckets ? row->buckets->count + 2 : 1, .combinations = 1};
    CQ_ASSERT(name_ok(row->name));
    CQ_ASSERT((row->type == CQ_METRIC_HISTOGRAM) == (row->buckets != NULL));
    for (size_t i = 0; i < label_count(row); i++) {
        CQ_ASSERT(label_ok(&row->labels[i]));
        state.combinations *= row->labels[i].count;
    }
    state.base = cells_used;
    cells_used += state.stride * state.combinations;
    CQ_ASSERT(cells_used <= CQ_METRIC_CELLS_MAX);
    return state;
}

static bool is_registered(const struct cq_metrics *module)
{
    for (size_t i = 0; i < module_count; i++)
        if (modules[i] == module)
            return true;
    return false;
}

void cq_metrics_register(struct cq_metrics *module)
{
    pthread_mutex_lock(&lock);
    if (!is_registered(module)) {
        CQ_ASSERT(module_count < MODULES_MAX);
        struct cq_metrics_state *state = cq_calloc(1, sizeof *module->state + module->count * sizeof(struct row_state));
        state->count = module->count;
        for (size_t i = 0; i < module->count; i++) {
            CQ_ASSERT(name_is_new(module, i));
            state->row[i] = place_row(&module->rows[i]);
        }
        module->state = state;
        modules[module_count++] = module;
    }
    pthread_mutex_unlock(&lock);
}

void cq_metrics_collect(struct cq_metrics *module, size_t row, cq_metric_collect_fn *collect, void *ctx)
{
    CQ_ASSERT(module->state && row < module->count);
    pthread_mutex_lock(&lock);
    module->state->row[row].collect = collect;
    module->state->row[row].collect_ctx = ctx;
    pthread_mutex_unlock(&lock);
}

void cq_metrics_before_scrape(cq_metrics_before_fn *fn, void *ctx)
{
    pthread_mutex_lock(&lock);
    CQ_ASSERT(before_count < BEFORE_MAX);
    before[before_count].fn = fn;
    before[before_count++].ctx = ctx;
    pthread_mutex_unlock(&lock);
}

/* ---- Counting ---- */

static void leave_block(void *block_of_thread)
{
    struct block *block = block_of_thread;
    pthread_mutex_lock(&lock);
    block->next_free = free_blocks;
    free_blocks = block;
    pthread_mutex_unlock(&lock);
    my_block = NULL;
}

static void make_block_key(void)
{
    CQ_ASSERT(pthread_key_create(&block_key, leave_block) == 0);
}

static struct block *take_block(void)
{
    pthread_once(&block_once, make_block_key);
    pthread_mutex_lock(&lock);
    struct block *block = free_blocks;
    if (block) {
        free_blocks = block->next_free;
    } else {
        block = cq_new(struct block);
        block->next = all_blocks;
        all_blocks = block;
    }
    pthread_mutex_unlock(&lock);
    pthread_setspecific(block_key, block);
    my_block = block;
    return block;
}

static void count(size_t cell, uint64_t n)
{
    struct block *block = my_block ? my_block : take_block();
    uint64_t *at = &block->cells[cell];
    __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* index[0] is a dummy, index[1 + i] the value of label i. Returns 0 when the module is not registered. */
static size_t cell_of(const struct cq_metrics *module, size_t row, const unsigned *index)
{
    if (!module->state)
        return 0;
    CQ_ASSERT(row < module->count);
    const struct cq_metric *metric = &module->rows[row];
    const struct row_state *state = &module->state->row[row];
    size_t combination = 0;
    for (size_t i = 0; i < label_count(metric); i++) {
        CQ_ASSERT(index[1 + i] < metric->labels[i].count);
        combination = combination * metric->labels[i].count + index[1 + i];
    }
    return state->base + combination * state->stride;
}

void cq_metric_add_at(const struct cq_metrics *module, size_t row, uint64_t n, const unsigned *index)
{
    size_t cell = cell_of(module, row, index);
    if (cell)
        count(cell, n);
}

static size_t bucket_of(const struct cq_metric_buckets *buckets, uint64_t value)
{
    size_t i = 0;
    while (i < buckets->count && value > buckets->le[i])
        i++;
    return i;
}

void cq_metric_observe_at(const struct cq_metrics *module, size_t row, uint64_t value, const unsigned *index)
{
    size_t cell = cell_of(module, row, index);
    if (!cell)
        return;
    const struct cq_metric_buckets *buckets = module->rows[row].buckets;
    CQ_ASSERT(buckets);
    count(cell + bucket_of(buckets, value), 1);
    count(cell + buckets->count + 1, value);
}

void cq_gauge_set_at(const struct cq_metrics *module, size_t row, int64_t value, const unsigned *index)
{
    size_t cell = cell_of(module, row, index);
    if (cell)
        __atomic_store_n(&shared_cells[cell], value, __ATOMIC_RELAXED);
}

void cq_gauge_add_at(const struct cq_metrics *module, size_t row, int64_t delta, const unsigned *index)
{
    size_t cell = cell_of(module, row, index);
    if (cell)
        __atomic_fetch_add(&shared_cells[cell], delta, __ATOMIC_RELAXED);
}

/* Under the lock. */
static uint64_t sum_cell(size_t cell)
{
    uint64_t sum = 0;
    for (const struct block *b = all_blocks; b; b = b->next)
        sum += __atomic_load_n(&b->cells[cell], __ATOMIC_RELAXED);
    return sum;
}

static uint64_t sum_buckets(size_t cell, size_t bucket_count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= bucket_count; i++)
        sum += sum_cell(cell + i);
    return sum;
}

int64_t cq_metric_value_at(const struct cq_metrics *module, size_t row, const unsigned *index)
{
    size_t cell = cell_of(module, row, index);
    if (!cell)
        return 0;
    const struct cq_metric *metric = &module->rows[row];
    if (metric->type == CQ_METRIC_GAUGE)
        return __atomic_load_n(&shared_cells[cell], __ATOMIC_RELAXED);
    pthread_mutex_lock(&lock);
    uint64_t value = metric->buckets ? sum_buckets(cell, metric->buckets->count) : sum_cell(cell);
    pthread_mutex_unlock(&lock);
    return (int64_t)value;
}

/* ---- The text format ---- */

static const char *const type_names[] = {"counter", "gauge", "histogram"};

/* An integer, or microseconds as seconds without trailing zeros. */
static void put_number(struct cq_buf *out, int64_t value, enum cq_metric_unit unit)
{
    if (unit == CQ_METRIC_ONE) {
        cq_buf_printf(out, "%lld", (long long)value);
        return;
    }
    uint64_t us = value < 0 ? -(uint64_t)value : (uint64_t)value;
    char fraction[8];
    int n = snprintf(fraction, sizeof fraction, ".%06u", (unsigned)(us % 1000000));
    while (n > 0 && (fraction[n - 1] == '0' || fraction[n - 1] == '.'))
        n--;
    cq_buf_printf(out, "%s%llu%.*s", value < 0 ? "-" : "", (unsigned long long)(us / 1000000), n, fraction);
}

static void put_label_value(struct cq_buf *out, const char *text, size_t len)
{
    for (const char *end = text + len; text < end; text++) {
        if (*text == '\n')
            cq_buf_cstr(out, "\\n");
        else if (*text == '"' || *text == '\\')
            cq_buf_printf(out, "\\%c", *text);
        else
            cq_buf_byte(out, (uint8_t)*text);
    }
}

/* a="x", or a="x",b="y" for a label of two. */
static void put_label(struct cq_buf *out, const char *name, const char *value)
{
    bool many = strchr(name, ',') != NULL;
    size_t name_len, value_len = 0;
    for (const char *part, *of = value, *comma = ""; (part = next_part(&name, &name_len)); comma = ",") {
        const char *text = many ? next_part(&of, &value_len) : value;
        cq_buf_printf(out, "%s%.*s=\"", comma, (int)name_len, part);
        put_label_value(out, text, many ? value_len : strlen(value));
        cq_buf_byte(out, '"');
    }
}

/* {a="x",b="y"} with `le` as one more label when it is given; nothing when there are none. */
static void put_labels(struct cq_buf *out, const struct cq_metric *row, const char *const *values, const char *le)
{
    size_t n = label_count(row);
    if (n == 0 && !le)
        return;
    for (size_t i = 0; i < n; i++) {
        cq_buf_byte(out, i ? ',' : '{');
        put_label(out, row->labels[i].name, values[i]);
    }
    if (le)
        cq_buf_printf(out, "%sle=\"%s\"", n ? "," : "{", le);
    cq_buf_byte(out, '}');
}

static enum cq_metric_unit unit_of(const struct cq_metric *row)
{
    return row->buckets ? row->buckets->unit : row->unit;
}

static void put_sample(struct cq_buf *out, const struct cq_metric *row, const char *suffix, const char *const *values,
                       const char *le, int64_t value, enum cq_metric_unit unit)
{
    cq_buf_cstr(out, row->name);
    cq_buf_cstr(out, suffix);
    put_labels(out, row, values, le);
    cq_buf_byte(out, ' ');
    put_number(out, value, unit);
    cq_buf_byte(out, '\n');
}

void cq_metric_out_sample(struct cq_metric_out *out, const char *const *label_values, int64_t value)
{
    CQ_ASSERT(!out->row->buckets);
    put_sample(out->buf, out->row, "", label_values, NULL, value, out->row->unit);
}

static void put_histogram(struct cq_buf *out, const struct cq_metric *row, const char *const *values, size_t cell)
{
    const struct cq_metric_buckets *buckets = row->buckets;
    uint64_t total = 0;
    for (size_t i = 0; i <= buckets->count; i++) {
        struct cq_buf le;
        cq_buf_init(&le, 64);
        if (i < buckets->count)
            put_number(&le, (int64_t)buckets->le[i], buckets->unit);
        else
            cq_buf_cstr(&le, "+Inf");
        cq_buf_byte(&le, '\0');
        total += sum_cell(cell + i);
        put_sample(out, row, "_bucket", values, (const char *)le.data, (int64_t)total, CQ_METRIC_ONE);
        cq_buf_fini(&le);
    }
    put_sample(out, row, "_sum", values, NULL, (int64_t)sum_cell(cell + buckets->count + 1), unit_of(row));
    put_sample(out, row, "_count", values, NULL, (int64_t)total, CQ_METRIC_ONE);
}

/* The label values of the n-th combination; the last label runs fastest, as in cell_of. */
static void combination_values(const struct cq_metric *row, size_t n, const char *values_r[CQ_METRIC_LABELS_MAX])
{
    for (size_t i = label_count(row); i-- > 0;) {
        values_r[i] = row->labels[i].values[n % row->labels[i].count];
        n /= row->labels[i].count;
    }
}

static void put_row(struct cq_buf *out, const struct cq_metric *row, const struct row_state *state)
{
    cq_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, type_names[row->type]);
    if (state->collect) {
        struct cq_metric_out to = {out, row};
        state->collect(&to, state->collect_ctx);
        return;
    }
    for (size_t n = 0; n < state->combinations; n++) {
        const char *values[CQ_METRIC_LABELS_MAX] = {0};
        size_t cell = state->base + n * state->stride;
        combination_values(row, n, values);
        if (row->type == CQ_METRIC_HISTOGRAM)
            put_histogram(out, row, values, cell);
        else if (row->type == CQ_METRIC_GAUGE)
            put_sample(out, row, "", values, NULL, __atomic_load_n(&shared_cells[cell], __ATOMIC_RELAXED), row->unit);
        else
            put_sample(out, row, "", values, NULL, (int64_t)sum_cell(cell), row->unit);
    }
}

bool cq_metrics_scrape(struct cq_buf *out)
{
    size_t start = out->len;
    for (size_t i = 0; i < before_count; i++)
        before[i].fn(before[i].ctx);
    pthread_mutex_lock(&lock);
    for (size_t m = 0; m < module_count; m++)
        for (size_t r = 0; r < modules[m]->count; r++)
            put_row(out, &modules[m]->rows[r], &modules[m]->state->row[r]);
    pthread_mutex_unlock(&lock);
    return cq_buf_ok(out) && out->len - start <= CQ_METRICS_TEXT_MAX;
}

/* ---- Documents ---- */

void cq_metrics_walk(cq_metrics_walk_fn *fn, void *ctx)
{
    for (size_t m = 0; m < module_count; m++)
        for (size_t r = 0; r < modules[m]->count; r++)
            fn(&modules[m]->rows[r], ctx);
}

static void print_row(const struct cq_metric *row, void *ctx)
{
    struct cq_buf *out = ctx;
    cq_buf_printf(out, "| `%s` | %s | ", row->name, type_names[row->type]);
    for (size_t i = 0; i < label_count(row); i++) {
        cq_buf_printf(out, "%s`%s`", i ? "; " : "", row->labels[i].name);
        for (size_t v = 0; v < row->labels[i].count; v++)
            cq_buf_printf(out, "%s%s", v ? ", " : ": ", row->labels[i].values[v]);
    }
    cq_buf_printf(out, " | %s |\n", row->help);
}

void cq_metrics_print_docs(struct cq_buf *out)
{
    cq_metrics_walk(print_row, out);
}
