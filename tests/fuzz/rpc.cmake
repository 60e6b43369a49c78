chasqui_fuzz_target(rpc_frame DEPS cq_rpc)
