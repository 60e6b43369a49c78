chasqui_unit_test(router/routes DEPS cq_router)
chasqui_unit_test(router/router SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/rpc/rpc_fixture.c DEPS cq_router)
target_compile_definitions(test_router PRIVATE CHASQUI_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
