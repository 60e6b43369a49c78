foreach(name address charset date fold header index param subject transfer word)
  chasqui_unit_test(mail/mail_${name} DEPS cq_mail)
endforeach()
