chasqui_fuzz_target(event_encode DEPS cq_events)
chasqui_fuzz_target(event_line DEPS cq_events)
