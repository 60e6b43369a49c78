# For the tests of everybody who speaks over connections: owners that write down what they are told, certificates.
add_library(cq_test_io STATIC ${CMAKE_CURRENT_LIST_DIR}/io/io_peer.c ${CMAKE_CURRENT_LIST_DIR}/io/test_certs.c)
target_include_directories(cq_test_io PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(cq_test_io PUBLIC cq_io dep::openssl dep::cmocka)

chasqui_unit_test(io/io_conn DEPS cq_test_io)
chasqui_unit_test(io/io_fiber DEPS cq_io)
chasqui_unit_test(io/io_listener DEPS cq_test_io)
chasqui_unit_test(io/io_loop DEPS cq_io)
chasqui_unit_test(io/io_net DEPS cq_io)
chasqui_unit_test(io/io_proxy DEPS cq_io)
chasqui_unit_test(io/io_sync DEPS cq_io)
chasqui_unit_test(io/io_tls DEPS cq_test_io)
