/* Assertions about our own state: live in every build. A peer's, a disk's or another node's garbage
 * is an error value, never an assertion. */
#ifndef CQ_ASSERT_H
#define CQ_ASSERT_H

#define CQ_ASSERT(cond) ((cond) ? (void)0 : cq_assert_failed(#cond, __FILE__, __LINE__, __func__))

/* Writes one line to stderr and aborts. */
_Noreturn void cq_assert_failed(const char *cond, const char *file, int line, const char *func);

#endif
