chasqui_unit_test(limits/gcra DEPS cq_limits)
chasqui_unit_test(limits/lease_table DEPS cq_limits)
