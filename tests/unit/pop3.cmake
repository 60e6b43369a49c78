chasqui_unit_test(pop3/pop3_command DEPS cq_pop3)
