chasqui_unit_test(frontend/imap_talk DEPS cq_imap_fixture)
target_compile_definitions(test_imap_talk PRIVATE TALK_FOLDER="${CMAKE_SOURCE_DIR}/tests/imap")
chasqui_unit_test(frontend/imap_sessions DEPS cq_imap_fixture)
