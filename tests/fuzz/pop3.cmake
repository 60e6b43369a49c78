chasqui_fuzz_target(pop3_command DEPS cq_pop3)
