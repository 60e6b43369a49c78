/* Pages of a re-seeding from a peer: the first octet chooses the phase, the rest is the page. Whatever is taken is rows
 * that a source could have sent. */
#include "reseed/reseed_target.h"

#include "base/cq_assert.h"
#include "store/store_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rows_again(struct cq_slice page)
{
    struct cq_buf again;
    struct reseed_row row;
    struct cq_slice left = page;
    cq_buf_init(&again, RESEED_PAGE_MAX);
    while (reseed_row_next(&left, &row, NULL) == CQ_OK)
        reseed_row_put(&again, &row);
    CQ_ASSERT(again.len == page.len - left.len && (again.len == 0 || memcmp(again.data, page.data, again.len) == 0));
    cq_buf_fini(&again);
}

static void take(struct reseed_target *t, uint8_t how, struct cq_slice page, struct store_batch *batch,
                 struct cq_buf *names)
{
    static const struct reseed_cursor next = {.len = 4, .at = {0xff, 0xff, 0xff, 0xff}};
    struct cq_err err = {0};
    t->record.phase = how % 4 == 0 ? RESEED_CHUNKS : how % 4 == 1 ? RESEED_SUMMARIES : RESEED_STATE;
    switch (how % 4) {
    case 0:
        reseed_take_chunks(t, page, batch, names, &err);
        break;
    case 1:
        reseed_take_summaries(t, page, &next, how & 4, batch, &err);
        break;
    case 2:
        reseed_take_state(t, page, &next, how & 4, batch, names, &err);
        break;
    default:
        reseed_take_wanted(t, page, batch, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > RESEED_PAGE_MAX)
        return 0;
    struct store *store = store_mem_new();
    struct store_batch *batch = store_batch_recorder_new();
    struct reseed_target target;
    struct cq_buf names;
    const struct reseed_plan plan = {.group = 1, .incarnation = 1, .replica = 1};
    cq_buf_init(&names, 2 * RESEED_PAGE_MAX);
    CQ_ASSERT(reseed_begin(&target, store, &plan, batch, NULL) == CQ_OK);
    rows_again(cq_slice_of(data + 1, size - 1));
    take(&target, data[0], cq_slice_of(data + 1, size - 1), batch, &names);
    reseed_target_fini(&target);
    cq_buf_fini(&names);
    store_batch_free(&batch);
    store_close(&store);
    return 0;
}
