chasqui_fuzz_target(smtp_command DEPS cq_smtp)
chasqui_fuzz_target(smtp_data DEPS cq_smtp)
