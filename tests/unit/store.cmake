chasqui_unit_test(store/store_mem SOURCES ${CMAKE_CURRENT_LIST_DIR}/store/store_suite.c DEPS cq_store)
chasqui_unit_test(store/store_rocksdb SOURCES ${CMAKE_CURRENT_LIST_DIR}/store/store_suite.c DEPS cq_store_rocksdb)
chasqui_unit_test(store/body_damage DEPS cq_store_rocksdb cq_state)
