/* Logging in, for every protocol: the gate's limits, the password, the account's connection count, the log line. */
#ifndef FRONT_LOGIN_H
#define FRONT_LOGIN_H

#include "core/front_session.h"

/* On a fiber. CQ_OK: the session is identified. CQ_E_AUTH: unknown user or wrong password, one answer for both;
 * CQ_E_DENIED: the account may not use this service; CQ_E_RATE: too many attempts; CQ_E_LIMIT: too many connections of
 * this account; others: later. `login` and `password` are borrowed and never logged (the name is, cut and escaped). */
enum cq_rc front_login(struct front_session *session, enum dir_service service, const char *mechanism,
                       struct cq_slice login, struct cq_slice password, struct cq_err *err);

/* SASL PLAIN's message (RFC 4616): [authzid] NUL authcid NUL passwd. False: malformed, or an authzid that is not the
 * authcid. Slices point into `message`. */
bool front_sasl_plain(struct cq_slice message, struct cq_slice *login_r, struct cq_slice *password_r);

#endif
