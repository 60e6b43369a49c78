chasqui_unit_test(directory/dir_address DEPS cq_directory)
chasqui_unit_test(directory/dir_cache DEPS cq_directory)
chasqui_unit_test(directory/dir_sqlite SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/directory/suite.c DEPS cq_directory)
chasqui_unit_test(directory/auth DEPS cq_directory)
