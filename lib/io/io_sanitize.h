/* What the sanitizers must be told when a stack is switched. Empty in other builds. */
#ifndef IO_SANITIZE_H
#define IO_SANITIZE_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IO_STACK_SIZE ((size_t)256 << 10) /* instrumented frames are several times larger */
#else
#define IO_STACK_SIZE ((size_t)64 << 10)
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
/* Before leaving a stack: where its fake stack is kept (NULL: it ends), and the stack that comes next. */
#define IO_ASAN_LEAVE(fake, bottom, size) __sanitizer_start_switch_fiber((fake), (bottom), (size))
/* First thing on the new stack; tells where we came from. */
#define IO_ASAN_ENTER(fake, bottom_r, size_r) __sanitizer_finish_switch_fiber((fake), (bottom_r), (size_r))
#define IO_ASAN_STACK_BORN(base, size) __lsan_register_root_region((base), (size))
#define IO_ASAN_STACK_REUSE(base, size) __asan_unpoison_memory_region((base), (size))
#define IO_ASAN_STACK_DEAD(base, size)                                                                                 \
    (__asan_unpoison_memory_region((base), (size)), __lsan_unregister_root_region((base), (size)))
#else
#define IO_ASAN_LEAVE(fake, bottom, size) ((void)(fake), (void)(bottom), (void)(size))
#define IO_ASAN_ENTER(fake, bottom_r, size_r) ((void)(fake), (void)(bottom_r), (void)(size_r))
#define IO_ASAN_STACK_BORN(base, size) ((void)0)
#define IO_ASAN_STACK_REUSE(base, size) ((void)0)
#define IO_ASAN_STACK_DEAD(base, size) ((void)0)
#endif

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define IO_TSAN_SELF() __tsan_get_current_fiber()
#define IO_TSAN_NEW() __tsan_create_fiber(0)
#define IO_TSAN_FREE(fiber) __tsan_destroy_fiber(fiber)
#define IO_TSAN_SWITCH(fiber) __tsan_switch_to_fiber((fiber), 0)
#else
#define IO_TSAN_SELF() NULL
#define IO_TSAN_NEW() NULL
#define IO_TSAN_FREE(fiber) ((void)(fiber))
#define IO_TSAN_SWITCH(fiber) ((void)(fiber))
#endif

#endif
