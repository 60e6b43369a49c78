/* What the files of the configuration share. */
#ifndef CQ_CONFIG_PRIVATE_H
#define CQ_CONFIG_PRIVATE_H

#include "base/cq_config.h"
#include "base/cq_yaml.h"

/* One scalar text to the row's type at `at`. On a mistake *wanted_r says what is allowed and false is returned. */
bool cq_setting_scalar(const struct cq_setting *row, struct cq_slice text, const char *dir, struct cq_pool *pool,
                       void *at, char *wanted_r, size_t wanted_size);

/* The allowed values in words: "a duration like 30s, from 1s to 24h". */
void cq_setting_allowed(const struct cq_setting *row, char *out, size_t size);

/* The default of every row into `values`. Asserts that our own defaults are right. */
void cq_setting_defaults(const struct cq_setting *rows, size_t count, const char *dir, struct cq_pool *pool,
                         void *values);

/* A size or duration in the largest unit that divides it. */
void cq_setting_print_unsigned(struct cq_buf *out, enum cq_setting_type type, uint64_t value);

#endif
