#include "io/admin_checks.h"

#include "base/cq_assert.h"
#include "base/cq_text.h"
#include "base/cq_time.h"

#include <stdio.h>

void admin_checks_init(struct admin_checks *all, uint64_t heartbeat_max_us)
{
    memset(all, 0, sizeof *all);
    all->heartbeat_max_us = heartbeat_max_us;
    pthread_mutex_init(&all->lock, NULL);
}

void admin_checks_fini(struct admin_checks *all)
{
    pthread_mutex_destroy(&all->lock);
}

struct admin_check *admin_checks_add(struct admin_checks *all, const char *name, unsigned kinds)
{
    CQ_ASSERT(all->check_count < ADMIN_CHECKS_MAX);
    struct admin_check *check = &all->checks[all->check_count++];
    *check = (struct admin_check){.name = name, .kinds = kinds, .lock = &all->lock, .text = "not reported yet"};
    return check;
}

void admin_check_set(struct admin_check *check, bool ok, const char *text)
{
    pthread_mutex_lock(check->lock);
    check->ok = ok;
    snprintf(check->text, sizeof check->text, "%s", text ? text : "");
    pthread_mutex_unlock(check->lock);
}

void admin_heartbeat_beat(struct admin_heartbeat *heartbeat)
{
    atomic_store_explicit(&heartbeat->beat_us, cq_time_mono_us(), memory_order_relaxed);
}

static uint64_t heartbeat_age(const struct admin_heartbeat *heartbeat, uint64_t now_us)
{
    uint64_t beat = atomic_load_explicit(&heartbeat->beat_us, memory_order_relaxed);
    return now_us > beat ? now_us - beat : 0;
}

uint64_t admin_checks_heartbeat_age(const struct admin_checks *all, uint64_t now_us)
{
    uint64_t oldest = 0;
    for (size_t i = 0; i < all->heartbeat_count; i++) {
        uint64_t age = heartbeat_age(&all->heartbeats[i], now_us);
        oldest = age > oldest ? age : oldest;
    }
    return oldest;
}

static void ask_check(struct admin_check *check, struct admin_result *result)
{
    result->name = check->name;
    result->text[0] = '\0';
    if (check->fn) {
        result->ok = check->fn(check->ctx, result->text);
        return;
    }
    pthread_mutex_lock(check->lock);
    result->ok = check->ok;
    memcpy(result->text, check->text, sizeof result->text);
    pthread_mutex_unlock(check->lock);
}

static void ask_heartbeat(const struct admin_checks *all, size_t i, uint64_t now_us, struct admin_result *result)
{
    uint64_t age_us = heartbeat_age(&all->heartbeats[i], now_us);
    result->name = all->heartbeats[i].name;
    result->ok = age_us <= all->heartbeat_max_us;
    snprintf(result->text, sizeof result->text, "last turn %llu ms ago", (unsigned long long)(age_us / 1000));
}

size_t admin_checks_ask(struct admin_checks *all, enum admin_kind kind, uint64_t now_us,
                        struct admin_result results_r[static ADMIN_RESULTS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < all->check_count; i++)
        if (all->checks[i].kinds & (unsigned)kind)
            ask_check(&all->checks[i], &results_r[n++]);
    for (size_t i = 0; i < all->heartbeat_count && kind != ADMIN_STARTUP; i++)
        ask_heartbeat(all, i, now_us, &results_r[n++]);
    if (kind == ADMIN_READY && atomic_load(&all->draining))
        results_r[n++] = (struct admin_result){"draining", false, "no new connections"};
    return n;
}

static void render_lines(struct cq_buf *out, const struct admin_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cq_buf_printf(out, "[%c]%s %s%s%s\n", results[i].ok ? '+' : '-', results[i].name,
                      results[i].ok ? "ok" : "failed", *results[i].text ? ": " : "", results[i].text);
}

static void render_json(struct cq_buf *out, bool ok, const struct admin_result *results, size_t count)
{
    cq_buf_printf(out, "{\"status\":\"%s\",\"checks\":[", ok ? "ok" : "failed");
    for (size_t i = 0; i < count; i++) {
        cq_buf_printf(out, "%s{\"name\":", i ? "," : "");
        cq_json_string(out, cq_slice_cstr(results[i].name));
        cq_buf_printf(out, ",\"ok\":%s,\"text\":", results[i].ok ? "true" : "false");
        cq_json_string(out, cq_slice_cstr(results[i].text));
        cq_buf_byte(out, '}');
    }
    cq_buf_cstr(out, "]}\n");
}

bool admin_checks_render(struct cq_buf *out, const char *page, enum admin_form form, const struct admin_result *results,
                         size_t count)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ok = ok && results[i].ok;
    if (form == ADMIN_JSON) {
        render_json(out, ok, results, count);
        return ok;
    }
    if (form == ADMIN_VERBOSE || !ok) /* a failure is always explained */
        render_lines(out, results, count);
    if (form == ADMIN_VERBOSE)
        cq_buf_printf(out, "%s check %s\n", page, ok ? "passed" : "failed");
    else
        cq_buf_cstr(out, ok ? "ok\n" : "failed\n");
    return ok;
}
