#include "base/cq_metrics.h"

#include "unit/cq_cmocka.h"

#include <pthread.h>
#include <stdlib.h>

static const char *const results[] = {"accepted", "rejected"};
static const char *const protocols[] = {"imap", "pop3", "smtp"};
static const uint64_t tiny_le[] = {10, 100};
static const struct cq_metric_buckets tiny = {tiny_le, 2, CQ_METRIC_ONE};

enum { M_PLAIN, M_LABELLED, M_GAUGE, M_SECONDS, M_SIZE, M_LATENCY, M_NODES };
static const struct cq_metric rows[] = {
    [M_PLAIN] = CQ_COUNTER("test_plain_total", "Plain"),
    [M_LABELLED] =
        CQ_COUNTER("test_labelled_total", "Labelled", CQ_LABEL("protocol", protocols), CQ_LABEL("result", results)),
    [M_GAUGE] = CQ_GAUGE("test_open", "Open", CQ_LABEL("protocol", protocols)),
    [M_SECONDS] = CQ_GAUGE_US("test_age_seconds", "Age"),
    [M_SIZE] = CQ_HISTOGRAM("test_size_bytes", "Size", &tiny, CQ_LABEL("result", results)),
    [M_LATENCY] = CQ_HISTOGRAM("test_latency_seconds", "Latency", CQ_BUCKETS_LATENCY),
    [M_NODES] = CQ_GAUGE("test_node_up", "Nodes", CQ_LABEL_DYNAMIC("node")),
};
static struct cq_metrics module = CQ_METRICS_OF(rows);

static const struct cq_metric stray_rows[] = {CQ_COUNTER("test_stray_total", "Never registered")};
static struct cq_metrics stray = CQ_METRICS_OF(stray_rows);

static void collect_nodes(struct cq_metric_out *out, void *ctx)
{
    (void)ctx;
    const char *const quoted[] = {"a\"b\\\n"}, *const plain[] = {"n2"};
    cq_metric_out_sample(out, quoted, 1);
    cq_metric_out_sample(out, plain, 0);
}

static int register_all(void **state)
{
    (void)state;
    cq_metrics_register(&module);
    cq_metrics_register(&module);
    cq_metrics_collect(&module, M_NODES, collect_nodes, NULL);
    return 0;
}

static char *scrape(void)
{
    struct cq_buf out;
    size_t len;
    cq_buf_init(&out, CQ_METRICS_TEXT_MAX);
    assert_true(cq_metrics_scrape(&out));
    cq_buf_byte(&out, '\0');
    return (char *)cq_buf_take(&out, &len);
}

static void every_label_value_exists_with_zero_from_the_start(void **state)
{
    (void)state;
    char *text = scrape();
    assert_non_null(
        strstr(text, "# HELP test_plain_total Plain\n# TYPE test_plain_total counter\ntest_plain_total 0\n"));
    assert_non_null(strstr(text, "test_labelled_total{protocol=\"imap\",result=\"accepted\"} 0\n"
                                 "test_labelled_total{protocol=\"imap\",result=\"rejected\"} 0\n"
                                 "test_labelled_total{protocol=\"pop3\",result=\"accepted\"} 0\n"));
    assert_non_null(strstr(text, "test_size_bytes_bucket{result=\"rejected\",le=\"10\"} 0\n"
                                 "test_size_bytes_bucket{result=\"rejected\",le=\"100\"} 0\n"
                                 "test_size_bytes_bucket{result=\"rejected\",le=\"+Inf\"} 0\n"
                                 "test_size_bytes_sum{result=\"rejected\"} 0\n"
                                 "test_size_bytes_count{result=\"rejected\"} 0\n"));
    assert_non_null(strstr(text, "test_latency_seconds_bucket{le=\"0.0005\"} 0\n"));
    assert_non_null(strstr(text, "test_latency_seconds_bucket{le=\"60\"} 0\n"));
    assert_null(strstr(text, "stray"));
    free(text);
}

static void counts_go_to_their_labels(void **state)
{
    (void)state;
    cq_metric_add(&module, M_PLAIN, 1);
    cq_metric_add(&module, M_PLAIN, 2);
    cq_metric_add(&module, M_LABELLED, 7, 2, 1);
    cq_gauge_set(&module, M_GAUGE, 5, 1);
    cq_gauge_add(&module, M_GAUGE, -7, 1);
    cq_gauge_set(&module, M_SECONDS, 1500000);
    cq_metric_observe(&module, M_SIZE, 10, 0);
    cq_metric_observe(&module, M_SIZE, 11, 0);
    cq_metric_observe(&module, M_SIZE, 101, 0);
    cq_metric_add(&stray, 0, 1);
    assert_int_equal(cq_metric_value(&module, M_PLAIN), 3);
    assert_int_equal(cq_metric_value(&module, M_SIZE, 0), 3);
    assert_int_equal(cq_metric_value(&stray, 0), 0);
    char *text = scrape();
    assert_non_null(strstr(text, "test_plain_total 3\n"));
    assert_non_null(strstr(text, "test_labelled_total{protocol=\"smtp\",result=\"rejected\"} 7\n"));
    assert_non_null(strstr(text, "test_labelled_total{protocol=\"smtp\",result=\"accepted\"} 0\n"));
    assert_non_null(strstr(text, "test_open{protocol=\"pop3\"} -2\n"));
    assert_non_null(strstr(text, "test_age_seconds 1.5\n"));
    assert_non_null(strstr(text, "test_size_bytes_bucket{result=\"accepted\",le=\"10\"} 1\n"
                                 "test_size_bytes_bucket{result=\"accepted\",le=\"100\"} 2\n"
                                 "test_size_bytes_bucket{result=\"accepted\",le=\"+Inf\"} 3\n"
                                 "test_size_bytes_sum{result=\"accepted\"} 122\n"
                                 "test_size_bytes_count{result=\"accepted\"} 3\n"));
    assert_non_null(strstr(text, "test_node_up{node=\"a\\\"b\\\\\\n\"} 1\ntest_node_up{node=\"n2\"} 0\n"));
    free(text);
}

static void seconds_are_printed_without_rounding(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "test_age_seconds 0\n"},         {1, "test_age_seconds 0.000001\n"}, {1000000, "test_age_seconds 1\n"},
        {10000000, "test_age_seconds 10\n"}, {50000, "test_age_seconds 0.05\n"}, {-250000, "test_age_seconds -0.25\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cq_gauge_set(&module, M_SECONDS, cases[i].us);
        char *text = scrape();
        assert_non_null(strstr(text, cases[i].text));
        free(text);
    }
}

static void *count_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++) {
        cq_metric_add(&module, M_LABELLED, 1, 0, 0);
        cq_gauge_add(&module, M_GAUGE, 1, 2);
    }
    return NULL;
}

static void counts_of_threads_add_up_and_outlive_them(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, count_many, NULL);
        free(scrape()); /* while they count */
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    assert_int_equal(cq_metric_value(&module, M_LABELLED, 0, 0), 120000);
    assert_int_equal(cq_metric_value(&module, M_GAUGE, 2), 120000);
}

static void the_process_reports_itself(void **state)
{
    (void)state;
    cq_process_metrics_register("test", "0.1", "abc");
    cq_process_metrics_register("test", "0.1", "abc");
    char *text = scrape();
    assert_non_null(strstr(text, "chasqui_build_info{version=\"0.1\",commit=\"abc\",role=\"test\"} 1\n"));
    assert_non_null(strstr(text, "chasqui_log_messages_total{level=\"error\"} "));
    assert_null(strstr(text, "process_resident_memory_bytes 0\n"));
    assert_null(strstr(text, "process_open_fds 0\n"));
    free(text);
}

static void documents_come_from_the_rows(void **state)
{
    (void)state;
    struct cq_buf out;
    cq_buf_init(&out, 100000);
    cq_metrics_print_docs(&out);
    cq_buf_byte(&out, '\0');
    const char *text = (const char *)out.data;
    assert_non_null(
        strstr(text, "| `test_labelled_total` | counter | `protocol`: imap, pop3, smtp; `result`: accepted, rejected "
                     "| Labelled |\n"));
    assert_non_null(strstr(text, "| `test_node_up` | gauge | `node` | Nodes |\n"));
    cq_buf_fini(&out);
}

static void a_label_with_commas_is_shown_as_several(void **state)
{
    (void)state;
    static const char *const pairs[] = {"imap,SELECT", "smtp,\"x\""};
    static const char *const words[] = {"a,b"}; /* one label: a comma in its value is its own */
    static const struct cq_metric some[] = {
        CQ_COUNTER("chasqui_pairs_total", "x", CQ_LABEL("protocol,command", pairs), CQ_LABEL("result", words)),
    };
    static struct cq_metrics metrics = CQ_METRICS_OF(some);
    struct cq_buf out;
    cq_metrics_register(&metrics);
    cq_metric_add(&metrics, 0, 3, 1, 0);
    cq_buf_init(&out, CQ_METRICS_TEXT_MAX);
    assert_true(cq_metrics_scrape(&out));
    cq_buf_byte(&out, 0);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "chasqui_pairs_total{protocol=\"imap\",command=\"SELECT\",result=\"a,b\"} 0\n"));
    assert_non_null(strstr(text, "chasqui_pairs_total{protocol=\"smtp\",command=\"\\\"x\\\"\",result=\"a,b\"} 3\n"));
    cq_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_label_value_exists_with_zero_from_the_start),
        cmocka_unit_test(counts_go_to_their_labels),
        cmocka_unit_test(seconds_are_printed_without_rounding),
        cmocka_unit_test(counts_of_threads_add_up_and_outlive_them),
        cmocka_unit_test(the_process_reports_itself),
        cmocka_unit_test(documents_come_from_the_rows),
        cmocka_unit_test(a_label_with_commas_is_shown_as_several),
    };
    return cmocka_run_group_tests(tests, register_all, NULL);
}
