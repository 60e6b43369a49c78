chasqui_unit_test(limits/gcra DEPS cq_limits)
chasqui_unit_test(limits/lease_table DEPS cq_limits)
chasqui_unit_test(limits/quota_client DEPS cq_quota)
chasqui_unit_test(quota-service/quota_state DEPS cq_quota_service)
chasqui_unit_test(quota-service/quota_hot DEPS cq_quota_service)

# Front-ends and the service over loopback TLS.
chasqui_unit_test(quota-service/quota_rpc
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/rpc/rpc_fixture.c DEPS cq_quota_service cq_quota)
target_compile_definitions(test_quota_rpc PRIVATE CHASQUI_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
chasqui_unit_test(redis/redis_reader DEPS cq_redis)
