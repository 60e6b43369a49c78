chasqui_unit_test(state/mailstore_local DEPS cq_mailstore_local)
chasqui_unit_test(state/mail_model SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/state/mail_model.c DEPS cq_test_shard)
