chasqui_unit_test(rpc/rpc_frame DEPS cq_rpc)
chasqui_unit_test(rpc/rpc_role DEPS cq_rpc)
chasqui_unit_test(rpc/rpc_hello DEPS cq_rpc)

