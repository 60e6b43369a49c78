/* Intrusive doubly-linked list. The node is a member of the element; a head is a node by itself, so insertion and
 * removal need no head. A node that is in no list points to itself: cq_list_remove may be called twice. */
#ifndef CQ_LIST_H
#define CQ_LIST_H

#include "base/cq_mem.h"

#include <stdbool.h>

struct cq_list {
    struct cq_list *next;
    struct cq_list *prev;
};

static inline void cq_list_init(struct cq_list *node)
{
    node->next = node->prev = node;
}

/* For a head: has it no elements? For an element: is it in no list? */
static inline bool cq_list_empty(const struct cq_list *node)
{
    return node->next == node;
}

static inline void cq_list_insert_after(struct cq_list *where, struct cq_list *node)
{
    node->prev = where;
    node->next = where->next;
    where->next->prev = node;
    where->next = node;
}

static inline void cq_list_push_front(struct cq_list *head, struct cq_list *node)
{
    cq_list_insert_after(head, node);
}

static inline void cq_list_push_back(struct cq_list *head, struct cq_list *node)
{
    cq_list_insert_after(head->prev, node);
}

static inline void cq_list_remove(struct cq_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    cq_list_init(node);
}

/* The first or last node, NULL when the list is empty. */
static inline struct cq_list *cq_list_first(const struct cq_list *head)
{
    return head->next == head ? NULL : head->next;
}

static inline struct cq_list *cq_list_last(const struct cq_list *head)
{
    return head->prev == head ? NULL : head->prev;
}

#define cq_list_entry(node, type, member) cq_containerof(node, type, member)

/* cq_list_each(head, node) { struct thing *t = cq_list_entry(node, struct thing, link); ... } */
#define cq_list_each(head, node)                                                                                       \
    for (struct cq_list *node = (head)->next, *node##_end_ = (head); node != node##_end_; node = node->next)

/* The same; the body may remove (and free) the present element, no other. */
#define cq_list_each_safe(head, node)                                                                                  \
    for (struct cq_list *node = (head)->next, *node##_next_ = node->next, *node##_end_ = (head); node != node##_end_;  \
         node = node##_next_, node##_next_ = node->next)

#endif
