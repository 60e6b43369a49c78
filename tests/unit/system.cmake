foreach(name system_machine system_init system_nodes system_versions system_moves)
  chasqui_unit_test(system/${name} SOURCES ${CMAKE_CURRENT_LIST_DIR}/system/system_rig.c DEPS cq_system)
endforeach()
chasqui_unit_test(system/system_golden DEPS cq_system)
target_compile_definitions(test_system_golden PRIVATE GOLDEN_FOLDER="${CMAKE_SOURCE_DIR}/tests/golden")
# The same by the build with one command version more.
add_executable(test_system_golden_next ${CMAKE_CURRENT_LIST_DIR}/system/test_system_golden.c
  ${CMAKE_SOURCE_DIR}/tests/upgrade/command_version_next.c)
target_include_directories(test_system_golden_next PRIVATE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(test_system_golden_next PRIVATE cq_system dep::cmocka)
target_compile_definitions(test_system_golden_next PRIVATE GOLDEN_FOLDER="${CMAKE_SOURCE_DIR}/tests/golden")
set_target_properties(test_system_golden_next PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
add_test(NAME unit/system/system_golden_next COMMAND test_system_golden_next)
set_tests_properties(unit/system/system_golden_next PROPERTIES TIMEOUT 300 LABELS unit)
