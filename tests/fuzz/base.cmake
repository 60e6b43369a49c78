chasqui_fuzz_target(cq_config DEPS cq_base)
chasqui_fuzz_target(cq_text DEPS cq_base)
