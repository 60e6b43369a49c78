chasqui_unit_test(events/event_encode DEPS cq_events dep::jansson)
chasqui_unit_test(events/event_file DEPS cq_events)
