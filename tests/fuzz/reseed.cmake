chasqui_fuzz_target(reseed_page DEPS cq_reseed)
