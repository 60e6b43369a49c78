chasqui_unit_test(bench/load_histogram DEPS bench_load)
chasqui_unit_test(bench/load_message DEPS bench_load cq_mail)
chasqui_unit_test(bench/load_scan DEPS bench_load)
