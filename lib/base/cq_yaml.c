#include "base/cq_yaml.h"

#include "base/cq_assert.h"
#include "base/cq_text.h"

#include <yaml.h>

/* libyaml's events, put together with an explicit stack. (libfyaml 0.7.12 hangs on "%\xd2" and leaks on bad flow maps.)
 */
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

static enum cq_rc on_scalar(struct builder *b, const yaml_event_t *event)
{
    struct cq_slice text = cq_slice_of(event->data.scalar.value, event->data.scalar.length);
    if (wants_key(b))
        return take_key(b, text);
    struct cq_yaml *node = cq_pool_new_of(b->pool, struct cq_yaml);
    node->kind = CQ_YAML_SCALAR;
    node->line = b->line;
    node->text = cq_pool_slice(b->pool, text);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
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

static bool has_anchor_or_tag(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return true;
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return false;
    }
}

static enum cq_rc on_event(struct builder *b, const yaml_event_t *event)
{
    b->line = (unsigned)event->start_mark.line + 1;
    if (has_anchor_or_tag(event))
        return YAML_FAIL(b, "anchors (&), aliases (*) and tags (!) are not read here");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return b->root ? YAML_FAIL(b, "a second document; one is read") : CQ_OK;
    case YAML_MAPPING_START_EVENT:
        return on_open(b, CQ_YAML_MAP);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, CQ_YAML_LIST);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        b->depth--;
        return CQ_OK;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    default:
        return CQ_OK;
    }
}

static enum cq_rc run_parser(struct builder *b, yaml_parser_t *parser)
{
    yaml_event_type_t type = YAML_NO_EVENT;
    while (type != YAML_STREAM_END_EVENT) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            b->line = (unsigned)parser->problem_mark.line + 1;
            return YAML_FAIL(b, "not YAML: %s", parser->problem ? parser->problem : "unreadable");
        }
        type = event.type;
        enum cq_rc rc = on_event(b, &event);
        yaml_event_delete(&event);
        if (rc != CQ_OK)
            return rc;
    }
    return CQ_OK;
}

/* libyaml would also take UTF-16 and directives (%YAML, %TAG): settings need neither. */
static enum cq_rc check_text(struct builder *b, struct cq_slice text)
{
    for (b->line = 1; text.len; b->line++) {
        struct cq_slice line = cq_slice_cut(&text, '\n');
        if (line.len && line.data[0] == '%')
            return YAML_FAIL(b, "directives (%%) are not read here");
        if (!cq_utf8_valid(line) || cq_slice_find(line, '\0') < line.len)
            return YAML_FAIL(b, "has bytes that are not UTF-8, or a NUL");
    }
    b->line = 1;
    return CQ_OK;
}

enum cq_rc cq_yaml_parse(const char *name, struct cq_slice text, struct cq_pool *pool, struct cq_yaml **root_r,
                         struct cq_err *err)
{
    struct builder b = {.name = name, .pool = pool, .err = err, .line = 1};
    yaml_parser_t parser;
    *root_r = NULL;
    enum cq_rc rc = check_text(&b, text);
    if (rc != CQ_OK)
        return rc;
    CQ_ASSERT(yaml_parser_initialize(&parser));
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.data ? text.data : (const uint8_t *)"", text.len);
    rc = run_parser(&b, &parser);
    yaml_parser_delete(&parser);
    if (rc == CQ_OK && b.root && !cq_yaml_is_null(b.root))
        *root_r = b.root;
    return rc;
}

bool cq_yaml_is_null(const struct cq_yaml *node)
{
    return node->kind == CQ_YAML_SCALAR && node->plain &&
           (node->text.len == 0 || cq_slice_eq(node->text, CQ_SLICE("~")) || cq_slice_eq(node->text, CQ_SLICE("null")));
}
