#include "directory/dir_types.h"

static const char *const state_names[DIR_STATE_COUNT] = {
#define STATE_NAME(name, text) [name] = text,
    DIR_STATES(STATE_NAME)
#undef STATE_NAME
};

const char *dir_state_name(enum dir_state state)
{
    return state < DIR_STATE_COUNT ? state_names[state] : "?";
}

bool dir_state_parse(struct cq_slice text, enum dir_state *state_r)
{
    for (int i = 0; i < DIR_STATE_COUNT; i++)
        if (cq_slice_eq(text, cq_slice_cstr(state_names[i]))) {
            *state_r = (enum dir_state)i;
            return true;
        }
    return false;
}

static const struct dir_plan plans[] = {
#define PLAN(name, messages, per_message, recipients) {name, messages, per_message, recipients},
    DIR_PLANS(PLAN)
#undef PLAN
};

const struct dir_plan *dir_plan_at(size_t i)
{
    return i < sizeof plans / sizeof *plans ? &plans[i] : NULL;
}

const struct dir_plan *dir_plan_find(struct cq_slice name)
{
    for (size_t i = 0; dir_plan_at(i); i++)
        if (cq_slice_eq(name, cq_slice_cstr(plans[i].name)))
            return &plans[i];
    return NULL;
}
