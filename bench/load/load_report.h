/* The last line of a run: one JSON object. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stdio.h>

#include "load_run.h"

void load_report(const struct load_run *run, FILE *out);

#endif
