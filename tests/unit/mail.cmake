foreach(name address charset date dsn fold header html index match param render section subject summary transfer word write)
  chasqui_unit_test(mail/mail_${name} DEPS cq_mail)
endforeach()
