"""What clients asked and were told, and what was done to the cluster: one JSON object per line, on a disk that no fault
reaches. Times are CLOCK_MONOTONIC seconds of one machine.

    {"op": "append",  "at": invoked, "end": completed, "result": "ok"|"no"|"unknown", "box": B, "token": T, "uid": U}
    {"op": "deliver", ...}                           as append, without a UID; SMTP
    {"op": "copy"|"move", ..., "box": source, "uid": U, "to": B, "token": T, "new": UID there}
    {"op": "expunge", ..., "box": B, "uid": U}
    {"op": "store",   ..., "box": B, "uid": U, "flag": F, "value": true|false}
    {"op": "read",    ..., "box": B, "validity": V, "uidnext": N, "modseq": M, "seen": {UID: [token, [flags], modseq]}}
    {"op": "watch"|"notice"|"unwatch", "at": t, "box": B, "watch": id}
    {"op": "fault",   "at": t, "kind": K, "what": "inject"|"heal"|"calm", "run": n}

"unknown": the connection broke, or the server could not tell: it may take effect at any time later, once. A read with
"final": true began after everything was healed and at rest."""

import json
import threading
import time


class History:
    def __init__(self, path=None):
        self.records = []
        self.lock = threading.Lock()
        self.file = open(path, "a", buffering=1 << 16) if path else None

    def add(self, record):
        with self.lock:
            self.records.append(record)
            if self.file:
                self.file.write(json.dumps(record) + "\n")
        return record

    def now(self, op, **what):
        return self.add({"op": op, "at": time.monotonic(), **what})

    def count(self, *ops):
        with self.lock:
            return sum(1 for r in self.records if r["op"] in ops and r.get("result") == "ok")

    def close(self):
        if self.file:
            self.file.close()

    @staticmethod
    def load(path):
        """A history that was kept."""
        history = History()
        with open(path) as f:
            history.records = [json.loads(line) for line in f]
        for record in history.records:
            if "seen" in record:
                record["seen"] = {int(uid): what for uid, what in record["seen"].items()}
        return history
