/* Failpoints: places before and after each step that makes something durable, at which a test may end the process as
 * kill -9 would. In every build but the fault variant of the storage node (tests/fault), cq_failpoint() is nothing. */
#ifndef CQ_FAILPOINT_H
#define CQ_FAILPOINT_H

/* X(symbol, name, when) */
#define CQ_FAILPOINTS(X)                                                                                               \
    X(FAIL_SYNC_BEFORE, "sync-before", "a batch that must be durable is about to be written")                          \
    X(FAIL_SYNC_AFTER, "sync-after", "it is durable, and nobody knows yet")                                            \
    X(FAIL_WRITE_BEFORE, "write-before", "effects of apply are about to be written")                                   \
    X(FAIL_WRITE_AFTER, "write-after", "they are written, not synced")                                                 \
    X(FAIL_PERSISTED, "persisted", "Raft is about to hear that its records are durable")                               \
    X(FAIL_COMMITTED, "committed", "a committed entry is about to be handed to apply")                                 \
    X(FAIL_ANSWER, "answer", "an entry is applied, its client is about to be answered")                                \
    X(FAIL_TRIMMED, "trimmed", "the log has been trimmed durably")                                                     \
    X(FAIL_FILE_WRITTEN, "file-written", "a new small file is synced, not in its place")                               \
    X(FAIL_FILE_RENAMED, "file-renamed", "it is in its place, its folder not synced")                                  \
    X(FAIL_FILE_SYNCED, "file-synced", "its folder is synced")                                                         \
    X(FAIL_STORE_OPENED, "store-opened", "the store is open, the start is not counted yet")                            \
    X(FAIL_START_COUNTED, "start-counted", "the start is counted, no replica is open")

enum cq_failpoint {
#define CQ_FAILPOINT_ENUM(symbol, name, when) symbol,
    CQ_FAILPOINTS(CQ_FAILPOINT_ENUM)
#undef CQ_FAILPOINT_ENUM
        FAILPOINT_COUNT
};

#ifdef CHASQUI_FAILPOINTS
void cq_failpoint(enum cq_failpoint point); /* tests/fault/fault_hooks.c */
#else
static inline void cq_failpoint(enum cq_failpoint point)
{
    (void)point;
}
#endif

#endif
