#include "base/cq_yaml.h"

#include "base/cq_assert.h"

#include <libfyaml.h>

/* libfyaml's events, put together with an explicit stack. */
struct builder {
    const char *name;
    struct cq_pool *pool;
    struct cq_err *err;
    struct cq_yaml *open[CQ_YAML_DEPTH_MAX]; /* maps and lists that have not ended */
    size_t depth;
    struct cq_yaml *root;
    struct cq_slice key; /* of the map on top, waiting for its value */
    unsigned key_line;
    bool have_key;
    size_t nodes;
    unsigned line; /* of the present event */
};

#define YAML_FAIL(b, ...) yaml_fail(b, cq_err_set((b)->err, CQ_E_CONFIG, __VA_ARGS__))

static enum cq_rc yaml_fail(struct builder *b, enum cq_rc rc)
{
    cq_err_context(b->err, "%s:%u", b->name, b->line);
    return rc;
}

static struct cq_yaml *top(const struct builder *b)
{
    return b->depth ? b->open[b->depth - 1] : NULL;
}

static bool wants_key(const struct builder *b)
{
    return top(b) && top(b)->kind == CQ_YAML_MAP && !b->have_key;
}

static enum cq_rc take_key(struct builder *b, struct cq_slice text)
{
    for (const struct cq_yaml *child = top(b)->first; child; child = child->next)
        if (cq_slice_eq(child->key, text))
            return YAML_FAIL(b, "key \"%.*s\" stands here again, first in line %u",
                             CQ_SLICE_ARG(cq_slice_sub(text, 0, 128)), child->key_line);
    b->key = cq_pool_slice(b->pool, text);
    b->key_line = b->line;
    b->have_key = true;
    return CQ_OK;
}

static enum cq_rc add_node(struct builder *b, struct cq_yaml *node)
{
    struct cq_yaml *parent = top(b);
    if (++b->nodes > CQ_YAML_NODES_MAX || (parent && ++parent->count > CQ_YAML_SIBLINGS_MAX))
        return YAML_FAIL(b, "more than %d values, or %d in one list or map", CQ_YAML_NODES_MAX, CQ_YAML_SIBLINGS_MAX);
    if (!parent) {
        b->root = node;
        return CQ_OK;
    }
    if (parent->kind == CQ_YAML_MAP) {
        node->key = b->key;
        node->key_line = b->key_line;
        b->have_key = false;
    }
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    return CQ_OK;
}

static enum cq_rc on_scalar(struct builder *b, struct fy_token *token)
{
    size_t len = 0;
    const char *text = token ? fy_token_get_text(token, &len) : "";
    if (wants_key(b))
        return take_key(b, cq_slice_of(text, len));
    struct cq_yaml *node = cq_pool_new_of(b->pool, struct cq_yaml);
    node->kind = CQ_YAML_SCALAR;
    node->line = b->line;
    node->text = cq_pool_slice(b->pool, cq_slice_of(text, len));
    node->plain = !token || fy_token_scalar_style(token) == FYSS_PLAIN;
    return add_node(b, node);
}

static enum cq_rc on_open(struct builder *b, enum cq_yaml_kind kind)
{
    if (wants_key(b))
        return YAML_FAIL(b, "a key must be a word, not a list or a map");
    if (b->depth == CQ_YAML_DEPTH_MAX)
        return YAML_FAIL(b, "nested deeper than %d", CQ_YAML_DEPTH_MAX);
    struct cq_yaml *node = cq_pool_new_of(b->pool, struct cq_yaml);
    node->kind = kind;
    node->line = b->line;
    enum cq_rc rc = add_node(b, node);
    if (rc == CQ_OK)
        b->open[b->depth++] = node;
    return rc;
}

static enum cq_rc on_event(struct builder *b, struct fy_event *event)
{
    struct fy_token *token = fy_event_get_token(event);
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (mark)
        b->line = (unsigned)mark->line + 1;
    if (event->type == FYET_ALIAS || fy_event_get_anchor_token(event) || fy_event_get_tag_token(event))
        return YAML_FAIL(b, "anchors (&), aliases (*) and tags (!) are not read here");
    switch (event->type) {
    case FYET_DOCUMENT_START:
        return b->root ? YAML_FAIL(b, "a second document; one is read") : CQ_OK;
    case FYET_MAPPING_START:
        return on_open(b, CQ_YAML_MAP);
    case FYET_SEQUENCE_START:
        return on_open(b, CQ_YAML_LIST);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        b->depth--;
        return CQ_OK;
    case FYET_SCALAR:
        return on_scalar(b, event->scalar.value);
    default:
        return CQ_OK;
    }
}

/* libfyaml's own complaint, with its position. */
static enum cq_rc syntax_error(struct builder *b, struct fy_diag *diag)
{
    void *prev = NULL;
    struct fy_diag_error *first = fy_diag_errors_iterate(diag, &prev);
    if (!first)
        return YAML_FAIL(b, "not YAML");
    b->line = (unsigned)first->line;
    return YAML_FAIL(b, "not YAML: %s", first->msg);
}

static enum cq_rc run_parser(struct builder *b, struct fy_parser *parser, struct fy_diag *diag)
{
    struct fy_event *event;
    enum cq_rc rc = CQ_OK;
    while (rc == CQ_OK && (event = fy_parser_parse(parser))) {
        rc = on_event(b, event);
        fy_parser_event_free(parser, event);
    }
    if (rc == CQ_OK && fy_diag_got_error(diag))
        rc = syntax_error(b, diag);
    return rc;
}

enum cq_rc cq_yaml_parse(const char *name, struct cq_slice text, struct cq_pool *pool, struct cq_yaml **root_r,
                         struct cq_err *err)
{
    struct builder b = {.name = name, .pool = pool, .err = err, .line = 1};
    struct fy_diag_cfg diag_config;
    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&diag_config);
    CQ_ASSERT(diag);
    fy_diag_set_collect_errors(diag, true);
    const struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = diag};
    struct fy_parser *parser = fy_parser_create(&config);
    CQ_ASSERT(parser);
    enum cq_rc rc = CQ_OK;
    *root_r = NULL;
    if (memchr(text.len ? text.data : (const uint8_t *)"", 0, text.len))
        rc = YAML_FAIL(&b, "has a NUL byte");
    else if (text.len && fy_parser_set_string(parser, (const char *)text.data, text.len) == 0)
        rc = run_parser(&b, parser, diag);
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    if (rc == CQ_OK && b.root && !cq_yaml_is_null(b.root))
        *root_r = b.root;
    return rc;
}

bool cq_yaml_is_null(const struct cq_yaml *node)
{
    return node->kind == CQ_YAML_SCALAR && node->plain &&
           (node->text.len == 0 || cq_slice_eq(node->text, CQ_SLICE("~")) || cq_slice_eq(node->text, CQ_SLICE("null")));
}
