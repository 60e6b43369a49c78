# The few kinds of target that this project has.

# chasqui_library(base SOURCES ... DEPS ...): static library cq_NAME. Headers are included by their
# folder ("base/cq_slice.h"); lib/ is on the path of everybody.
function(chasqui_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(cq_${name} STATIC ${A_SOURCES})
  target_include_directories(cq_${name} PUBLIC ${CMAKE_SOURCE_DIR}/lib PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(cq_${name} PUBLIC ${A_DEPS})
endfunction()

# chasqui_program(chasqui-router SOURCES ... DEPS ...): what operators run; the target `programs` is all of them.
# With TOOL it is for developers: neither installed nor in `programs`.
add_custom_target(programs)
function(chasqui_program name)
  cmake_parse_arguments(A "TOOL" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${A_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  if(NOT A_TOOL)
    add_dependencies(programs ${name})
    install(TARGETS ${name})
  endif()
endfunction()

# chasqui_unit_test(base/cq_slice DEPS cq_base): tests/unit/base/test_cq_slice.c, a cmocka program.
function(chasqui_unit_test path)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  get_filename_component(dir ${path} DIRECTORY)
  get_filename_component(base ${path} NAME)
  add_executable(test_${base} ${CMAKE_SOURCE_DIR}/tests/unit/${dir}/test_${base}.c ${A_SOURCES})
  target_include_directories(test_${base} PRIVATE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(test_${base} PRIVATE ${A_DEPS} dep::cmocka)
  set_target_properties(test_${base} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
  add_test(NAME unit/${path} COMMAND test_${base})
  set_tests_properties(unit/${path} PROPERTIES TIMEOUT 300 LABELS unit)
endfunction()

# chasqui_fuzz_target(imap_parser DEPS cq_imap): tests/fuzz/fuzz_imap_parser.c and seeds in
# tests/fuzz/seeds/imap_parser/. Without clang's fuzzer the target is built with a main that
# replays files, so that every build compiles it and the unit set replays its seeds.
function(chasqui_fuzz_target name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c ${A_SOURCES})
  target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/lib ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(fuzz_${name} PRIVATE ${A_DEPS})
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  if(NOT TARGET fuzz_all)
    add_custom_target(fuzz_all)
  endif()
  add_dependencies(fuzz_all fuzz_${name})
  if(CHASQUI_FUZZ)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    add_test(NAME fuzz-seeds/${name} COMMAND fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/seeds/${name})
    set_tests_properties(fuzz-seeds/${name} PROPERTIES TIMEOUT 120 LABELS unit)
  endif()
endfunction()

# chasqui_proto(NAME FILES...): library proto_NAME from proto/*.proto.
function(chasqui_proto name)
  set(sources)
  foreach(file ${ARGN})
    get_filename_component(stem ${file} NAME_WE)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/gen/proto/${stem}.pb-c)
    add_custom_command(OUTPUT ${out}.c ${out}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/gen
      COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${CMAKE_CURRENT_BINARY_DIR}/gen
              ${CMAKE_SOURCE_DIR}/proto/${file}
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${file} VERBATIM)
    list(APPEND sources ${out}.c ${out}.h)
  endforeach()
  add_library(proto_${name} STATIC ${sources})
  target_compile_options(proto_${name} PRIVATE -w)
  target_include_directories(proto_${name} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR}/gen)
  target_link_libraries(proto_${name} PUBLIC dep::protobuf-c)
endfunction()

# chasqui_reference(chasqui-router): the program's --print-docs goes into docs/reference (target `reference` writes it,
# the unit test docs/reference fails when it is stale).
function(chasqui_reference)
  set_property(GLOBAL APPEND PROPERTY CHASQUI_REFERENCE ${ARGN})
endfunction()
