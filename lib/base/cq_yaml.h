/* A small YAML document as a tree of nodes that know their line: for settings files. No anchors, aliases, tags or
 * second documents; depth, nodes and bytes are bounded; a key stands once. JSON is read too. */
#ifndef CQ_YAML_H
#define CQ_YAML_H

#include "base/cq_err.h"
#include "base/cq_pool.h"

#define CQ_YAML_DEPTH_MAX 16
#define CQ_YAML_NODES_MAX 20000
#define CQ_YAML_SIBLINGS_MAX 2000 /* entries of one map or list */

enum cq_yaml_kind { CQ_YAML_SCALAR, CQ_YAML_LIST, CQ_YAML_MAP };

struct cq_yaml {
    enum cq_yaml_kind kind;
    unsigned line;        /* of the value, from 1 */
    unsigned key_line;    /* of its key, in a map */
    struct cq_slice key;  /* in a map */
    struct cq_slice text; /* scalar: decoded */
    bool plain;           /* scalar: not quoted; only then can it mean null */
    struct cq_yaml *first;
    struct cq_yaml *last;
    struct cq_yaml *next;
    size_t count;
};

/* *root_r is NULL for an empty document. CQ_E_CONFIG with "name:line: ..." when it is not such a document. */
enum cq_rc cq_yaml_parse(const char *name, struct cq_slice text, struct cq_pool *pool, struct cq_yaml **root_r,
                         struct cq_err *err);

/* Nothing was written: empty, "~" or "null", unquoted. */
bool cq_yaml_is_null(const struct cq_yaml *node);

#endif
