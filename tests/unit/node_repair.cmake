chasqui_unit_test(node/sync_mark DEPS cq_node)
chasqui_unit_test(node/amnesia DEPS cq_node)
chasqui_unit_test(node/peer_admission DEPS cq_node)
