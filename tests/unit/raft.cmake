set(raft_samples ${CMAKE_CURRENT_LIST_DIR}/raft/raft_samples.c)
foreach(name raft_log_format raft_wire)
  chasqui_unit_test(raft/${name} SOURCES ${raft_samples} DEPS cq_raft)
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/storage-node/raft) # private headers
endforeach()
foreach(name raft_host raft_host_copied raft_host_lead raft_host_members)
  chasqui_unit_test(raft/${name} SOURCES ${CMAKE_CURRENT_LIST_DIR}/raft/raft_story.c DEPS sim_core)
endforeach()
chasqui_unit_test(raft/raft_progress DEPS cq_raft)
