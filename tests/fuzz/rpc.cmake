chasqui_fuzz_target(rpc_frame DEPS cq_rpc)
chasqui_fuzz_target(topology DEPS cq_cluster)
chasqui_fuzz_target(rpc_hello DEPS cq_rpc)
