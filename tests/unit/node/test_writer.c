#include "node/writer.h"

#include "unit/cq_cmocka.h"

#include "base/cq_endian.h"
#include "base/cq_mem.h"
#include "store/store_mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ITEMS_MAX 20000

/* One item writes its number under its own key. */
struct item {
    struct writer_item base;
    struct scene *scene;
    uint32_t number;
    bool was_written;
};

struct scene {
    struct store *store;
    struct writer *writer;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct item items[ITEMS_MAX];
    /* under lock */
    uint32_t written_order[ITEMS_MAX], durable_order[ITEMS_MAX];
    size_t written, durable;
    bool gate_closed; /* encode waits while it is */
    bool in_gate;
    bool fatal;
};

static void key_of(uint32_t number, uint8_t key[static 4])
{
    cq_put_be32(key, number);
}

static void encode(struct writer_item *base, struct store_batch *batch)
{
    struct item *i = cq_containerof(base, struct item, base);
    struct scene *s = i->scene;
    pthread_mutex_lock(&s->lock);
    s->in_gate = true;
    pthread_cond_broadcast(&s->change);
    while (s->gate_closed)
        pthread_cond_wait(&s->change, &s->lock);
    pthread_mutex_unlock(&s->lock);
    uint8_t key[4];
    key_of(i->number, key);
    store_batch_put(batch, STORE_LOG, cq_slice_of(key, 4), CQ_SLICE("x"));
}

static bool in_store(struct scene *s, uint32_t number)
{
    uint8_t key[4];
    key_of(number, key);
    struct cq_buf out;
    cq_buf_init(&out, 10);
    enum cq_rc rc = store_get(s->store, NULL, STORE_LOG, cq_slice_of(key, 4), &out, NULL);
    cq_buf_fini(&out);
    return rc == CQ_OK;
}

static void written(struct writer_item *base)
{
    struct item *i = cq_containerof(base, struct item, base);
    struct scene *s = i->scene;
    i->was_written = in_store(s, i->number);
    pthread_mutex_lock(&s->lock);
    s->written_order[s->written++] = i->number;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

static void durable(struct writer_item *base)
{
    struct item *i = cq_containerof(base, struct item, base);
    struct scene *s = i->scene;
    pthread_mutex_lock(&s->lock);
    s->durable_order[s->durable++] = i->number;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

static const struct writer_item_ops ops = {.encode = encode, .written = written, .durable = durable};

static void on_fatal(void *ctx, const struct cq_err *err)
{
    struct scene *s = ctx;
    assert_int_equal(err->rc, CQ_E_IO);
    pthread_mutex_lock(&s->lock);
    s->fatal = true;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

static int setup(void **state)
{
    struct scene *s = cq_new(struct scene);
    s->store = store_mem_new();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, NULL);
    s->writer = writer_new(&(struct writer_config){.store = s->store, .fatal = on_fatal, .ctx = s});
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    writer_free(&s->writer);
    store_close(&s->store);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return 0;
}

static void add_item(struct scene *s, uint32_t number, bool sync, bool lazy)
{
    struct item *i = &s->items[number];
    *i = (struct item){.base = {.ops = &ops, .sync = sync, .lazy = lazy}, .scene = s, .number = number};
    writer_add(s->writer, &i->base);
}

static void add(struct scene *s, uint32_t number, bool sync)
{
    add_item(s, number, sync, false);
}

static void add_lazy(struct scene *s, uint32_t number)
{
    add_item(s, number, false, true);
}

#define WAIT_UNTIL(s, condition)                                                                                       \
    do {                                                                                                               \
        pthread_mutex_lock(&(s)->lock);                                                                                \
        while (!(condition))                                                                                           \
            pthread_cond_wait(&(s)->change, &(s)->lock);                                                               \
        pthread_mutex_unlock(&(s)->lock);                                                                              \
    } while (0)

static void set_gate(struct scene *s, bool closed)
{
    pthread_mutex_lock(&s->lock);
    s->gate_closed = closed;
    s->in_gate = false;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

static void items_are_written_and_told_in_their_order(void **state)
{
    struct scene *s = *state;
    for (uint32_t n = 0; n < 500; n++)
        add(s, n, n % 3 == 0);
    add(s, 500, true);
    WAIT_UNTIL(s, s->durable == 501);
    for (uint32_t n = 0; n <= 500; n++) {
        assert_int_equal(s->written_order[n], n);
        assert_int_equal(s->durable_order[n], n);
        assert_true(s->items[n].was_written);
    }
}

static void what_piles_up_goes_into_one_synced_batch(void **state)
{
    struct scene *s = *state;
    set_gate(s, true);
    add(s, 0, true);
    WAIT_UNTIL(s, s->in_gate);
    for (uint32_t n = 1; n <= 1000; n++)
        add(s, n, n == 700);
    set_gate(s, false);
    WAIT_UNTIL(s, s->durable == 1001);
    struct store_mem_counts counts;
    store_mem_counts(s->store, &counts);
    assert_int_equal(counts.writes, 2);
    assert_int_equal(counts.syncs, 2);
}

static void without_a_need_nothing_is_synced_and_nothing_called_durable(void **state)
{
    struct scene *s = *state;
    for (uint32_t n = 0; n < 10; n++)
        add(s, n, false);
    WAIT_UNTIL(s, s->written == 10);
    struct store_mem_counts counts;
    store_mem_counts(s->store, &counts);
    assert_int_equal(counts.syncs, 0);
    pthread_mutex_lock(&s->lock);
    assert_int_equal(s->durable, 0);
    pthread_mutex_unlock(&s->lock);
    add(s, 10, true); /* makes all before it durable */
    WAIT_UNTIL(s, s->durable == 11);
}

static void a_lazy_item_is_written_though_nobody_asks(void **state)
{
    struct scene *s = *state;
    add_lazy(s, 0); /* the writer is new, or sleeps */
    WAIT_UNTIL(s, s->written == 1);
    add_lazy(s, 1); /* it has just written */
    WAIT_UNTIL(s, s->written == 2);
    for (uint32_t n = 2; n < 2 + 3 * WRITER_LAZY_ITEMS; n++)
        add_lazy(s, n);
    WAIT_UNTIL(s, s->written == 2 + 3 * WRITER_LAZY_ITEMS);
    add(s, (uint32_t)s->written, true);
    WAIT_UNTIL(s, s->durable == 3 + 3 * WRITER_LAZY_ITEMS);
    for (uint32_t n = 0; n < s->durable; n++)
        assert_int_equal(s->durable_order[n], n);
}

static void lazy_items_go_with_the_synced_one_behind_them(void **state)
{
    struct scene *s = *state;
    set_gate(s, true);
    add(s, 0, true);
    WAIT_UNTIL(s, s->in_gate);
    for (uint32_t n = 1; n <= 20; n++)
        add_lazy(s, n);
    add(s, 21, true);
    set_gate(s, false);
    WAIT_UNTIL(s, s->durable == 22);
    struct store_mem_counts counts;
    store_mem_counts(s->store, &counts);
    assert_int_equal(counts.writes, 2);
}

static void a_durable_item_survives_a_crash(void **state)
{
    struct scene *s = *state;
    for (uint32_t n = 0; n < 50; n++)
        add(s, n, n == 25);
    WAIT_UNTIL(s, s->written == 50 && s->durable >= 26);
    pthread_mutex_lock(&s->lock);
    size_t promised = s->durable;
    pthread_mutex_unlock(&s->lock);
    store_mem_crash(s->store, 0);
    for (uint32_t n = 0; n < promised; n++)
        assert_true(in_store(s, s->durable_order[n]));
}

static void too_many_unsynced_items_make_a_sync(void **state)
{
    struct scene *s = *state;
    for (uint32_t n = 0; n < WRITER_UNSYNCED_MAX; n++)
        add(s, n, false);
    WAIT_UNTIL(s, s->written == WRITER_UNSYNCED_MAX);
    add(s, WRITER_UNSYNCED_MAX, false);
    WAIT_UNTIL(s, s->durable == WRITER_UNSYNCED_MAX + 1);
}

static void a_batch_holds_a_bounded_number_of_items(void **state)
{
    struct scene *s = *state;
    set_gate(s, true);
    add(s, 0, true);
    WAIT_UNTIL(s, s->in_gate);
    for (uint32_t n = 1; n <= WRITER_BATCH_ITEMS + 1; n++)
        add(s, n, true);
    set_gate(s, false);
    WAIT_UNTIL(s, s->durable == WRITER_BATCH_ITEMS + 2);
    struct store_mem_counts counts;
    store_mem_counts(s->store, &counts);
    assert_int_equal(counts.syncs, 3);
}

static void a_failed_write_is_fatal_and_nobody_is_told_that_it_worked(void **state)
{
    struct scene *s = *state;
    add(s, 0, true);
    WAIT_UNTIL(s, s->durable == 1);
    store_mem_fail_write(s->store, 1);
    add(s, 1, true);
    WAIT_UNTIL(s, s->fatal);
    add(s, 2, true); /* the thread has stopped: it is never tried again */
    assert_int_equal(s->durable, 1);
    assert_int_equal(s->written, 1);
    assert_false(in_store(s, 1));
}

static void freeing_it_writes_and_syncs_what_is_left(void **state)
{
    struct scene *s = *state;
    for (uint32_t n = 0; n < 100; n++)
        add(s, n, false);
    writer_free(&s->writer);
    assert_int_equal(s->durable, 100);
    store_mem_crash(s->store, 0);
    assert_true(in_store(s, 99));
}

struct adder {
    struct scene *s;
    uint32_t from, to;
};

static void *add_range(void *arg)
{
    struct adder *a = arg;
    for (uint32_t n = a->from; n < a->to; n++)
        add(a->s, n, n % 7 == 0);
    return NULL;
}

static void many_threads_may_add_and_each_keeps_its_order(void **state)
{
    struct scene *s = *state;
    pthread_t threads[4];
    struct adder adders[4];
    for (uint32_t t = 0; t < 4; t++) {
        adders[t] = (struct adder){s, t * 3000, (t + 1) * 3000};
        pthread_create(&threads[t], NULL, add_range, &adders[t]);
    }
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    add(s, 12000, true);
    WAIT_UNTIL(s, s->durable == 12001);
    uint32_t next[4] = {0, 3000, 6000, 9000};
    for (size_t n = 0; n < 12000; n++) {
        uint32_t t = s->durable_order[n] / 3000;
        assert_int_equal(s->durable_order[n], next[t]);
        next[t]++;
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(items_are_written_and_told_in_their_order),
        CASE(what_piles_up_goes_into_one_synced_batch),
        CASE(without_a_need_nothing_is_synced_and_nothing_called_durable),
        CASE(a_lazy_item_is_written_though_nobody_asks),
        CASE(lazy_items_go_with_the_synced_one_behind_them),
        CASE(a_durable_item_survives_a_crash),
        CASE(too_many_unsynced_items_make_a_sync),
        CASE(a_batch_holds_a_bounded_number_of_items),
        CASE(a_failed_write_is_fatal_and_nobody_is_told_that_it_worked),
        CASE(freeing_it_writes_and_syncs_what_is_left),
        CASE(many_threads_may_add_and_each_keeps_its_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
