/* To be preloaded (LD_PRELOAD): a storage node that has a bug. Its apply threads abort when they decode a message that
 * has the text of CHASQUI_TEST_POISON in it (nothing happens when that is not set). So an entry of the log crashes
 * every replica that applies it, in the programs as they are. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ProtobufCMessageDescriptor;
struct ProtobufCAllocator;

typedef void *unpack_fn(const struct ProtobufCMessageDescriptor *, struct ProtobufCAllocator *, size_t,
                        const uint8_t *);

static unpack_fn *real;

static int on_apply_thread(void)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return strncmp(name, "apply-", 6) == 0;
}

void *protobuf_c_message_unpack(const struct ProtobufCMessageDescriptor *descriptor,
                                struct ProtobufCAllocator *allocator, size_t len, const uint8_t *data);
void *protobuf_c_message_unpack(const struct ProtobufCMessageDescriptor *descriptor,
                                struct ProtobufCAllocator *allocator, size_t len, const uint8_t *data)
{
    const char *poison = getenv("CHASQUI_TEST_POISON");
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "protobuf_c_message_unpack");
    if (poison && data && memmem(data, len, poison, strlen(poison)) && on_apply_thread())
        abort();
    return real(descriptor, allocator, len, data);
}
