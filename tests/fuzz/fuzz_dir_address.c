/* Any bytes as an address: refused, or a canonical form that is within its limits and its own canonical form. */
#include "base/cq_assert.h"
#include "base/cq_text.h"
#include "directory/dir_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cq_pool *pool = cq_pool_new(1024);
    struct dir_address one, two;
    if (dir_address_parse(cq_slice_of(data, size), pool, &one, NULL) == CQ_OK) {
        CQ_ASSERT(one.local.len <= DIR_LOCAL_MAX && one.domain.len <= DIR_DOMAIN_MAX && one.domain.len > 0);
        CQ_ASSERT(cq_utf8_valid(one.text) && cq_slice_find(one.text, 0) == one.text.len);
        CQ_ASSERT(one.tag.len == 0 || one.base.len + 1 + one.tag.len == one.local.len);
        CQ_ASSERT(dir_address_parse(one.text, pool, &two, NULL) == CQ_OK);
        CQ_ASSERT(cq_slice_eq(one.text, two.text));
    }
    dir_local_creatable(cq_slice_of(data, size));
    cq_pool_free(&pool);
    return 0;
}
