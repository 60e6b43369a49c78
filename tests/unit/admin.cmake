chasqui_unit_test(io/admin_http DEPS cq_admin)
