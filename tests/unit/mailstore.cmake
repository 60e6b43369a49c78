chasqui_unit_test(mailstore/uidset DEPS cq_mailstore)
chasqui_unit_test(mailstore/fetch_record DEPS cq_mailstore)
chasqui_unit_test(mailstore/body_cache DEPS cq_mailstore)
chasqui_unit_test(mailstore/mailstore DEPS cq_mailstore)

chasqui_unit_test(mailstore/mailstore_rpc SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/rpc/rpc_fixture.c
  DEPS cq_mailstore_rpc)
target_compile_definitions(test_mailstore_rpc PRIVATE CHASQUI_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
