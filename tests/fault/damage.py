"""Flipped bits and zeroed blocks in the files of a storage node's data directory."""

import glob
import os

BLOCK = 4096

PATTERNS = {
    "sst": "store/*.sst",
    "blob": "store/*.blob",
    "wal": "store/*.log",
    "manifest": "store/MANIFEST-*",
    "options": "store/OPTIONS-*",
    "current": "store/CURRENT",
    "small": "*",
}
ABOUT = {
    "sst": "a table of the store (SST)",
    "blob": "a blob file of the store (bodies)",
    "wal": "the store's write-ahead log",
    "manifest": "the store's MANIFEST",
    "options": "the store's OPTIONS file",
    "current": "the store's CURRENT",
    "small": "a small file of our own (identity, boot)",
}


def used(path):
    """Bytes that were written: files are made longer in advance, and what is behind their end is zero."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        data = f.read() if size <= 64 << 20 else f.read(64 << 20)
    return len(data.rstrip(b"\0"))


class Damage:
    """What was done to a file."""

    def __init__(self, what, path, at, before):
        self.what, self.path, self.at, self.before = what, path, at, before

    def undo(self):
        with open(self.path, "r+b") as f:
            f.seek(self.at)
            f.write(self.before)


def damage(rng, folder, file_kind):
    """Damages one file of that kind. None: there is no such file with anything in it."""
    files = [p for p in sorted(glob.glob(os.path.join(folder, PATTERNS[file_kind])))
             if os.path.isfile(p) and not p.endswith("lock") and used(p) > 0]
    if not files:
        return None
    path = rng.choice(files)
    size = used(path)
    flip = size < BLOCK or rng.random() < 0.5
    at = rng.randrange(size) if flip else rng.randrange(size) // BLOCK * BLOCK
    with open(path, "r+b") as f:
        f.seek(at)
        before = f.read(1 if flip else BLOCK)
        f.seek(at)
        f.write(bytes([before[0] ^ (1 << rng.randrange(8))]) if flip else bytes(len(before)))
        f.flush()
        os.fsync(f.fileno())
    what = "a bit" if flip else "a block"
    return Damage(f"{what} of {os.path.relpath(path, folder)} at {at} of {size}", path, at, before)
