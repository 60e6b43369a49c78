#!/usr/bin/env python3
"""disk_fault.c does what its head says: a child writes, syncs, reads and opens a file while rules come and go.

    tests/support/disk_fault_test.py BUILD_DIR"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

from disk_fault import DiskFault

CHILD = """
import os, sys, time
fd = os.open(sys.argv[1] + "/data-x.log", os.O_RDWR | os.O_CREAT)
calls = {"sync": lambda: os.fdatasync(fd), "write": lambda: os.pwrite(fd, b"abcdef", 0),
         "read": lambda: os.pread(fd, 6, 0).decode(),
         "open": lambda: os.open(sys.argv[1] + "/data-y", os.O_CREAT | os.O_WRONLY) > 0}
for line in sys.stdin:
    began = time.monotonic()
    try:
        result = calls[line.strip()]()
    except OSError as e:
        result = e.strerror
    print(result, "late" if time.monotonic() - began > 0.25 else "", flush=True)
"""


class Child:
    def __init__(self, folder, fault):
        self.fault = fault
        self.process = subprocess.Popen([sys.executable, "-c", CHILD, folder], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, env={**os.environ, **fault.environment()})

    def begin(self, call):
        print(call, file=self.process.stdin, flush=True)

    def end(self):
        return self.process.stdout.readline().strip()

    def do(self, *calls):
        results = []
        for call in calls:
            self.begin(call)
            results.append(self.end())
        return results

    def rules(self, *rules):
        self.fault.set(*rules)
        time.sleep(0.05)  # it looks every few milliseconds


def main():
    folder = tempfile.mkdtemp(prefix="chasqui-disk-fault.")
    child = Child(folder, DiskFault(sys.argv[1], folder + "/control"))
    eio, full = "Input/output error", "No space left on device"
    cases = [
        ([], ["write", "sync", "read", "open"], ["6", "None", "abcdef", "True"]),
        (["eio sync .log times=1"], ["write", "sync", "sync"], ["6", eio, "None"]),
        (["eio sync .log after=1"], ["sync", "sync", "sync"], ["None", eio, eio]),
        (["eio sync data-y"], ["sync"], ["None"]),
        (["enospc write *"], ["write", "read"], [full, "abcdef"]),
        (["short write,read data-"], ["write", "read"], ["3", "abc"]),
        (["flip read data-"], ["read", "write"], ["`bcdef", "6"]),
        (["eio open data-y", "enospc all data-x"], ["open", "write"], [eio, full]),
        (["# nothing", ""], ["sync"], ["None"]),
    ]
    failed = 0
    for rules, calls, expected in cases:
        child.rules(*rules)
        seen = [result.replace(" late", "") for result in child.do(*calls)]
        if seen != expected:
            failed += 1
            print(f"FAILED  {rules} {calls}: {seen}, not {expected}")
    child.rules("delay write * ms=300")
    if child.do("write") != ["6 late"]:
        failed += 1
        print("FAILED  a delayed call is late")
    child.rules("stall sync data-x")
    child.begin("sync")
    child.fault.wait_hit("stall fdatasync")
    time.sleep(0.3)
    child.fault.clear()
    if child.end() != "None late":
        failed += 1
        print("FAILED  a stalled call goes on when the rule is gone")
    if len(child.fault.hits("eio fdatasync")) != 3:
        failed += 1
        print(f"FAILED  hits: {child.fault.hits()}")
    child.process.stdin.close()
    child.process.wait()
    shutil.rmtree(folder)
    print(f"{len(cases) + 3 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
