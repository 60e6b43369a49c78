/* The Kafka sink and a real broker with TLS, logins (SCRAM-SHA-512) and rights: what is right delivers; what is wrong
 * is one line that says what to do, nothing is lost, and mended it delivers. */
#include "kafka_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum listener { L_LOGIN, L_CERTIFICATE, L_EXPIRED, L_COUNT };

static int ports[L_COUNT];
static char password_path[96];

static const char *const properties =
    "listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d,LOGIN://localhost:%d,CERTIFICATE://localhost:%d,"
    "EXPIRED://localhost:%d\n"
    "advertised.listeners=PLAINTEXT://127.0.0.1:%d,LOGIN://localhost:%d,CERTIFICATE://localhost:%d,"
    "EXPIRED://localhost:%d\n"
    "controller.quorum.voters=1@127.0.0.1:%d\n"
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL,"
    "EXPIRED:SSL\n"
    "sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n"
    "listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
    "user_writer=\"secret-w\" user_stranger=\"secret-s\";\n"
    "listener.name.login.scram-sha-512.sasl.jaas.config="
    "org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
    "ssl.keystore.type=PEM\nssl.truststore.type=PEM\n"
    "ssl.keystore.location=%s/broker.pem\nssl.truststore.location=%s/ca.pem\n"
    "listener.name.expired.ssl.keystore.location=%s/old-broker.pem\n"
    "listener.name.expired.ssl.keystore.type=PEM\n"
    "listener.name.certificate.ssl.client.auth=required\n"
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
    "super.users=User:ANONYMOUS\n";

/* What follows the servers; `ca` and what `more` says. */
static void configure(enum listener which, const char *prefix, const char *ca, const char *more)
{
    char server[32], text[768];
    snprintf(server, sizeof server, "localhost:%d", ports[which]);
    snprintf(text, sizeof text, ", topic_prefix: %s, timeout: 5s, tls: {enabled: true, ca: %s/%s%s", prefix,
             fixture_dir, ca, more);
    fixture_configure(server, text);
}

/* A log-in by SCRAM is refused by a Kafka 4 for what librdkafka does wrong. */
static bool scram_works(void)
{
    const char *version = getenv("KAFKA_VERSION");
    return !version || version[0] < '4' || rd_kafka_version() >= EVENT_KAFKA_SCRAM_FIXED;
}

static void configure_login_by(const char *mechanism, const char *prefix, const char *user, const char *password)
{
    char more[256];
    FILE *file = fopen(password_path, "w");
    assert_non_null(file);
    fprintf(file, "%s\n", password);
    fclose(file);
    snprintf(more, sizeof more, "}, sasl: {mechanism: %s, user: %s, password_file: %s}", mechanism, user,
             password_path);
    configure(L_LOGIN, prefix, "ca.pem", more);
}

static void configure_login(const char *prefix, const char *user, const char *password)
{
    configure_login_by(scram_works() ? "SCRAM-SHA-512" : "PLAIN", prefix, user, password);
}

static void make_topics(const char *prefix)
{
    char more[64];
    snprintf(more, sizeof more, ", topic_prefix: %s", prefix);
    fixture_configure_plain(more);
    fixture_create_topics();
}

static void assert_says(const struct cq_err *err, const char *word)
{
    if (!strstr(err->text, word))
        fail_msg("\"%s\" does not say \"%s\"", err->text, word);
}

/* Publishes one event that does not arrive, and looks at what is said. */
static void assert_fails(struct event_sink *sink, const char *word, const char *advice)
{
    struct cq_err err = {0};
    fixture_publish(sink, "mail.delivery", 1, 10);
    assert_int_equal(event_sink_poll(sink, &err), CQ_E_IO);
    assert_false(fixture_acknowledged[1]);
    assert_says(&err, word);
    assert_says(&err, advice);
    assert_null(strchr(err.text, '\n'));
    assert_null(strstr(err.text, "secret"));
}

static void assert_delivers(struct event_sink *sink, const char *prefix)
{
    struct fixture_seen seen;
    struct cq_err err = {0};
    char topic[64];
    enum cq_rc rc = CQ_OK;
    for (int tries = 0; tries < 30 && rc == CQ_OK && !fixture_acknowledged[1]; tries++) {
        fixture_publish(sink, "mail.delivery", 1, 10);
        if (event_sink_poll(sink, &err) != CQ_OK)
            sleep(1); /* as the relay does */
    }
    if (!fixture_acknowledged[1])
        fail_msg("%s", err.text);
    snprintf(topic, sizeof topic, "%smail.delivery.v1", prefix);
    fixture_read(topic, 1, &seen);
}

static void the_right_password_over_tls_delivers(void **state)
{
    (void)state;
    make_topics("a.");
    fixture_allow("writer", "a.", RD_KAFKA_ACL_OPERATION_WRITE);
    configure_login("a.", "writer", "secret-w");
    struct event_sink *sink = fixture_sink();
    assert_delivers(sink, "a.");
    event_sink_close(&sink);
}

static void a_wrong_password_is_told_and_mended_by_a_new_one(void **state)
{
    (void)state;
    make_topics("b.");
    fixture_allow("writer", "b.", RD_KAFKA_ACL_OPERATION_WRITE);
    configure_login("b.", "writer", "secret-wrong");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "refuse the login", "password file");
    configure_login("b.", "writer", "secret-w");
    assert_int_equal(event_sink_reopen(sink, NULL), CQ_OK); /* as after a SIGHUP */
    assert_delivers(sink, "b.");
    event_sink_close(&sink);
}

static void a_user_without_the_right_is_told_and_mended_by_giving_it(void **state)
{
    (void)state;
    make_topics("c.");
    configure_login("c.", "stranger", "secret-s");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "c.mail.delivery.v1", "give it");
    fixture_allow("stranger", "c.", RD_KAFKA_ACL_OPERATION_WRITE);
    assert_delivers(sink, "c.");
    event_sink_close(&sink);
}

static void scram_at_a_broker_that_refuses_ours_is_told_with_the_way_out(void **state)
{
    (void)state;
    if (scram_works())
        return; /* the other tests log in by it */
    make_topics("h.");
    configure_login_by("SCRAM-SHA-512", "h.", "writer", "secret-w");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "refuse the login", "mechanism: PLAIN");
    event_sink_close(&sink);
}

/* May look, may not write. */
static void a_reader_that_may_not_write_is_told(void **state)
{
    (void)state;
    make_topics("d.");
    fixture_allow("stranger", "d.", RD_KAFKA_ACL_OPERATION_READ);
    configure_login("d.", "stranger", "secret-s");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "d.mail.delivery.v1", "give it");
    event_sink_close(&sink);
}

static void a_broker_of_another_ca_is_told(void **state)
{
    (void)state;
    configure(L_CERTIFICATE, "e.", "other-ca.pem", "}");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "TLS with the brokers fails", "is not from events.kafka.tls.ca");
    event_sink_close(&sink);
}

static void an_expired_certificate_of_the_broker_is_told(void **state)
{
    (void)state;
    configure(L_EXPIRED, "f.", "ca.pem", "}");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "TLS with the brokers fails", "the broker's certificate has expired");
    event_sink_close(&sink);
}

static void configure_certificate(const char *prefix, const char *name)
{
    char more[256];
    snprintf(more, sizeof more, ", cert: %s/%s.crt, key: %s/%s.key}", fixture_dir, name, fixture_dir, name);
    configure(L_CERTIFICATE, prefix, "ca.pem", more);
}

static void an_expired_certificate_of_ours_is_told_and_mended_by_a_new_one(void **state)
{
    (void)state;
    make_topics("g.");
    fixture_allow("CN=client", "g.", RD_KAFKA_ACL_OPERATION_WRITE);
    fixture_run_line("cd %s && cp old-client.crt used.crt && cp old-client.key used.key", fixture_dir);
    configure_certificate("g.", "used");
    struct event_sink *sink = fixture_sink();
    assert_fails(sink, "TLS with the brokers fails", "dates of the certificates");
    fixture_run_line("cd %s && cp client.crt used.crt && cp client.key used.key", fixture_dir);
    assert_int_equal(event_sink_reopen(sink, NULL), CQ_OK); /* as after a SIGHUP */
    assert_delivers(sink, "g.");
    event_sink_close(&sink);
}

/* ---- One broker for all ---- */

static int group_setup(void **state)
{
    (void)state;
    static char more[4096];
    int controller = fixture_free_port();
    fixture_port = fixture_free_port();
    for (int i = 0; i < L_COUNT; i++)
        ports[i] = fixture_free_port();
    snprintf(fixture_dir, sizeof fixture_dir, "/tmp/chasqui-kafka-XXXXXX");
    assert_non_null(mkdtemp(fixture_dir));
    snprintf(password_path, sizeof password_path, "%s/password", fixture_dir);
    fixture_run_line(CHASQUI_SOURCE_DIR "/tests/support/kafka/certs %s", fixture_dir);
    snprintf(more, sizeof more, properties, fixture_port, controller, ports[0], ports[1], ports[2], fixture_port,
             ports[0], ports[1], ports[2], controller, fixture_dir, fixture_dir, fixture_dir);
    fixture_start(more, "writer:secret-w stranger:secret-s");
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    return fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_password_over_tls_delivers),
        cmocka_unit_test(a_wrong_password_is_told_and_mended_by_a_new_one),
        cmocka_unit_test(a_user_without_the_right_is_told_and_mended_by_giving_it),
        cmocka_unit_test(scram_at_a_broker_that_refuses_ours_is_told_with_the_way_out),
        cmocka_unit_test(a_reader_that_may_not_write_is_told),
        cmocka_unit_test(a_broker_of_another_ca_is_told),
        cmocka_unit_test(an_expired_certificate_of_the_broker_is_told),
        cmocka_unit_test(an_expired_certificate_of_ours_is_told_and_mended_by_a_new_one),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
