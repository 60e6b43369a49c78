chasqui_fuzz_target(redis_reader DEPS cq_redis)
