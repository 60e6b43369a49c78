/* Settings: rows that say what a program understands; a YAML file (JSON is YAML too) becomes values in plain structs.
 *
 *     struct my_config { uint64_t workers; uint64_t idle_timeout_us; struct cq_strings listen; };
 *     static const struct cq_setting my_rows[] = {
 *         CQ_SET_INT(struct my_config, workers, "workers", "2", 1, 256, "threads", "Threads that each run a loop."),
 *         CQ_SET_DURATION(struct my_config, idle_timeout_us, "imap.idle_timeout", "30m", "1m", "24h", "..."),
 *         CQ_SET_STRINGS(struct my_config, listen, "imap.listen", "127.0.0.1:1143", 16, "..."),
 *     };
 *     struct my_config config;
 *     const struct cq_config_part parts[] = {CQ_CONFIG_PART("front-end", my_rows, &config), cq_log_config_part(&log)};
 *     rc = cq_config_load(parts, 2, "/etc/chasqui/frontend.yaml", pool, &err);   // CQ_E_CONFIG: exit status 2
 *
 * A key path is nested maps in the file ("imap.listen" is imap: {listen: ...}). Everything that is wrong is told with
 * file, line, key, what was found and what is allowed; an unknown key with the nearest known one. All values that were
 * loaded live in the pool that was given. Rows are the single source: documents and --print-config come from them. */
#ifndef CQ_CONFIG_H
#define CQ_CONFIG_H

#include "base/cq_buf.h"
#include "base/cq_err.h"
#include "base/cq_pool.h"

#define CQ_CONFIG_FILE_MAX (1u << 20) /* bytes of a settings file */
#define CQ_CONFIG_KEY_MAX 128         /* bytes of a key path */
#define CQ_CONFIG_TEXT_MAX 4096       /* bytes of one scalar */

enum cq_setting_type {
    CQ_SETTING_BOOL,     /* bool: true or false */
    CQ_SETTING_INT,      /* int64_t within min..max */
    CQ_SETTING_SIZE,     /* uint64_t bytes: "50MiB", "4KiB", "10GB", "512" (B KB MB GB TB KiB MiB GiB TiB) */
    CQ_SETTING_DURATION, /* uint64_t microseconds: "250ms", "30s", "5m", "12h", "7d"; "0" too */
    CQ_SETTING_STRING,   /* const char *, NUL-terminated, never NULL ("" when the default is empty) */
    CQ_SETTING_PATH,     /* the same; relative paths are taken from the folder of the settings file */
    CQ_SETTING_CHOICE,   /* int: index into `choices` */
    CQ_SETTING_STRINGS,  /* struct cq_strings: a list of strings; a single string is a list of one */
    CQ_SETTING_MAPS      /* struct cq_maps: a list of maps, each by `item_rows` into `item_size` bytes */
};

struct cq_strings {
    const char *const *items;
    size_t count;
};

struct cq_maps {
    void *items; /* array of `count` structs of the row's item_size */
    size_t count;
};

struct cq_setting {
    const char *key;
    enum cq_setting_type type;
    size_t offset;
    const char *fallback; /* the default as text (STRINGS: separated by spaces; MAPS: ""); NULL: the key is required */
    const char *min;      /* INT, SIZE, DURATION: bounds as text in the row's own notation; NULL: none */
    const char *max;
    const char *unit;           /* INT: for documents and messages */
    const char *const *choices; /* CHOICE: NULL-terminated */
    size_t items_max;           /* STRINGS, MAPS */
    const struct cq_setting *item_rows;
    size_t item_row_count;
    size_t item_size;
    const char *help;
};

/* offsetof, and an error of the compiler when the member has another type than the row wants. */
#define CQ_SETTING_AT_(S, m, T) (offsetof(S, m) + _Generic(((S *)0)->m, T : 0))

#define CQ_SET_BOOL(S, m, k, def, h)                                                                                   \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_BOOL, .offset = CQ_SETTING_AT_(S, m, bool), .fallback = (def), .help = (h)      \
    }
#define CQ_SET_INT(S, m, k, def, lo, hi, u, h)                                                                         \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_INT, .offset = CQ_SETTING_AT_(S, m, int64_t), .fallback = (def), .min = #lo,    \
        .max = #hi, .unit = (u), .help = (h)                                                                           \
    }
#define CQ_SET_SIZE(S, m, k, def, lo, hi, h)                                                                           \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_SIZE, .offset = CQ_SETTING_AT_(S, m, uint64_t), .fallback = (def), .min = (lo), \
        .max = (hi), .help = (h)                                                                                       \
    }
#define CQ_SET_DURATION(S, m, k, def, lo, hi, h)                                                                       \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_DURATION, .offset = CQ_SETTING_AT_(S, m, uint64_t), .fallback = (def),          \
        .min = (lo), .max = (hi), .help = (h)                                                                          \
    }
#define CQ_SET_STRING(S, m, k, def, h)                                                                                 \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_STRING, .offset = CQ_SETTING_AT_(S, m, const char *), .fallback = (def),        \
        .help = (h)                                                                                                    \
    }
#define CQ_SET_PATH(S, m, k, def, h)                                                                                   \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_PATH, .offset = CQ_SETTING_AT_(S, m, const char *), .fallback = (def),          \
        .help = (h)                                                                                                    \
    }
#define CQ_SET_CHOICE(S, m, k, def, c, h)                                                                              \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_CHOICE, .offset = CQ_SETTING_AT_(S, m, int), .fallback = (def), .choices = (c), \
        .help = (h)                                                                                                    \
    }
#define CQ_SET_STRINGS(S, m, k, def, most, h)                                                                          \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_STRINGS, .offset = CQ_SETTING_AT_(S, m, struct cq_strings), .fallback = (def),  \
        .items_max = (most), .help = (h)                                                                               \
    }
/* `def` is NULL (required) or "" (may be absent: an empty list). `array` are the rows of one item of type `I`. */
#define CQ_SET_MAPS(S, m, k, def, most, I, array, h)                                                                   \
    {                                                                                                                  \
        .key = (k), .type = CQ_SETTING_MAPS, .offset = CQ_SETTING_AT_(S, m, struct cq_maps), .fallback = (def),        \
        .items_max = (most), .item_rows = (array), .item_row_count = sizeof(array) / sizeof *(array),                  \
        .item_size = sizeof(I), .help = (h)                                                                            \
    }

/* Rows and the struct that they fill. A program loads several at once: its own, the log's, the admin port's. */
struct cq_config_part {
    const char *title; /* heading in the reference page */
    const struct cq_setting *rows;
    size_t count;
    void *values;
};

#define CQ_CONFIG_PART(name, array, into)                                                                              \
    {                                                                                                                  \
        .title = (name), .rows = (array), .count = sizeof(array) / sizeof *(array), .values = (into)                   \
    }

/* Reads the file into the parts' structs (all members that rows name are set; on an error some are). The pool owns
 * strings and lists. CQ_E_CONFIG: the text says file:line: key: what is wrong and what is allowed.
 * CQ_E_IO: the file cannot be read (the text names it). Several mistakes: the first of the file is told. */
enum cq_rc cq_config_load(const struct cq_config_part *parts, size_t part_count, const char *path, struct cq_pool *pool,
                          struct cq_err *err);

/* The same from bytes; `name` stands for the file in messages, its folder for relative paths. */
enum cq_rc cq_config_parse(const struct cq_config_part *parts, size_t part_count, const char *name,
                           struct cq_slice text, struct cq_pool *pool, struct cq_err *err);

/* All defaults, no file: required keys are an error. */
enum cq_rc cq_config_defaults(const struct cq_config_part *parts, size_t part_count, struct cq_pool *pool,
                              struct cq_err *err);

/* The values in force as a YAML document that loads to the same values; defaults are marked by a comment. */
bool cq_config_print(struct cq_buf *out, const struct cq_config_part *parts, size_t part_count);

/* Markdown for the reference page: one table per part; lists of maps get their own. No values are read. */
bool cq_config_print_docs(struct cq_buf *out, const struct cq_config_part *parts, size_t part_count);

/* The notations by themselves ("50MiB" to bytes, "30s" to microseconds): false when malformed or over UINT64_MAX. */
bool cq_config_size(struct cq_slice text, uint64_t *bytes_r);
bool cq_config_duration(struct cq_slice text, uint64_t *us_r);

/* The candidate nearest to `word` by edit distance, or NULL when none is near (over a third of its length). */
const char *cq_nearest_word(struct cq_slice word, const char *const *candidates, size_t count);

/* Rows for the log, shared by all programs: log.level, log.format. Apply with cq_log_init. */
struct cq_log_config {
    int level;  /* enum cq_log_level */
    int format; /* enum cq_log_format */
};

struct cq_config_part cq_log_config_part(struct cq_log_config *values);

#endif
