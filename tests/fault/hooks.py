"""The storage node's fault variant (chasqui-storage-node-fault): failpoints, armed through a file that it maps, and
planted bugs. The names are read from the tables in lib/base."""

import os
import re
import struct

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = "chasqui-storage-node-fault"
ROW = struct.Struct("<iI")


def table(header):
    with open(os.path.join(TOP, "lib/base", header)) as f:
        return re.findall(r'^    X\(\w+, "([a-z-]+)"', f.read(), re.M)


FAILPOINTS = table("cq_failpoint.h")
PLANTS = [name for name in table("cq_planted.h") if name != "none"]
AT_START = ("file-written", "file-renamed", "file-synced", "store-opened", "start-counted")


class Hooks:
    """The file of one process."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(4096))

    def environment(self):
        return {"CHASQUI_TEST_FAILPOINTS": self.path}

    def arm(self, point, count):
        """The process ends when it passes there for the count-th time from now on; 0: never."""
        with open(self.path, "r+b", buffering=0) as f:
            f.seek(FAILPOINTS.index(point) * ROW.size)
            f.write(struct.pack("<i", count))

    def passed(self, point):
        with open(self.path, "rb") as f:
            f.seek(FAILPOINTS.index(point) * ROW.size)
            return ROW.unpack(f.read(ROW.size))[1]
