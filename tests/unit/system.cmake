chasqui_unit_test(system/system_machine DEPS cq_system)
