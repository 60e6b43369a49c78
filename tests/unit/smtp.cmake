chasqui_unit_test(smtp/smtp_command DEPS cq_smtp)
chasqui_unit_test(smtp/smtp_data DEPS cq_smtp)
chasqui_unit_test(smtp/smtp_path DEPS cq_smtp)
