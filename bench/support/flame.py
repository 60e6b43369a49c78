"""Where the processor time goes while a scenario is measured: perf's samples of the server's processes as a flame graph
(SVG) and as a table of the functions that are seen most. Libraries built without frame pointers cut their callers off."""

import collections
import hashlib
import html
import os
import signal
import subprocess
import tempfile

WIDTH, ROW, FREQUENCY = 1400, 17, 499


class Profile:
    """begin() and end() are called around each measured time; samples of all of them are added up."""

    def __init__(self, role=None):
        self.role, self.stacks, self.recorder = role, collections.Counter(), None

    def begin(self, server):
        pids = [str(p) for p in server.roots if not self.role or server.names.get(p) == self.role]
        handle, self.data = tempfile.mkstemp(prefix="bench-perf.")
        os.close(handle)
        self.recorder = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g", "-p", ",".join(pids),
                                          "-o", self.data], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)

    def end(self):
        self.recorder.send_signal(signal.SIGINT)
        self.recorder.wait()
        text = subprocess.run(["perf", "script", "-i", self.data, "-F", "comm,ip,sym"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        os.unlink(self.data)
        self._add(text)

    def _add(self, text):
        for block in text.split("\n\n"):
            lines = [line for line in block.splitlines() if line.strip()]
            if not lines:
                continue
            frames = [line.split(None, 1)[1].split("+0x")[0] if len(line.split(None, 1)) > 1 else "?" for line in lines[1:]]
            self.stacks[(lines[0].strip(),) + tuple(reversed(frames))] += 1

    def total(self):
        return sum(self.stacks.values())

    def top(self, count=20):
        """Two lists of (function, share of the samples): in which it runs itself, and in which it is on the stack."""
        anywhere, itself = collections.Counter(), collections.Counter()
        for stack, n in self.stacks.items():
            itself[stack[-1]] += n
            for frame in set(stack):
                anywhere[frame] += n
        total = self.total() or 1
        return [[(f, n / total) for f, n in c.most_common(count)] for c in (itself, anywhere)]

    def svg(self, title):
        root = {"name": "all", "n": 0, "below": {}}
        for stack, n in self.stacks.items():
            at = root
            at["n"] += n
            for frame in stack:
                at = at["below"].setdefault(frame, {"name": frame, "n": 0, "below": {}})
                at["n"] += n
        boxes, deepest = [], 0
        waiting = [(root, 0.0, 0)]
        scale = WIDTH / max(1, root["n"])
        while waiting:
            node, x, depth = waiting.pop()
            if node["n"] * scale < 0.7:
                continue
            deepest = max(deepest, depth)
            boxes.append((node, x, depth))
            for child in sorted(node["below"].values(), key=lambda c: c["name"]):
                waiting.append((child, x, depth + 1))
                x += child["n"] * scale
        height = (deepest + 3) * ROW
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">',
               f'<text x="4" y="13">{html.escape(title)}: {root["n"]} samples of processor time</text>']
        for node, x, depth in boxes:
            wide, y = node["n"] * scale, height - (depth + 1) * ROW
            hue = int(hashlib.md5(node["name"].encode()).hexdigest()[:2], 16) % 50
            label = html.escape(node["name"][: max(0, int(wide / 6.7))])
            out.append(f'<g><title>{html.escape(node["name"])}: {100 * node["n"] / root["n"]:.1f} %</title><rect x="{x:.1f}" '
                       f'y="{y}" width="{max(wide - 0.3, 0.3):.1f}" height="{ROW - 1}" fill="hsl({hue},80%,65%)"/>'
                       + (f'<text x="{x + 2:.1f}" y="{y + 12}">{label}</text>' if len(label) > 2 else "") + "</g>")
        return "\n".join(out + ["</svg>\n"])
