chasqui_fuzz_target(io_proxy DEPS cq_io)
