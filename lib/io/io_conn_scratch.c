#include "io/io_loop_private.h"

void io_conn_scratch_free(struct io_conn_scratch **scratch)
{
    *scratch = NULL;
}
