# Language, warnings, build types, sanitizers.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(CHASQUI_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")
option(CHASQUI_FUZZ "Build the fuzz targets (needs clang)" OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_C_FLAGS_DEV "-O1 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g") # assertions stay: our own state being wrong stops the process

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 CHASQUI_VERSION="${PROJECT_VERSION}")
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Werror -fno-omit-frame-pointer -fstack-protector-strong)
if(CMAKE_C_COMPILER_ID STREQUAL GNU)
  add_compile_options(-Wno-format-truncation) # log texts are cut on purpose; other lengths are checked
endif()
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(CMAKE_BUILD_TYPE STREQUAL Release)
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()

if(CHASQUI_SANITIZE)
  add_compile_options(-fsanitize=${CHASQUI_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CHASQUI_SANITIZE})
endif()
if(CHASQUI_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
