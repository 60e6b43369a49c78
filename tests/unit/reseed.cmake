set(reseed_rig ${CMAKE_CURRENT_LIST_DIR}/reseed/reseed_rig.c ${CMAKE_CURRENT_LIST_DIR}/reseed/reseed_suite.c
    ${CMAKE_CURRENT_LIST_DIR}/reseed/check_suite.c)
chasqui_unit_test(reseed/reseed_mem SOURCES ${reseed_rig} DEPS cq_reseed cq_test_shard)
chasqui_unit_test(reseed/reseed_rocksdb SOURCES ${reseed_rig} DEPS cq_reseed cq_test_shard cq_store_rocksdb)
foreach(name reseed_mem reseed_rocksdb)
  target_include_directories(test_${name} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/reseed)
endforeach()
chasqui_unit_test(reseed/chunk_sweep DEPS cq_reseed cq_store_rocksdb)
