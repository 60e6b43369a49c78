/* The protocols that clients speak. */
#ifndef FRONT_PROTOCOL_H
#define FRONT_PROTOCOL_H

#define FRONT_PROTOCOLS(X)                                                                                             \
    X(FRONT_IMAP, "imap")                                                                                              \
    X(FRONT_POP3, "pop3")                                                                                              \
    X(FRONT_SMTP, "smtp")                                                                                              \
    X(FRONT_SUBMISSION, "submission")                                                                                  \
    X(FRONT_LMTP, "lmtp")

enum front_protocol {
#define FRONT_PROTOCOL_ENUM(name, text) name,
    FRONT_PROTOCOLS(FRONT_PROTOCOL_ENUM)
#undef FRONT_PROTOCOL_ENUM
        FRONT_PROTOCOL_COUNT
};
const char *front_protocol_name(enum front_protocol protocol);

#endif
