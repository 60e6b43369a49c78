# The sources of the suite that every backend of the directory must pass.
set(dir_suite suite.c suite_account.c suite_credential.c suite_lasting.c suite_resolve.c)
list(TRANSFORM dir_suite PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
