/* The settings of Kafka, and what librdkafka makes of them. */
#include <stdio.h>

#include "base/cq_buf.h"
#include "base/cq_log.h"
#include "base/cq_mem.h"
#include "base/cq_secret.h"
#include "events/event_kafka_private.h"

#define SERVERS_TEXT_MAX 8192

const char *const event_kafka_header_names[EVENT_KAFKA_HEADERS] = {
#define EVENT_KAFKA_HEADER_NAME(header, name) [header] = name,
    EVENT_KAFKA_HEADER_LIST(EVENT_KAFKA_HEADER_NAME)
#undef EVENT_KAFKA_HEADER_NAME
};

static const char *const format_names[] = {[EVENT_KAFKA_JSON] = "json", [EVENT_KAFKA_PROTOBUF] = "protobuf", NULL};
static const char *const compression_names[] = {
    [EVENT_KAFKA_ZSTD] = "zstd", [EVENT_KAFKA_LZ4] = "lz4", [EVENT_KAFKA_NONE] = "none", NULL};
static const char *const sasl_names[] = {[EVENT_KAFKA_SASL_NONE] = "none",
                                         [EVENT_KAFKA_SASL_SCRAM_512] = "SCRAM-SHA-512",
                                         [EVENT_KAFKA_SASL_SCRAM_256] = "SCRAM-SHA-256",
                                         [EVENT_KAFKA_SASL_PLAIN] = "PLAIN",
                                         NULL};

static const struct cq_setting rows[] = {
    CQ_SET_STRINGS(struct event_kafka_config, servers, "events.kafka.servers", "", EVENT_KAFKA_SERVERS_MAX,
                   "Kafka brokers to begin with (host:port). None: events are not sent to Kafka."),
    CQ_SET_STRING(struct event_kafka_config, topic_prefix, "events.kafka.topic_prefix", "",
                  "What the names of the topics begin with (\"prod.\" gives prod.mail.delivery.v1)."),
    CQ_SET_STRING(struct event_kafka_config, client_id, "events.kafka.client_id", "chasqui",
                  "Name of this client in the brokers' logs and quotas."),
    CQ_SET_DURATION(struct event_kafka_config, timeout_us, "events.kafka.timeout", "10s", "1s", "10m",
                    "A batch that the brokers have not confirmed in this time is sent again, under the same ids."),
    CQ_SET_DURATION(struct event_kafka_config, linger_us, "events.kafka.linger", "5ms", "0", "1s",
                    "How long a record waits for others."),
    CQ_SET_SIZE(struct event_kafka_config, record_max, "events.kafka.record_max", "1000000", "4KiB", "100MB",
                "Largest record; larger ones are dead letters. Not over the brokers' message.max.bytes."),
    CQ_SET_CHOICE(struct event_kafka_config, format, "events.kafka.format", "json", format_names,
                  "What the values of records are: json; or protobuf, the stream's message of proto/events.proto."),
    CQ_SET_CHOICE(struct event_kafka_config, compression, "events.kafka.compression", "zstd", compression_names,
                  "zstd needs brokers from 2.1 on."),
    CQ_SET_BOOL(struct event_kafka_config, tls, "events.kafka.tls.enabled", "false", "TLS to the brokers."),
    CQ_SET_PATH(struct event_kafka_config, tls_ca, "events.kafka.tls.ca", "",
                "CA of the brokers' certificates (PEM); empty: the system's."),
    CQ_SET_PATH(struct event_kafka_config, tls_cert, "events.kafka.tls.cert", "",
                "Client certificate (PEM); empty: none."),
    CQ_SET_PATH(struct event_kafka_config, tls_key, "events.kafka.tls.key", "", "Its key (PEM)."),
    CQ_SET_CHOICE(
        struct event_kafka_config, sasl, "events.kafka.sasl.mechanism", "none", sasl_names,
        "How to log in at the brokers. SCRAM at brokers of Kafka 4 needs librdkafka 2.6.1 (Debian 12 has 2.0.2): "
        "PLAIN, which goes over TLS as well, or a client certificate."),
    CQ_SET_STRING(struct event_kafka_config, user, "events.kafka.sasl.user", "", "User name."),
    CQ_SET_PATH(struct event_kafka_config, password_file, "events.kafka.sasl.password_file", "",
                "File with the password."),
};

struct cq_config_part event_kafka_config_part(struct event_kafka_config *values)
{
    return (struct cq_config_part)CQ_CONFIG_PART("events kafka", rows, values);
}

/* ---- To librdkafka ---- */

struct setting {
    const char *name;
    const char *value; /* NULL or "": not set */
};

static enum cq_rc set_all(rd_kafka_conf_t *conf, const struct setting *settings, size_t count, struct cq_err *err)
{
    char text[CQ_ERR_TEXT_SIZE];
    for (size_t i = 0; i < count; i++)
        if (settings[i].value && settings[i].value[0] &&
            rd_kafka_conf_set(conf, settings[i].name, settings[i].value, text, sizeof text) != RD_KAFKA_CONF_OK)
            return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka: %s", text);
    return CQ_OK;
}

static enum cq_rc set_login(const struct event_kafka_config *config, rd_kafka_conf_t *conf, struct cq_err *err)
{
    char password[CQ_SECRET_SIZE];
    if (config->sasl == EVENT_KAFKA_SASL_NONE)
        return CQ_OK;
    if (!config->tls)
        return CQ_FAIL(err, CQ_E_CONFIG, "events.kafka.sasl needs events.kafka.tls: no credential goes in clear");
    enum cq_rc rc = cq_secret_read(config->password_file, password, err);
    if (rc != CQ_OK)
        return cq_err_context(err, "events.kafka.sasl.password_file");
    const struct setting settings[] = {
        {"sasl.mechanism", sasl_names[config->sasl]}, {"sasl.username", config->user}, {"sasl.password", password}};
    rc = set_all(conf, settings, sizeof settings / sizeof *settings, err);
    cq_wipe(password, sizeof password);
    return rc;
}

static const char *join_servers(const struct event_kafka_config *config, struct cq_buf *out)
{
    for (size_t i = 0; i < config->servers.count; i++)
        cq_buf_printf(out, "%s%s", i ? "," : "", config->servers.items[i]);
    cq_buf_byte(out, 0);
    return cq_buf_ok(out) ? (const char *)out->data : "";
}

static const char *protocol_of(const struct event_kafka_config *config)
{
    if (config->sasl != EVENT_KAFKA_SASL_NONE)
        return "sasl_ssl";
    return config->tls ? "ssl" : "plaintext";
}

/* librdkafka's own log, by level of syslog(3). Failures of connections come by its error callback, too, and are told
 * once, with what to do (event_health.h). */
static void on_log(const rd_kafka_t *producer, int level, const char *facility, const char *text)
{
    (void)producer;
    static const char *const elsewhere[] = {"FAIL", "ERROR", "FATAL", "SSLCERTVRFY"};
    bool told = false;
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        told = told || strcmp(facility, elsewhere[i]) == 0;
    cq_log_limited(2, level <= 4 && !told ? CQ_WARN : CQ_DEBUG, "kafka.client", CQ_F_STR("facility", facility),
                   CQ_F_STR("text", text));
}

/* What every client of ours has. */
static enum cq_rc set_common(const struct event_kafka_config *config, rd_kafka_conf_t *conf, struct cq_err *err)
{
    struct cq_buf servers;
    cq_buf_init(&servers, SERVERS_TEXT_MAX);
    const struct setting settings[] = {
        {"bootstrap.servers", join_servers(config, &servers)},
        {"client.id", config->client_id},
        {"security.protocol", protocol_of(config)},
        {"ssl.ca.location", config->tls_ca},
        {"ssl.certificate.location", config->tls_cert},
        {"ssl.key.location", config->tls_key},
        {"socket.keepalive.enable", "true"},
        {"allow.auto.create.topics", "false"},
        {"log.connection.close", "false"},
    };
    enum cq_rc rc = set_all(conf, settings, sizeof settings / sizeof *settings, err);
    cq_buf_fini(&servers);
    return rc == CQ_OK ? set_login(config, conf, err) : rc;
}

static enum cq_rc set_producer(const struct event_kafka_config *config, rd_kafka_conf_t *conf, struct cq_err *err)
{
    char timeout[24], linger[24], record_max[24];
    snprintf(timeout, sizeof timeout, "%llu", (unsigned long long)config->timeout_us / 1000);
    snprintf(linger, sizeof linger, "%llu", (unsigned long long)config->linger_us / 1000);
    snprintf(record_max, sizeof record_max, "%llu", (unsigned long long)config->record_max);
    const struct setting settings[] = {
        {"enable.idempotence", "true"}, /* acks=all, retries, order per partition */
        {"partitioner", "murmur2_random"},
        {"compression.type", compression_names[config->compression]},
        {"linger.ms", linger},
        {"message.timeout.ms", timeout},
        {"message.max.bytes", record_max},
    };
    return set_all(conf, settings, sizeof settings / sizeof *settings, err);
}

enum cq_rc event_kafka_conf(const struct event_kafka_config *config, bool producer, rd_kafka_conf_t **conf_r,
                            struct cq_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    enum cq_rc rc = set_common(config, conf, err);
    if (rc == CQ_OK && producer)
        rc = set_producer(config, conf, err);
    if (rc != CQ_OK)
        rd_kafka_conf_destroy(conf);
    else
        *conf_r = conf;
    return rc;
}
