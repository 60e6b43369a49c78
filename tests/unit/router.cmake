chasqui_unit_test(router/routes DEPS cq_router)
