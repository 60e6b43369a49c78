/* Loss, delay and reordering of packets: takes them from an NFQUEUE and gives them back later, or not at all.
 *
 *     link_trouble QUEUE LOSS_PERCENT DELAY_MS JITTER_MS REORDER_PERCENT SEED RAMP_MS
 *
 * Each packet is dropped with that probability, else let go after DELAY_MS plus or minus JITTER_MS, never before one
 * that came earlier; unless it is one of the REORDER_PERCENT, which do not wait for anybody. The delay grows from 0 to
 * its whole length in the first RAMP_MS. Ends with SIGTERM; what it holds is lost then. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>

#define PACKET_MAX 65536
#define QUEUE_LENGTH 16384

struct packet {
    uint64_t due_us, number;
    uint32_t id;
};

static struct packet heap[QUEUE_LENGTH];
static size_t held;
static uint64_t numbers, last_due_us, state;
static unsigned long loss, delay_ms, jitter_ms, reorder, ramp_ms;
static uint64_t began_us;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void swap(size_t a, size_t b)
{
    struct packet kept = heap[a];
    heap[a] = heap[b];
    heap[b] = kept;
}

static void push(struct packet packet)
{
    size_t at = held++;
    heap[at] = packet;
    for (; at > 0 && before(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(at, (at - 1) / 2);
}

static struct packet pop(void)
{
    struct packet first = heap[0];
    heap[0] = heap[--held];
    for (size_t at = 0, child; (child = 2 * at + 1) < held; at = child) {
        if (child + 1 < held && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &heap[at]))
            break;
        swap(at, child);
    }
    return first;
}

static uint64_t due(void)
{
    uint64_t now = now_us(), delay_us = delay_ms * 1000;
    if (now - began_us < ramp_ms * 1000)
        delay_us = delay_us * (now - began_us) / (ramp_ms * 1000);
    uint64_t at = now + delay_us;
    if (jitter_ms) {
        uint64_t shift = next_random() % (2 * jitter_ms * 1000 + 1);
        at = at + shift > jitter_ms * 1000 ? at + shift - jitter_ms * 1000 : at;
    }
    if (next_random() % 100 < reorder)
        return at - delay_us / 2; /* half the way: it overtakes */
    if (at < last_due_us)
        at = last_due_us;
    last_due_us = at;
    return at;
}

static int on_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *arg)
{
    (void)message, (void)arg;
    struct nfqnl_msg_packet_hdr *head = nfq_get_msg_packet_hdr(data);
    uint32_t id = head ? ntohl(head->packet_id) : 0;
    if (next_random() % 100 < loss || held == QUEUE_LENGTH)
        return nfq_set_verdict(queue, id, NF_DROP, 0, NULL);
    push((struct packet){.due_us = due(), .number = numbers++, .id = id});
    return 0;
}

static void let_go(struct nfq_q_handle *queue)
{
    while (held && heap[0].due_us <= now_us())
        nfq_set_verdict(queue, pop().id, NF_ACCEPT, 0, NULL);
}

/* Until the first packet is due, or for ever. */
static void wait_for_more(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    uint64_t now = now_us();
    uint64_t wait_us = !held ? 1000000 : heap[0].due_us > now ? heap[0].due_us - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait_us / 1000000), .tv_nsec = (long)(wait_us % 1000000) * 1000};
    ppoll(&wanted, 1, &timeout, NULL);
}

static void serve(struct nfq_handle *handle, struct nfq_q_handle *queue)
{
    static char buffer[PACKET_MAX + 4096] __attribute__((aligned));
    int fd = nfq_fd(handle);
    for (;;) {
        let_go(queue);
        wait_for_more(fd);
        ssize_t n;
        while ((n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
            nfq_handle_packet(handle, buffer, (int)n);
        if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
            perror("link_trouble");
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: link_trouble QUEUE LOSS_PERCENT DELAY_MS JITTER_MS REORDER_PERCENT SEED RAMP_MS\n");
        return 2;
    }
    loss = strtoul(argv[2], NULL, 10);
    delay_ms = strtoul(argv[3], NULL, 10);
    jitter_ms = strtoul(argv[4], NULL, 10);
    reorder = strtoul(argv[5], NULL, 10);
    state = strtoull(argv[6], NULL, 10);
    ramp_ms = strtoul(argv[7], NULL, 10);
    began_us = now_us();
    struct nfq_handle *handle = nfq_open();
    struct nfq_q_handle *queue =
        handle ? nfq_create_queue(handle, (uint16_t)strtoul(argv[1], NULL, 10), on_packet, NULL) : NULL;
    if (!queue || nfq_set_mode(queue, NFQNL_COPY_META, 0) < 0 || nfq_set_queue_maxlen(queue, QUEUE_LENGTH) < 0) {
        perror("link_trouble: no queue");
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    serve(handle, queue);
}
