chasqui_fuzz_target(call_entry DEPS cq_node)
