chasqui_fuzz_target(raft_wire DEPS cq_raft)
target_include_directories(fuzz_raft_wire PRIVATE ${CMAKE_SOURCE_DIR}/storage-node/raft)
