/* A shard has told a session that it does not know the account. Log-in and delivery have found it in the directory just
 * before, so either it is being deleted this moment or this is an alarm: the directory is asked again, on the control
 * loop. */
#include "frontend.h"

#include "admin/admin_missing.h"
#include "base/cq_mem.h"

#include <stdlib.h>

#define QUESTIONS_MAX 64 /* at one time; a client that insists is counted often enough */

struct question {
    struct frontend *frontend;
    uint64_t account;
};

static void ask(void *arg)
{
    struct question *question = arg;
    if (admin_missing_wait())
        admin_missing_check(question->frontend->directory, question->account);
    atomic_fetch_sub(&question->frontend->missing_questions, 1);
    free(question);
}

static void on_control(struct io_loop *loop, void *arg)
{
    struct question *question = arg;
    if (io_fiber_spawn(loop, ask, question, NULL) == CQ_OK)
        return;
    atomic_fetch_sub(&question->frontend->missing_questions, 1);
    free(question);
}

void frontend_missing(void *ctx, uint64_t account)
{
    struct frontend *frontend = ctx;
    if (atomic_fetch_add(&frontend->missing_questions, 1) >= QUESTIONS_MAX) {
        atomic_fetch_sub(&frontend->missing_questions, 1);
        return;
    }
    struct question *question = cq_new(struct question);
    *question = (struct question){frontend, account};
    io_loop_post(frontend->control->front.loop, on_control, question);
}
