chasqui_unit_test(cluster/ring DEPS cq_cluster)
chasqui_unit_test(cluster/topology DEPS cq_cluster)
chasqui_unit_test(cluster/placement DEPS cq_cluster)
