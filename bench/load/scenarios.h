/* What each scenario does is told at the top of its file, and for people in bench/README.md. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "load_run.h"

void scenario_delivery(struct load_session *session);
void scenario_e2e(struct load_session *session);
void scenario_mix(struct load_session *session);
void scenario_commands(struct load_session *session);
void scenario_login(struct load_session *session);
void scenario_idle(struct load_session *session);
void scenario_pop3(struct load_session *session);
void scenario_seed(struct load_session *session);
void scenario_writes(struct load_session *session);

#endif
