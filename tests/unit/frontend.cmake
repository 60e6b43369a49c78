add_library(front_bench STATIC ${CMAKE_SOURCE_DIR}/tests/unit/frontend/front_bench.c)
target_include_directories(front_bench PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(front_bench PUBLIC cq_front_core cq_mailstore_local dep::cmocka)

chasqui_unit_test(frontend/smtp_session DEPS cq_front_smtp front_bench)
chasqui_unit_test(frontend/pop3_session DEPS cq_front_pop3 front_bench)
chasqui_unit_test(frontend/front_limits DEPS cq_front_pop3 front_bench)
chasqui_unit_test(frontend/reconcile DEPS cq_front_admin front_bench)
chasqui_unit_test(frontend/front_revoke DEPS front_bench)
