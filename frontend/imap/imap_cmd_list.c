/* LIST and LSUB (RFC 3501 6.3.8, 6.3.9), with CHILDREN (RFC 3348) and SPECIAL-USE (RFC 6154) in every LIST: clients
 * that do not find their Sent there make a second one. */
#include "imap/imap_mailbox.h"
#include "imap/imap_mailboxes.h"
#include "imap/imap_reply.h"

static const char *const uses[] = {
    [MAIL_USE_NONE] = NULL,     [MAIL_USE_ARCHIVE] = "\\Archive", [MAIL_USE_DRAFTS] = "\\Drafts",
    [MAIL_USE_JUNK] = "\\Junk", [MAIL_USE_SENT] = "\\Sent",       [MAIL_USE_TRASH] = "\\Trash",
    [MAIL_USE_INBOX] = NULL,
};

static const char *use_name(enum mail_use use)
{
    return (size_t)use < sizeof uses / sizeof *uses ? uses[use] : NULL;
}

static void write_line(struct imap_run *run, const char *what, const char *attributes, const char *use,
                       struct cq_slice name)
{
    cq_buf_printf(&run->out, "* %s (%s%s%s) \"/\" ", what, attributes, use ? " " : "", use ? use : "");
    imap_write_mailbox(&run->out, name);
    cq_buf_cstr(&run->out, "\r\n");
}

/* LIST "" "": the separator and the root, asked by clients before anything else. */
static bool is_root_question(struct imap_run *run)
{
    if (run->command.u.list.pattern.len)
        return false;
    cq_buf_printf(&run->out, "* %s (\\Noselect) \"/\" \"\"\r\n", run->command.verb == IMAP_LSUB ? "LSUB" : "LIST");
    return true;
}

static bool take_pattern(struct imap_run *run, struct cq_slice *pattern_r)
{
    const char *problem;
    if (imap_pattern_parse(run->command.u.list.reference, run->command.u.list.pattern, run->pool, pattern_r, &problem))
        return true;
    imap_no(run, "CANNOT", problem);
    return false;
}

/* Levels above a name that are no names of the list themselves, shown once each when the pattern means them. All names
 * below one parent stand together in the list's order, so a parent of the name before was shown with that. */
struct parents {
    struct imap_run *run;
    const char *what, *attributes;
    struct cq_slice pattern;
    bool (*is_there)(const struct mail_mailbox_list *list, struct cq_slice name);
    const struct mail_mailbox_list *list;
    struct cq_slice before;
};

static void show_parents(struct parents *p, struct cq_slice name)
{
    struct cq_slice parent = imap_mailbox_parent(name);
    while (parent.len && !imap_mailbox_is_below(p->before, parent) && !p->is_there(p->list, parent)) {
        if (imap_pattern_match(p->pattern, parent))
            write_line(p->run, p->what, p->attributes, NULL, parent);
        parent = imap_mailbox_parent(parent);
    }
    p->before = name;
}

static bool listed(const struct mail_mailbox_list *list, struct cq_slice name)
{
    return imap_list_find(list, name) != NULL;
}

void imap_cmd_list(struct imap_run *run)
{
    struct cq_slice pattern;
    struct mail_mailbox_list list;
    if (is_root_question(run) || !take_pattern(run, &pattern) || !imap_load_list(run, &list))
        return;
    struct parents parents = {
        .run = run,
        .what = "LIST",
        .attributes = "\\Noselect \\HasChildren",
        .pattern = pattern,
        .is_there = listed,
        .list = &list,
    };
    for (size_t i = 0; i < list.count; i++) {
        const struct mail_mailbox *mailbox = &list.mailboxes[i];
        bool children = imap_list_has_children(&list, mailbox->name);
        if (run->command.u.list.special_use && !use_name(mailbox->use))
            continue;
        if (imap_pattern_match(pattern, mailbox->name))
            write_line(run, "LIST", children ? "\\HasChildren" : "\\HasNoChildren", use_name(mailbox->use),
                       mailbox->name);
        if (!run->command.u.list.special_use)
            show_parents(&parents, mailbox->name);
        if (imap_out_flush(run) != CQ_OK || imap_breathe(run) != CQ_OK)
            return;
    }
}

/* ---- LSUB ---- */

static bool subscribed(const struct mail_mailbox_list *list, struct cq_slice name)
{
    size_t low = 0, high = list->subscription_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = cq_slice_cmp(list->subscriptions[mid], name);
        if (order == 0)
            return true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

/* A name that is subscribed but does not exist is \Noselect; a parent that `%` stops at is too (RFC 3501 6.3.9). */
void imap_cmd_lsub(struct imap_run *run)
{
    struct cq_slice pattern;
    struct mail_mailbox_list list;
    if (is_root_question(run) || !take_pattern(run, &pattern) || !imap_load_list(run, &list))
        return;
    struct parents parents = {
        .run = run,
        .what = "LSUB",
        .attributes = "\\Noselect",
        .pattern = pattern,
        .is_there = subscribed,
        .list = &list,
    };
    for (size_t i = 0; i < list.subscription_count; i++) {
        struct cq_slice name = list.subscriptions[i];
        const struct mail_mailbox *mailbox = imap_list_find(&list, name);
        if (imap_pattern_match(pattern, name))
            write_line(run, "LSUB", mailbox ? "" : "\\Noselect", NULL, name);
        show_parents(&parents, name);
        if (imap_out_flush(run) != CQ_OK || imap_breathe(run) != CQ_OK)
            return;
    }
}
