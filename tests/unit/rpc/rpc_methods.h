/* A server for conversations: methods that echo, wait, stream, and say wrong things; what they share with the tests;
 * calls on fibers of their own. */
#ifndef RPC_METHODS_H
#define RPC_METHODS_H

#include "unit/rpc/rpc_fixture.h"

#include "io/io_sync.h"

enum { ECHO = 1, HOLD, SILENT, COUNT, NOTE, WATCH, INLINE_ECHO, WRONG_OWNER, BIG_ANSWER, LATER };
#define METHODS 10
extern const struct rpc_method methods[METHODS];

extern struct io_event released; /* HOLD answers when it is set */
extern size_t holding;           /* HOLD handlers that wait */
extern enum cq_rc hold_rc;       /* what the last HOLD's wait returned */
extern struct cq_buf notes;      /* what NOTE has heard */
extern struct rpc_request *watched;
extern enum cq_rc watch_gone;
extern size_t writable_calls;
extern struct rpc_request *later;

/* For each test: all of that is as new. */
int methods_setup(void **state);
int methods_teardown(void **state);

struct one_call {
    struct rpc_client *client;
    uint16_t method;
    uint64_t deadline_ms;
    enum rpc_fate fate;
    struct rpc_reply_in reply;
    bool done;
    struct io_fiber_ref fiber;
};

/* Fills *one when it is answered; only deadline_ms is read, 0: 5 s. */
void start_call(struct one_call *one, struct rpc_client *client, uint16_t method);

struct stream {
    struct rpc_pending *pending;
    size_t items, bytes;
    bool done;
    enum rpc_fate fate;
    enum cq_rc rc;
};

void stream_start(struct stream *stream, struct rpc_client *client, uint16_t method, const char *message,
                  uint32_t window, bool auto_credit);

/* What a client tells of its connection: for struct rpc_client_options. */
struct states {
    size_t ups, downs, clean;
};
void on_state(void *ctx, struct rpc_client *client, bool up, bool clean, const struct rpc_hello *peer);

/* Turns until the condition holds; a test that waits for what never comes fails by its time limit. */
#define until(condition)                                                                                               \
    do {                                                                                                               \
        for (int turns_ = 0; !(condition); turns_++) {                                                                 \
            assert_true(turns_ < 200000);                                                                              \
            io_fiber_yield();                                                                                          \
        }                                                                                                              \
    } while (0)

/* X(name) for each conversation, which runs on a fiber: CONVERSATIONS(CONVERSATION) makes the tests, RUN_CONVERSATIONS
 * the program. */
#define CONVERSATION(fn)                                                                                               \
    static void test_##fn(void **state)                                                                                \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        fx_run(fn, NULL);                                                                                              \
    }

#define CONVERSATION_ROW(fn) {#fn, test_##fn, methods_setup, methods_teardown, NULL},
#define RUN_CONVERSATIONS(list)                                                                                        \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        const struct CMUnitTest tests[] = {list(CONVERSATION_ROW)};                                                    \
        return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);                                       \
    }

#endif
