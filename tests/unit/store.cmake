chasqui_unit_test(store/store_mem SOURCES ${CMAKE_CURRENT_LIST_DIR}/store/store_suite.c DEPS cq_store)
chasqui_unit_test(store/store_rocksdb SOURCES ${CMAKE_CURRENT_LIST_DIR}/store/store_suite.c DEPS cq_store_rocksdb)
