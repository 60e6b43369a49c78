set(raft_samples ${CMAKE_CURRENT_LIST_DIR}/raft/raft_samples.c)
foreach(name raft_log_format raft_wire)
  chasqui_unit_test(raft/${name} SOURCES ${raft_samples} DEPS cq_raft)
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/storage-node/raft) # private headers
endforeach()
chasqui_unit_test(raft/raft_host DEPS sim_core)
chasqui_unit_test(raft/raft_progress DEPS cq_raft)
