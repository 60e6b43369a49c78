foreach(name index summary address word date section text)
  chasqui_fuzz_target(mail_${name} DEPS cq_mail)
endforeach()
