#include "events/event_config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static const char *const pii_names[] = {
    [EVENT_PII_FULL] = "full", [EVENT_PII_DOMAIN] = "domain", [EVENT_PII_HMAC] = "hmac", NULL};

static const struct cq_setting rows[] = {
    CQ_SET_STRING(struct event_config, type_prefix, "events.type_prefix", "chasqui",
                  "What the types of events begin with: a domain of the operator's, reversed."),
    CQ_SET_CHOICE(struct event_config, pii, "events.pii", "full", pii_names,
                  "Addresses in events: full; domain (what follows the @ alone); or hmac (the domain, and a keyed hash "
                  "by which the same address can be recognised)."),
    CQ_SET_PATH(struct event_config, pii_key, "events.pii_key", "",
                "File with the key of events.pii: hmac, 16 to 256 bytes, the same everywhere."),
};

void event_config_parts(struct event_config *config, struct cq_config_part parts_r[static EVENT_CONFIG_PARTS])
{
    parts_r[0] = (struct cq_config_part)CQ_CONFIG_PART("events", rows, config);
    parts_r[1] = event_file_config_part(&config->file);
    parts_r[2] = event_kafka_config_part(&config->kafka);
}

static enum cq_rc read_key(const char *path, struct event_source *source, struct cq_err *err)
{
    uint8_t more;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, source->pii_key, sizeof source->pii_key);
    ssize_t rest = len < 0 ? -1 : read(fd, &more, 1);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (rest < 0)
        return CQ_FAIL(err, CQ_E_CONFIG, "events.pii_key: %s: %s", path, strerror(why));
    if (len < EVENT_PII_KEY_MIN || rest > 0)
        return CQ_FAIL(err, CQ_E_CONFIG, "events.pii_key: %s: wanted are %d to %d bytes", path, EVENT_PII_KEY_MIN,
                       EVENT_PII_KEY_MAX);
    source->pii_key_len = (size_t)len;
    return CQ_OK;
}

enum cq_rc event_config_source(const struct event_config *config, struct event_source *source_r, struct cq_err *err)
{
    source_r->type_prefix = config->type_prefix;
    source_r->pii = (enum event_pii)config->pii;
    source_r->protobuf = config->kafka.servers.count && config->kafka.format == EVENT_KAFKA_PROTOBUF;
    if (source_r->pii != EVENT_PII_HMAC)
        return CQ_OK;
    if (!config->pii_key[0])
        return CQ_FAIL(err, CQ_E_CONFIG, "events.pii: hmac needs the file events.pii_key");
    return read_key(config->pii_key, source_r, err);
}

enum cq_rc event_config_sink(const struct event_config *config, struct event_sink **sink_r, struct cq_err *err)
{
    *sink_r = NULL;
    if (config->kafka.servers.count && config->file.path[0])
        return CQ_FAIL(err, CQ_E_CONFIG,
                       "events.file.path and events.kafka.servers are both set: events go to one of them");
    if (config->kafka.servers.count)
        return event_kafka_open(&config->kafka, sink_r, err);
    return config->file.path[0] ? event_file_open(&config->file, sink_r, err) : CQ_OK;
}
