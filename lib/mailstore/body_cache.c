#include "mailstore/body_cache.h"

#include "base/cq_list.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#define USES_MAX 3
#define LOOKS_MAX 256          /* at entries, to make room for one */
#define REMEMBERED_SHARE 8192u /* bytes of `max` for each key that may be remembered */

static const char *const results[] = {"hit", "miss"};
static const struct cq_metric rows[] = {
    [BODY_M_REQUESTS] = CQ_COUNTER("chasqui_body_cache_requests_total", "Pieces of bodies that were looked for",
                                   CQ_LABEL("result", results)),
    [BODY_M_OCTETS] = CQ_COUNTER("chasqui_body_cache_octets_total", "Octets of bodies that came from memory"),
    [BODY_M_EVICTIONS] = CQ_COUNTER("chasqui_body_cache_evictions_total", "Pieces that made room for others"),
    [BODY_M_BYTES] = CQ_GAUGE("chasqui_body_cache_bytes", "Memory of the pieces that are kept"),
};
struct cq_metrics body_cache_metrics = CQ_METRICS_OF(rows);

/* A key is remembered for having left ONCE, or because a part of the piece was asked for; both without the piece. */
enum place { ONCE, MAIN, LEFT, ASKED };
enum { QUEUE_ONCE, QUEUE_MAIN, QUEUE_REMEMBERED, QUEUES };

struct entry {
    struct body_key key;
    struct body_piece *piece; /* NULL: only the key is remembered */
    size_t memory;            /* of the piece, also of one that has left */
    uint32_t end;             /* of the range that was asked for last */
    uint8_t uses;
    enum place place;
    struct cq_list link; /* newest first */
    UT_hash_handle hh;
};

struct body_cache {
    pthread_mutex_t lock;
    size_t keys_max; /* that are remembered */
    size_t room;     /* bytes for the pieces: what the remembered keys may take is not theirs */
    struct entry *table;
    struct cq_list queues[QUEUES];
    size_t pieces, bytes; /* with their entries */
    size_t once;          /* bytes of those in ONCE */
    size_t keys, left;    /* remembered; bytes that their pieces had */
};

static struct cq_list *queue_of(struct body_cache *cache, enum place place)
{
    static const int queues[] = {
        [ONCE] = QUEUE_ONCE, [MAIN] = QUEUE_MAIN, [LEFT] = QUEUE_REMEMBERED, [ASKED] = QUEUE_REMEMBERED};
    return &cache->queues[queues[place]];
}

struct body_cache *body_cache_new(size_t max)
{
    if (max == 0)
        return NULL;
    struct body_cache *cache = cq_new(struct body_cache);
    pthread_mutex_init(&cache->lock, NULL);
    cache->keys_max = max / REMEMBERED_SHARE;
    cache->room = max - cache->keys_max * sizeof(struct entry);
    for (int i = 0; i < QUEUES; i++)
        cq_list_init(&cache->queues[i]);
    return cache;
}

/* ---- Entries; the lock is held ---- */

static struct entry *find(struct body_cache *cache, const struct body_key *key)
{
    struct entry *entry;
    HASH_FIND(hh, cache->table, key, sizeof *key, entry);
    return entry;
}

static bool is_piece(enum place place)
{
    return place == ONCE || place == MAIN;
}

static size_t cost(const struct entry *entry)
{
    return sizeof *entry + entry->memory;
}

static void enter(struct body_cache *cache, struct entry *entry, enum place place)
{
    bool kept = is_piece(place);
    entry->place = place;
    cq_list_push_front(queue_of(cache, place), &entry->link);
    *(kept ? &cache->pieces : &cache->keys) += 1;
    *(kept ? &cache->bytes : &cache->left) += cost(entry);
    cache->once += place == ONCE ? cost(entry) : 0;
}

static void leave(struct body_cache *cache, struct entry *entry)
{
    bool kept = is_piece(entry->place);
    cq_list_remove(&entry->link);
    *(kept ? &cache->pieces : &cache->keys) -= 1;
    *(kept ? &cache->bytes : &cache->left) -= cost(entry);
    cache->once -= entry->place == ONCE ? cost(entry) : 0;
}

static void forget(struct body_cache *cache, struct entry *entry)
{
    leave(cache, entry);
    HASH_DEL(cache->table, entry);
    free(entry);
}

static struct entry *new_entry(struct body_cache *cache, const struct body_key *key)
{
    struct entry *entry = cq_new(struct entry);
    entry->key = *key;
    HASH_ADD(hh, cache->table, key, sizeof entry->key, entry);
    return entry;
}

static struct entry *last(struct body_cache *cache, int queue)
{
    struct cq_list *node = cq_list_last(&cache->queues[queue]);
    return node ? cq_list_entry(node, struct entry, link) : NULL;
}

static void remember(struct body_cache *cache, struct entry *entry, enum place place)
{
    enter(cache, entry, place);
    while (cache->keys > cache->keys_max || cache->left > cache->room)
        forget(cache, last(cache, QUEUE_REMEMBERED));
}

/* ---- Room ---- */

static void move_to(struct body_cache *cache, struct entry *entry, enum place place)
{
    leave(cache, entry);
    enter(cache, entry, place);
}

/* Takes the piece of one entry: that is to be let go when the lock is not held any more. NULL: this one stays. */
static struct body_piece *push_out(struct body_cache *cache, struct entry *entry)
{
    if (!body_piece_is_alone(entry->piece)) {
        move_to(cache, entry, entry->place);
        return NULL;
    }
    if (entry->uses) {
        entry->uses = entry->place == MAIN ? (uint8_t)(entry->uses - 1) : 0;
        move_to(cache, entry, MAIN);
        return NULL;
    }
    struct body_piece *piece = entry->piece;
    bool once = entry->place == ONCE;
    if (!once) {
        forget(cache, entry);
        return piece;
    }
    leave(cache, entry);
    entry->piece = NULL;
    remember(cache, entry, LEFT);
    return piece;
}

/* What is let go when the lock is not held any more. */
struct leaving {
    struct body_piece *pieces[LOOKS_MAX];
    size_t count;
};

static bool make_room(struct body_cache *cache, size_t size, struct leaving *leaving)
{
    for (int looks = 0; size <= cache->room && cache->bytes > cache->room - size; looks++) {
        bool from_once = cache->once >= cache->room / 10 || cq_list_empty(&cache->queues[QUEUE_MAIN]);
        struct entry *entry = last(cache, from_once ? QUEUE_ONCE : QUEUE_MAIN);
        if (!entry || looks == LOOKS_MAX)
            return false;
        struct body_piece *piece = push_out(cache, entry);
        if (piece)
            leaving->pieces[leaving->count++] = piece;
    }
    return size <= cache->room;
}

static void let_go(struct leaving *leaving)
{
    cq_metric_add(&body_cache_metrics, BODY_M_EVICTIONS, leaving->count);
    for (size_t i = 0; i < leaving->count; i++)
        body_piece_unref(&leaving->pieces[i]);
}

/* ---- For all threads ---- */

static void use(struct entry *entry, uint32_t from, uint32_t to)
{
    if (from != entry->end && entry->uses < USES_MAX)
        entry->uses++;
    entry->end = to;
}

struct body_piece *body_cache_get(struct body_cache *cache, const struct body_key *key, uint32_t from, uint32_t to)
{
    struct body_piece *piece = NULL;
    if (!cache)
        return NULL;
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, key);
    if (entry && entry->piece) {
        use(entry, from, to);
        piece = body_piece_ref(entry->piece);
    }
    pthread_mutex_unlock(&cache->lock);
    cq_metric_add(&body_cache_metrics, BODY_M_REQUESTS, 1, piece ? BODY_M_HIT : BODY_M_MISS);
    if (piece)
        cq_metric_add(&body_cache_metrics, BODY_M_OCTETS, to - from);
    return piece;
}

bool body_cache_asked_before(struct body_cache *cache, const struct body_key *key)
{
    if (!cache)
        return false;
    pthread_mutex_lock(&cache->lock);
    bool before = find(cache, key);
    if (!before)
        remember(cache, new_entry(cache, key), ASKED);
    pthread_mutex_unlock(&cache->lock);
    return before;
}

static void keep(struct body_cache *cache, const struct body_key *key, struct body_piece *piece, uint32_t to)
{
    struct entry *entry = find(cache, key); /* only its key */
    bool again = entry && entry->place == LEFT;
    if (entry)
        leave(cache, entry);
    else
        entry = new_entry(cache, key);
    entry->piece = body_piece_ref(piece);
    entry->memory = body_piece_memory(piece);
    entry->end = to;
    entry->uses = 0;
    enter(cache, entry, again ? MAIN : ONCE);
}

void body_cache_put(struct body_cache *cache, const struct body_key *key, struct body_piece *piece, uint32_t to)
{
    struct leaving leaving = {.count = 0};
    if (!cache)
        return;
    size_t size = sizeof(struct entry) + body_piece_memory(piece);
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = find(cache, key);
    bool there = entry && entry->piece;
    if (!there && make_room(cache, size, &leaving))
        keep(cache, key, piece, to);
    size_t bytes = cache->bytes;
    pthread_mutex_unlock(&cache->lock);
    cq_gauge_set(&body_cache_metrics, BODY_M_BYTES, (int64_t)bytes);
    let_go(&leaving);
}

struct body_cache_state body_cache_state(struct body_cache *cache)
{
    struct body_cache_state state = {0};
    if (!cache)
        return state;
    pthread_mutex_lock(&cache->lock);
    state = (struct body_cache_state){cache->bytes, cache->pieces, cache->keys};
    pthread_mutex_unlock(&cache->lock);
    return state;
}

void body_cache_free(struct body_cache **cache_p)
{
    struct body_cache *cache = *cache_p;
    if (!cache)
        return;
    for (int i = 0; i < QUEUES; i++)
        for (struct entry *entry; (entry = last(cache, i));) {
            struct body_piece *piece = entry->piece;
            forget(cache, entry);
            body_piece_unref(&piece);
        }
    pthread_mutex_destroy(&cache->lock);
    free(cache);
    *cache_p = NULL;
}
