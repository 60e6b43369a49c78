set(node_fakes ${CMAKE_CURRENT_LIST_DIR}/node/fake_machine.c)
chasqui_unit_test(node/writer DEPS cq_node)
chasqui_unit_test(node/apply SOURCES ${node_fakes} DEPS cq_node)
chasqui_unit_test(node/data_dir DEPS cq_node)
