/* CRC-32C by the processor's instructions, for RocksDB.
 *
 * RocksDB sums every record of its write-ahead log, every blob and every table block with CRC-32C. Debian's library is
 * built for any x86-64 and does it by tables. It calls its own public function for that, rocksdb::crc32c::Extend,
 * through the table where a program may put another one: store_crc32c.c defines it with the same result. On other
 * processors nothing changes. */
#ifndef STORE_CRC32C_H
#define STORE_CRC32C_H

#include <stdbool.h>

/* Whether the instructions are used. A reference to it makes the linker take the module with the function. */
bool store_crc32c_is_fast(void);

#endif
