# cmake -DOUT=file.c -DFILES="a.sql;b.sql" -P EmbedSql.cmake: the migrations as bytes of the program.
set(arrays "")
set(rows "")
set(n 0)
foreach(file ${FILES})
  math(EXPR n "${n} + 1")
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char sql_${n}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", sql_${n}, sizeof sql_${n} - 1},\n")
endforeach()
file(WRITE ${OUT} "#include \"directory/dir_pg_schema.h\"\n\n${arrays}\n"
  "const struct dir_pg_migration dir_pg_migrations[] = {\n${rows}};\n"
  "const size_t dir_pg_migration_count = ${n};\n")
