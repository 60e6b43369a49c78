/* Ends live sessions that may not go on: the account was disabled or deleted, the service switched off, the password
 * changed, the app password revoked or at its end. A front-end follows the directory's feed of changes and asks
 * auth_session_check for every log-in of an account that changed. Promised: within 30 s on every front-end that reaches
 * the directory; a round every 2 s makes it 5 s as a rule.
 *
 * What makes it hold: a change whose check could not be answered ("later") is looked at again in the next round; a lost
 * feed means a look at everybody; a log-in looks at the row once more after its session is on the list (front_login.c),
 * so a change falls either before that look or after, when the feed finds the session; and a session that was told to
 * end and has not, because its client is in the middle of a long upload or reads nothing, is cut off.
 *
 * A directory that is down ends nobody's session. */
#ifndef FRONT_REVOKE_H
#define FRONT_REVOKE_H

#include "core/front_workers.h"

#define FRONT_REVOKE_CUT_US (UINT64_C(10) * 1000000) /* from "please end" to cutting off, kicked sessions too */

struct front_revoke;

/* Borrows all of it. The workers' sessions are visited on their own threads. */
struct front_revoke *front_revoke_new(struct directory *directory, struct auth *auth,
                                      const struct front_workers *workers);
void front_revoke_free(struct front_revoke **revoke);

/* One look at the feed and at what it names; the first one only notes where the feed ends. On a fiber. */
void front_revoke_round(struct front_revoke *revoke);

/* Until the next round is due: at most so long, sooner when the directory hints at a change. CQ_OK or CQ_E_CANCELLED.
 */
enum cq_rc front_revoke_wait(struct front_revoke *revoke, uint64_t most_ms);

#endif
