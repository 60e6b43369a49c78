chasqui_unit_test(mailstore/uidset DEPS cq_mailstore)
chasqui_unit_test(mailstore/fetch_record DEPS cq_mailstore)
chasqui_unit_test(mailstore/mailstore DEPS cq_mailstore)
