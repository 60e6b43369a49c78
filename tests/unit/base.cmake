chasqui_unit_test(base/cq_buf DEPS cq_base)
chasqui_unit_test(base/cq_slice DEPS cq_base)
