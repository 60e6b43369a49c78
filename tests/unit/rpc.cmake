chasqui_unit_test(rpc/rpc_frame DEPS cq_rpc)
chasqui_unit_test(rpc/rpc_role DEPS cq_rpc)
chasqui_unit_test(rpc/rpc_node_name DEPS cq_rpc)
chasqui_unit_test(rpc/rpc_hello DEPS cq_rpc)

# Conversations over loopback TLS; the certificates are made by deploy/make-certs.
foreach(name rpc_calls rpc_links rpc_streams rpc_access rpc_wire)
  chasqui_unit_test(rpc/${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/rpc/rpc_fixture.c DEPS cq_rpc)
  target_compile_definitions(test_${name} PRIVATE CHASQUI_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endforeach()
foreach(name rpc_calls rpc_links rpc_streams)
  target_sources(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/rpc/rpc_methods.c)
endforeach()
