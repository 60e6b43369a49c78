/* Any bytes as a settings file: a value in every type, or an error that names the file; printed values load again. */
#include "base/cq_assert.h"
#include "base/cq_config.h"

struct item {
    const char *address;
    int64_t port;
};

struct values {
    int64_t number;
    uint64_t size;
    uint64_t time_us;
    bool flag;
    const char *text;
    int choice;
    struct cq_strings list;
    struct cq_maps maps;
};

static const char *const choices[] = {"one", "two", NULL};
static const struct cq_setting item_rows[] = {
    CQ_SET_STRING(struct item, address, "address", "", "Address."),
    CQ_SET_INT(struct item, port, "port", "1", 1, 65535, NULL, "Port."),
};
static const struct cq_setting rows[] = {
    CQ_SET_INT(struct values, number, "a.number", "1", 0, 100, NULL, "Number."),
    CQ_SET_SIZE(struct values, size, "a.size", "1", NULL, NULL, "Size."),
    CQ_SET_DURATION(struct values, time_us, "a.b.time", "1s", NULL, NULL, "Time."),
    CQ_SET_BOOL(struct values, flag, "flag", "true", "Flag."),
    CQ_SET_STRING(struct values, text, "text", "", "Text."),
    CQ_SET_CHOICE(struct values, choice, "choice", "one", choices, "Choice."),
    CQ_SET_STRINGS(struct values, list, "list", "", 10, "List."),
    CQ_SET_MAPS(struct values, maps, "maps", "", 10, struct item, item_rows, "Maps."),
};

static enum cq_rc parse(struct cq_slice text, struct values *values, struct cq_pool *pool, struct cq_err *err)
{
    const struct cq_config_part parts[] = {CQ_CONFIG_PART("Fuzz", rows, values)};
    return cq_config_parse(parts, 1, "f", text, pool, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(4096);
    struct values first, second;
    struct cq_err err = {0};
    struct cq_buf once, twice;
    cq_buf_init(&once, 4u << 20);
    cq_buf_init(&twice, 4u << 20);
    enum cq_rc rc = parse(cq_slice_of(data, size), &first, pool, &err);
    CQ_ASSERT(rc == CQ_OK || rc == CQ_E_CONFIG);
    CQ_ASSERT(rc == CQ_OK || memcmp(err.text, "f:", 2) == 0);
    if (rc == CQ_OK) {
        const struct cq_config_part a[] = {CQ_CONFIG_PART("Fuzz", rows, &first)};
        const struct cq_config_part b[] = {CQ_CONFIG_PART("Fuzz", rows, &second)};
        CQ_ASSERT(cq_config_print(&once, a, 1));
        CQ_ASSERT(parse(cq_buf_slice(&once), &second, pool, &err) == CQ_OK);
        CQ_ASSERT(cq_config_print(&twice, b, 1));
        CQ_ASSERT(cq_slice_eq(cq_buf_slice(&once), cq_buf_slice(&twice)));
    }
    cq_buf_fini(&once);
    cq_buf_fini(&twice);
    cq_pool_free(&pool);
    return 0;
}
