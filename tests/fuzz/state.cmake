chasqui_fuzz_target(entry DEPS cq_state)
chasqui_fuzz_target(mail_apply DEPS cq_state)
