# Every library that we use, as an imported target dep::NAME. Their headers are system headers.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(chasqui_pkg name module)
  pkg_check_modules(DEP_${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  add_library(dep::${name} ALIAS PkgConfig::DEP_${name})
endfunction()

chasqui_pkg(openssl "openssl>=3.0")
chasqui_pkg(yaml yaml-0.1)
chasqui_pkg(microhttpd libmicrohttpd)
chasqui_pkg(jansson jansson)
chasqui_pkg(sodium libsodium)
chasqui_pkg(sqlite3 sqlite3)
chasqui_pkg(libpq libpq)
chasqui_pkg(protobuf-c libprotobuf-c)
chasqui_pkg(xxhash libxxhash)
chasqui_pkg(idn2 libidn2)
chasqui_pkg(cmocka cmocka)
chasqui_pkg(rocksdb "rocksdb>=7.0")

# Those without a pkg-config file in Debian.
function(chasqui_plain name header)
  find_path(DEP_${name}_INCLUDE ${header} REQUIRED)
  find_library(DEP_${name}_LIBRARY ${name} REQUIRED)
  add_library(dep_${name} INTERFACE)
  target_include_directories(dep_${name} SYSTEM INTERFACE ${DEP_${name}_INCLUDE})
  target_link_libraries(dep_${name} INTERFACE ${DEP_${name}_LIBRARY} m)
  add_library(dep::${name} ALIAS dep_${name})
endfunction()

chasqui_plain(ev ev.h)
chasqui_plain(unistring unistr.h)
chasqui_plain(roaring roaring/roaring.h)

# libraft 0.22.1, static: the archive needs no libuv for the step function alone (docs/raft.md).
find_path(RAFT_INCLUDE raft.h REQUIRED)
find_library(RAFT_ARCHIVE libraft.a REQUIRED)
file(STRINGS ${RAFT_INCLUDE}/raft.h RAFT_HAS_STEP REGEX "raft_step")
if(NOT RAFT_HAS_STEP)
  message(FATAL_ERROR "${RAFT_INCLUDE}/raft.h is not libraft 0.22.1 (no raft_step). Run deploy/install-deps.")
endif()
add_library(dep_raft INTERFACE)
target_include_directories(dep_raft SYSTEM INTERFACE ${RAFT_INCLUDE})
target_link_libraries(dep_raft INTERFACE ${RAFT_ARCHIVE})
add_library(dep::raft ALIAS dep_raft)

find_program(PROTOC_C protoc-c REQUIRED)
