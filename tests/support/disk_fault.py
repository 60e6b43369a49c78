"""The control side of disk_fault.c: one object per process whose disk is to get into trouble.

    fault = DiskFault(build_dir, "/some/folder/node-1")     # names the control file
    start the process with {**os.environ, **fault.environment()}
    fault.set("stall sync data-1/")                          # rules: see disk_fault.c
    fault.wait_hit("stall")
    fault.clear()
"""

import os
import time


class DiskFault:
    def __init__(self, build_dir, control):
        self.library = os.path.join(os.path.abspath(build_dir), "tests", "disk_fault.so")
        self.control = os.path.abspath(control)

    def environment(self):
        return {"LD_PRELOAD": self.library, "CHASQUI_TEST_DISK_FAULT": self.control}

    def set(self, *rules):
        """These rules, and no other, from now on; their counts begin at 0."""
        with open(self.control + ".new", "w") as f:
            f.write("".join(rule + "\n" for rule in rules))
        os.replace(self.control + ".new", self.control)

    def clear(self):
        self.set()

    def hits(self, word=""):
        """Lines "PID KIND CALL PATH" of the calls that were harmed so far; only those with this word in them."""
        try:
            with open(self.control + ".hits") as f:
                return [line.strip() for line in f if word in line]
        except FileNotFoundError:
            return []

    def wait_hit(self, word="", more_than=0, timeout=120):
        until = time.monotonic() + timeout
        while len(self.hits(word)) <= more_than:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.control}: no call was harmed ({word or 'any'}) in {timeout} s")
            time.sleep(0.01)
