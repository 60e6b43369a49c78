/* The settings "events.*" of every process that publishes events, and the sink that they describe. */
#ifndef EVENT_CONFIG_H
#define EVENT_CONFIG_H

#include "events/event_encode.h"
#include "events/event_file.h"
#include "events/event_kafka.h"

struct event_config {
    const char *type_prefix;
    int pii; /* enum event_pii */
    const char *pii_key;
    struct event_file_config file;
    struct event_kafka_config kafka;
};

#define EVENT_CONFIG_PARTS 3
void event_config_parts(struct event_config *config, struct cq_config_part parts_r[static EVENT_CONFIG_PARTS]);

/* What the settings say of a source; the rest of it is the caller's and not touched. CQ_E_CONFIG: no key for hmac, or
 * one that is too short; the text names the file. */
enum cq_rc event_config_source(const struct event_config *config, struct event_source *source_r, struct cq_err *err);

/* Kafka or the file; *sink_r is NULL when none is configured. CQ_E_CONFIG: both are, or what the sink says. */
enum cq_rc event_config_sink(const struct event_config *config, struct event_sink **sink_r, struct cq_err *err);

#endif
