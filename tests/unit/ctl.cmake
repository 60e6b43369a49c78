chasqui_unit_test(ctl/ctl_parse
  SOURCES ${CMAKE_SOURCE_DIR}/ctl/ctl_help.c ${CMAKE_SOURCE_DIR}/ctl/ctl_man.c ${CMAKE_SOURCE_DIR}/ctl/ctl_parse.c
          ${CMAKE_SOURCE_DIR}/ctl/ctl_rpc.c
  DEPS cq_admin_commands cq_rpc cq_io cq_base)
target_include_directories(test_ctl_parse PRIVATE ${CMAKE_SOURCE_DIR}/ctl)

chasqui_unit_test(ctl/ctl_lines
  SOURCES ${CMAKE_SOURCE_DIR}/ctl/ctl_lines.c
  DEPS cq_admin_commands cq_rpc cq_io cq_base)
target_include_directories(test_ctl_lines PRIVATE ${CMAKE_SOURCE_DIR}/ctl)
