#include "load_report.h"

#include "base/cq_time.h"

#define REPORT_MAX (64u << 10)

static void put_string(struct cq_buf *out, const char *text)
{
    cq_buf_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            cq_buf_byte(out, '\\');
        if ((unsigned char)*text >= ' ')
            cq_buf_byte(out, (uint8_t)*text);
    }
    cq_buf_byte(out, '"');
}

static void put_times(struct cq_buf *out, const struct load_histogram *h)
{
    cq_buf_printf(out,
                  "\"count\": %llu, \"mean_us\": %.0f, \"p50_us\": %llu, \"p99_us\": %llu, \"p999_us\": %llu, "
                  "\"max_us\": %llu",
                  (unsigned long long)h->count, load_histogram_mean(h),
                  (unsigned long long)load_histogram_percentile(h, 0.5),
                  (unsigned long long)load_histogram_percentile(h, 0.99),
                  (unsigned long long)load_histogram_percentile(h, 0.999), (unsigned long long)h->max);
}

static void put_generator(struct cq_buf *out, const struct load_run *run, double seconds)
{
    double cpu = (double)run->cpu_us / 1e6, wait = (double)run->wait_us / 1e6;
    double busy = seconds > 0 ? (cpu + wait) / seconds : 0;
    cq_buf_printf(out,
                  ", \"generator\": {\"cpu_s\": %.3f, \"waited_for_a_core_s\": %.3f, \"busy\": %.3f, "
                  "\"bottleneck\": %s}",
                  cpu, wait, busy, busy > LOAD_BUSY_SHARE ? "true" : "false");
}

void load_report(const struct load_run *run, FILE *out)
{
    struct cq_buf buf;
    cq_buf_init(&buf, REPORT_MAX);
    double seconds = (double)(run->end_us - run->begin_us) / 1e6;
    cq_buf_cstr(&buf, "{\"event\": \"result\", \"scenario\": ");
    put_string(&buf, run->options->scenario);
    cq_buf_printf(&buf, ", \"sessions\": %zu, \"seconds\": %.3f, \"per_second\": %.2f, \"octets\": %llu, ",
                  run->sessions, seconds, seconds > 0 ? (double)run->took_us.count / seconds : 0,
                  (unsigned long long)run->octets);
    put_times(&buf, &run->took_us);
    cq_buf_printf(&buf, ", \"errors\": %llu, \"first_error\": ", (unsigned long long)run->errors);
    put_string(&buf, run->first_error);
    cq_buf_cstr(&buf, ", \"kinds\": [");
    for (size_t i = 0; i < run->kind_count; i++) {
        cq_buf_cstr(&buf, i ? ", {\"name\": " : "{\"name\": ");
        put_string(&buf, run->kinds[i].name);
        cq_buf_cstr(&buf, ", ");
        put_times(&buf, &run->kinds[i].took_us);
        cq_buf_byte(&buf, '}');
    }
    cq_buf_byte(&buf, ']');
    put_generator(&buf, run, seconds);
    cq_buf_cstr(&buf, "}\n");
    fwrite(buf.data, 1, buf.len, out);
    fflush(out);
    cq_buf_fini(&buf);
}
